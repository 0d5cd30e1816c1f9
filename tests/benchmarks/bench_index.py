"""How fast search and build are, against what others use: all in one process, on one machine.

    make bench-index [DATA=FOLDER]
    .venv/bin/python tests/benchmarks/bench_index.py [--documents 1000000] [--growth 0.5 1 2 4 8] [--data FOLDER]

Search: random unit vectors of 384 dimensions, 33 queries, the 1,000 and 25,000 best, one and two threads. Random
vectors are the hardest case: nothing stands out, and no two queries have hits in common. The peers hold all vectors in
memory, as they want them, and are given them before the clock starts; `Index.search` maps its files, and they are in
the page cache. Best of three runs each.

Retrieval for 8 few-shots: 1,024 hits taken in rounds of 16, against one search of 1,024; the documents of 50,000 hits,
of 1,200 characters each, read and written as rows of a dataset, against the search that finds them; 500,000 random rows
without their texts, against numpy's permutation.

Growth: the same search over more and more documents. Cold: the same with the files thrown out of the page cache,
against reading nothing but the codes.

With --data, a folder with corpus_*.jsonl.gz (fields id and text) and retrieval_squad.jsonl.gz (fields question and
doc_id), which `make` gives where it is beside the repository: building an index of all documents against a plain loop
over `SentenceTransformer.encode`, and recall of the documents that questions were asked about.

After that, what is found of what stands behind the model's window (see bench_chunks.py).

The last line is JSON: ratios of speed at 1,000,000 documents, 1,000 best, one thread (1 means equally fast; recall is
the share of the brute-force hits that were found; peak_mb is what a search needs beside the mapped files).
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow
import torch

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.base.records import Document, FewShot
from craft_hf.corpus.corpus import Corpus
from craft_hf.dataset.parquet import write_rows
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.products import code_products
from craft_hf.retrieval.index.scan import rounded
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import Shard
from craft_hf.retrieval.similarity import Retriever, drawn_rows
from tests.benchmarks import bench_chunks
from tests.vectors import HashEmbedder

DIMENSION, QUERIES, DEPTHS, THREADS, REPEATS = 384, 33, (1000, 25_000), (1, 2), 3
QUESTIONS = 2000
SEARCHED = Callable[[Vectors, int], np.ndarray]


class RandomEmbedder(HashEmbedder):
    """Gives random unit vectors, the same in each run; it stands in for a model, which would take days."""

    def __init__(self) -> None:
        super().__init__(DIMENSION)
        self._rng = np.random.default_rng(0)

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Draw vectors."""
        vectors = self._rng.standard_normal((len(texts), DIMENSION), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_index(folder: Path, documents: int, text: str = "") -> Index:
    """Build an index of random vectors, whose documents all have a text in common."""
    rows = ({"id": str(i), "text": f"document {i} {text}", "title": f"Title {i}"} for i in range(documents))
    build_index([Corpus(rows, min_chars=1)], folder, RandomEmbedder())
    return Index.open(folder)


def shards(index: Index) -> Iterator[Shard]:
    """Open one shard after the other."""
    for entry in index.info.shards:
        shard = Shard(index.folder / str(entry["file"]))
        yield shard


def stored(index: Index) -> np.ndarray:
    """Return all embeddings, float16, in memory."""
    return np.concatenate([np.array(shard.embeddings) for shard in shards(index)])


def set_threads(threads: int) -> None:
    """Let everybody use so many threads."""
    import faiss

    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)


def best_of(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Return the seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def peers(index: Index) -> Iterator[tuple[str, SEARCHED]]:
    """Yield each peer with its vectors loaded; those of the one before are let go."""
    import faiss
    from sentence_transformers.util import semantic_search
    from usearch.index import MetricKind
    from usearch.index import search as usearch

    halves = stored(index)
    made = faiss.IndexFlatIP(DIMENSION)
    made.add(halves.astype(np.float32))
    yield "faiss IndexFlatIP", lambda queries, k, made=made: made.search(queries, k)[1]
    made = faiss.IndexScalarQuantizer(DIMENSION, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    made.train(np.zeros((1, DIMENSION), np.float32))
    made.add(halves.astype(np.float32))
    yield "faiss ScalarQuantizer fp16", lambda queries, k, made=made: made.search(queries, k)[1]
    del made

    def exact(queries: Vectors, k: int) -> np.ndarray:
        single = queries.astype(np.float16)
        return usearch(halves, single, k, MetricKind.IP, exact=True, threads=torch.get_num_threads()).keys

    yield "usearch exact", exact
    tensor = torch.from_numpy(halves.astype(np.float32))

    def semantic(queries: Vectors, k: int) -> np.ndarray:
        found = semantic_search(torch.from_numpy(queries), tensor, top_k=k)
        return np.array([[hit["corpus_id"] for hit in hits] for hits in found])

    yield "semantic_search", semantic
    yield "the authors' way", lambda queries, k: authors_way(index, torch.from_numpy(queries), k)


def authors_way(index: Index, queries: torch.Tensor, k: int) -> np.ndarray:
    """Load one file after the other as a whole, compare with everything in it, keep the best (arXiv 2409.02098)."""
    from sentence_transformers.util import cos_sim

    scores, rows, first = [], [], 0
    for shard in shards(index):
        with h5py.File(shard.path, "r") as file:
            whole = torch.from_numpy(file["embedding"][:]).float()
        best = torch.topk(cos_sim(queries, whole), min(k, shard.chunks))
        scores.append(best.values)
        rows.append(best.indices + first)
        first += shard.chunks
    order = torch.topk(torch.cat(scores, dim=1), k).indices
    return torch.gather(torch.cat(rows, dim=1), 1, order).numpy()


def recall(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of wanted rows that were found."""
    return float(np.mean([len(np.intersect1d(f, w)) / len(w) for f, w in zip(found, wanted, strict=True)]))


def brute_force(halves: np.ndarray, queries: Vectors, k: int) -> np.ndarray:
    """Compare everything with everything, without any rounding of sums; ties in the order of rows; (queries, k)."""
    queries = rounded(queries)
    blocks = (halves[i : i + 50_000].astype(np.float64) for i in range(0, len(halves), 50_000))
    scores = np.concatenate([(queries.astype(np.float64) @ b.T).astype(np.float32) for b in blocks], axis=1)
    return np.stack([np.lexsort((np.arange(len(line)), -line))[:k] for line in scores])


def products_limit(index: Index, queries: Vectors) -> float:
    """Return the seconds that nothing but the products of the codes takes."""
    codes = np.rint(queries * 127 / np.abs(queries).max(axis=1, keepdims=True)).astype(np.int8)
    opened = [np.array(shard.codes) for shard in shards(index)]

    def products() -> None:
        for block in opened:
            for start in range(0, len(block), 4096):
                code_products(block[start : start + 4096], codes)

    return best_of(products)


class Peak:
    """Samples the memory of this process that is no mapped file; `mb` is how far it rose."""

    def __enter__(self) -> Peak:
        self._before = self._most = _anonymous()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self._most = max(self._most, _anonymous())

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self.mb = (self._most - self._before) / 1024


def _anonymous() -> int:
    """Return KiB of memory that are no mapped file (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def search(index: Index, queries: Vectors) -> dict[str, float]:
    """Measure all, print a table, return the figures for the last line."""
    ours: dict[tuple[int, int], float] = {}
    found = {k: index.search(queries, k, 1)[1] for k in DEPTHS}  # also compiles
    peak = 0.0
    for threads in THREADS:
        set_threads(threads)
        for k in DEPTHS:
            with Peak() as memory:
                ours[threads, k] = best_of(lambda k=k, threads=threads: index.search(queries, k, threads))
            peak = max(peak, memory.mb)
    set_threads(1)
    limit = products_limit(index, queries)
    halves = stored(index)
    wanted = {k: brute_force(halves, queries, k) for k in DEPTHS}
    del halves
    equal = all(np.array_equal(found[k], wanted[k]) for k in DEPTHS)
    print(
        f"\n{len(index):,} documents; rows equal to brute force in order: {equal}; peak beside the files {peak:.0f} MB"
    )
    print("M documents/s (times slower than Index.search), recall")
    cases = [(threads, k) for k in DEPTHS for threads in THREADS]
    print(f"{'':27}" + "".join(f"{f'k={k:,}, {threads} thr':>22}" for threads, k in cases))
    millions = len(index) / 1e6
    print(f"{'Index.search':27}" + "".join(f"{millions / ours[case]:>22.2f}" for case in cases))
    print(f"{'products of codes alone':27}{millions / limit:>22.2f}")
    figures = {"search_vs_products": limit / ours[1, 1000], "recall": recall(found[1000], wanted[1000])}
    for name, peer in peers(index):
        line = f"{name:27}"
        for threads, k in cases:
            set_threads(threads)
            rows = peer(queries, k)
            seconds = best_of(lambda k=k, peer=peer: peer(queries, k), 2)
            ratio = seconds / ours[threads, k]
            line += f"{f'{millions / seconds:.2f} ({ratio:.1f}) {recall(rows, wanted[k]):.4f}':>22}"
            if (threads, k) == (1, 1000):
                figures[name] = ratio
        print(line, flush=True)
    return {
        "search_vs_faiss_flat": figures["faiss IndexFlatIP"],
        "search_vs_faiss_fp16": figures["faiss ScalarQuantizer fp16"],
        "recall": figures["recall"],
        "search_vs_products": figures["search_vs_products"],
        "peak_mb": peak,
    }


def retrieval_steps(index: Index, queries: Vectors, folder: Path) -> dict[str, float]:
    """Measure what follows a search, print it, return the figures for the last line."""
    set_threads(1)
    few_shots = [FewShot(f"f{i}", f"the text of few-shot number {i}", {}) for i in range(8)]
    asked = np.concatenate([queries[:8], queries[:8].mean(axis=0, keepdims=True)])

    def take() -> None:
        retriever = Retriever(index, few_shots, queries[:8])
        for wanted in range(16, 1025, 16):
            retriever.take(wanted)

    searched, taken = best_of(lambda: index.search(asked, 1024)), best_of(take)
    rows = index.search(asked, 50_000)[1][0]

    def write() -> None:
        fields = [field.name for field in dataclasses.fields(Document)]
        schema = pyarrow.schema([(name, pyarrow.string()) for name in fields])
        documents = index.documents(rows)
        write_rows(folder / "rows.parquet", ({name: getattr(d, name) for name in fields} for d in documents), schema)

    found, written = best_of(lambda: index.search(asked, 50_000)), best_of(write)
    read = best_of(lambda: index.documents(rows))

    def draw() -> None:
        left = 500_000
        for drawn in drawn_rows(index, seed=0):
            left -= len(drawn)
            if left <= 0:
                break

    permuted = best_of(lambda: np.random.default_rng(0).permutation(500_000))
    drawn = best_of(draw)
    print(
        f"\nretrieval: 1,024 hits in rounds of 16 {taken:.2f} s, one search of 1,024 {searched:.2f} s; documents of "
        f"{len(rows):,} hits read {read:.2f} s, read and written {written:.2f} s, their search {found:.2f} s; 500,000 "
        f"rows drawn {drawn:.3f} s, numpy's permutation {permuted:.3f} s"
    )
    return {
        "take_vs_search": taken / searched,
        "documents_vs_search": written / found,
        "draw_vs_permutation": drawn / permuted,
    }


def cold(index: Index, queries: Vectors) -> None:
    """Print the time of a search after the files were thrown out of the page cache, and of reading the codes."""

    def forget() -> None:
        for entry in index.info.shards:
            with (index.folder / str(entry["file"])).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def read_codes() -> None:
        for shard in shards(index):
            offset = shard._layout["code"][0]
            with shard.path.open("rb") as file:
                for start in range(0, shard.chunks * DIMENSION, 2**20):
                    os.pread(file.fileno(), min(2**20, shard.chunks * DIMENSION - start), offset + start)

    times = {}
    for name, function in (
        ("codes", read_codes),
        ("search", lambda: index.search(queries, 1000, 2)),
        ("similar queries", lambda: index.search(_alike(queries), 1000, 2)),
    ):
        runs = []
        for _ in range(REPEATS):
            forget()
            runs.append(best_of(function, 1))
        times[name] = min(runs)
    print(
        f"\ncold page cache, 2 threads: reading the codes {times['codes']:.2f} s, search {times['search']:.2f} s "
        f"({times['search'] / times['codes']:.2f} times), with queries that are alike, as few-shots are "
        f"{times['similar queries']:.2f} s ({times['similar queries'] / times['codes']:.2f} times)"
    )


def _alike(queries: Vectors) -> Vectors:
    """Return unit vectors with a cosine similarity of about 0.5 to each other."""
    mixed = queries + queries[:1]
    unit: Vectors = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def growth(millions: Sequence[float], queries: Vectors) -> None:
    """Print time and memory of a search for indexes of more and more documents."""
    print("\n  documents  seconds  M documents/s  peak MB beside the files   (k = 1,000, 2 threads, files cached)")
    for size in millions:
        with tempfile.TemporaryDirectory() as folder:
            index = random_index(Path(folder), int(size * 1e6))
            index.search(queries, 1000, 2)
            with Peak() as memory:
                seconds = best_of(lambda index=index: index.search(queries, 1000, 2))
            print(f"{len(index):>11,}  {seconds:>7.3f}  {size / seconds:>13.2f}  {memory.mb:>7.0f}", flush=True)


def corpus_texts(data: Path) -> dict[str, str]:
    """Return the texts of all corpus documents by id."""
    texts = {}
    for path in sorted(data.glob("corpus_*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts.update({row["id"]: row["text"] for row in map(json.loads, file)})
    return texts


def build(data: Path, folder: Path, documents: int | None) -> float:
    """Build an index of real documents, against a plain loop; print and return the ratio of speeds."""
    from sentence_transformers import SentenceTransformer

    from craft_hf.base.models import embedder_weights

    by_id = corpus_texts(data)
    texts = list(dict.fromkeys(by_id.values()))
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))[:documents]]
    set_threads(os.cpu_count() or 1)
    embedder = Embedder()
    first: list[float] = []
    watched = threading.Event()

    def watch() -> None:
        while not first and not watched.wait(0.1):
            if any(folder.glob("shard-*.h5")):
                first.append(time.perf_counter() - start)

    start = time.perf_counter()
    watcher = threading.Thread(target=watch)
    watcher.start()
    with Peak() as memory:
        build_index(
            [Corpus([{"text": text} for text in texts])], folder, embedder, shard_documents=5000, vectors="document"
        )
    ours = time.perf_counter() - start
    watched.set()
    watcher.join()
    model = SentenceTransformer(embedder_weights("embedded").location, device="cpu")
    start = time.perf_counter()
    blocks = [model.encode(texts[i : i + 1000], normalize_embeddings=True) for i in range(0, len(texts), 1000)]
    theirs = time.perf_counter() - start
    plain = np.concatenate(blocks)
    index = Index.open(folder)
    halves = stored(index).astype(np.float32)
    cosines = (halves * plain).sum(axis=1) / np.linalg.norm(halves, axis=1)
    print(
        f"\nbuild: {len(texts):,} documents, {len(texts) / ours:.1f} a second, first shard of 5,000 after "
        f"{first[0] if first else ours:.0f} s, peak {memory.mb:.0f} MB; SentenceTransformer.encode "
        f"{len(texts) / theirs:.1f} a second; ratio {theirs / ours:.2f}; cosine to its float32 vectors: mean "
        f"{cosines.mean():.5f}, smallest {cosines.min():.5f}"
    )
    rows = {text: row for row, text in enumerate(texts)}
    with gzip.open(data / "retrieval_squad.jsonl.gz", "rt", encoding="utf-8") as file:
        asked = [(q["question"], rows.get(by_id[q["doc_id"]], -1)) for q in map(json.loads, file)]
    retrieval(index, embedder, [(q, row) for q, row in asked if row >= 0][:QUESTIONS], model, plain)
    return theirs / ours


def retrieval(index: Index, embedder: Embedder, asked: list[tuple[str, int]], model: Any, plain: Vectors) -> None:
    """Print recall of the documents that questions were asked about: our vectors and search, and float32 throughout."""
    questions, wanted = [question for question, _ in asked], np.array([row for _, row in asked])
    queries = embedder.encode(questions)
    _, ours = index.search(queries, 100)
    brute = brute_force(stored(index), queries, 100)
    single = model.encode(questions, normalize_embeddings=True) @ plain.T
    reference = np.argsort(-single, axis=1, kind="stable")[:, :100]
    print(
        f"\nretrieval: {len(asked):,} questions, {len(index):,} documents; hits equal to brute force: "
        f"{np.array_equal(ours, brute)}; share of float32's 100 best among ours: {recall(ours, reference):.4f}"
    )
    for k in (1, 10, 100):
        shares = [float((hits[:, :k] == wanted[:, None]).any(axis=1).mean()) for hits in (ours, brute, reference)]
        print(f"  recall@{k:<3} ours {shares[0]:.4f}, brute force {shares[1]:.4f}, float32 {shares[2]:.4f}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000, help="of the search (default: 1,000,000)")
    parser.add_argument("--growth", type=float, nargs="*", default=[0.5, 1, 2, 4, 8], help="millions of documents")
    parser.add_argument("--data", type=Path, help="folder of real corpora; without it, build is left out")
    parser.add_argument("--build-documents", type=int, help="only so many of them (default: all)")
    options = parser.parse_args()
    print(f"{_machine()}, {os.cpu_count()} cores; torch {torch.__version__}, Python {platform.python_version()}")
    figures: dict[str, float | None] = {}
    queries = RandomEmbedder().encode([""] * QUERIES) @ np.linalg.qr(
        np.random.default_rng(1).standard_normal((DIMENSION, DIMENSION))
    )[0].astype(np.float32)  # turned, so that no query is a document
    with tempfile.TemporaryDirectory() as folder:
        index = random_index(Path(folder) / "index", options.documents, "words of a document " * 60)
        figures.update(search(index, queries))
        figures.update(retrieval_steps(index, queries, Path(folder)))
        cold(index, queries)
    growth(options.growth, queries)
    figures["build_vs_encode"] = figures["recall_beyond_window"] = None
    if options.data:
        with tempfile.TemporaryDirectory() as folder:
            figures["build_vs_encode"] = build(options.data, Path(folder), options.build_documents)
        figures["recall_beyond_window"] = bench_chunks.beyond(options.data, Embedder())
    print(json.dumps({name: value if value is None else round(value, 3) for name, value in figures.items()}))


def _machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
