"""What is found when all of a text counts: one vector for its head, the mean of its chunks, its best chunk.

    .venv/bin/python tests/benchmarks/bench_chunks.py DATA_DIR [--documents 6796] [--questions 2000]

DATA_DIR holds corpus_*.jsonl.gz (fields id, text, title) and retrieval_squad.jsonl.gz (fields question and doc_id).

beyond     700 textbook documents that are longer than the model's window; each query is a sentence that begins behind
           it: is its document found?
questions  documents of Wikipedia, and questions that people asked about them (SQuAD); few are longer than the window
titled     the best chunk, with the document's title before each

R@k is the share of queries whose document is among the k first. Seconds are of building the index, bytes those of its
files, search the seconds for all queries and the 100 first. Run `make bench-index` for the line of figures.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.base.segmentation import sentence_spans
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.chunks import cut
from craft_hf.retrieval.index.search import Index

BEYOND, SHORTEST = 700, 60
DEPTHS = (1, 10, 100)


def read(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def beyond_window(data: Path, embedder: Embedder) -> tuple[list[dict[str, str]], list[str]]:
    """Return documents that are longer than the window, and of each a sentence that begins behind it."""
    rows = read(data / "corpus_textbooks.jsonl.gz")
    rng = np.random.default_rng(0)
    documents, queries = [], []
    for number in rng.permutation(len(rows)):
        text = rows[number]["text"]
        (end,) = embedder.heads([text])
        later = [text[a:b] for a, b in sentence_spans(text) if a >= end and b - a >= SHORTEST]
        if later:
            documents.append(rows[number])
            queries.append(later[int(rng.integers(len(later)))])
        if len(documents) == BEYOND:
            break
    return documents, queries


def titled(documents: Sequence[dict[str, str]], queries: Vectors, embedder: Embedder) -> np.ndarray:
    """Return the documents' scores, (queries, documents), if each chunk stands behind its document's title."""
    texts = [row["text"] for row in documents]
    longest = max(len(starts) for starts in embedder.token_starts([row["title"] for row in documents]))
    window, embedder.window = embedder.window, (embedder.window or 0) - longest
    chunks = cut(texts, embedder)
    embedder.window = window
    owners = np.repeat(np.arange(len(texts)), chunks.ends - chunks.starts)
    parts = [f"{documents[row]['title']}\n{part}" for row, part in zip(owners, chunks.parts(texts), strict=True)]
    return np.maximum.reduceat(queries @ embedder.encode(parts).T, chunks.starts, axis=1)


def ranks(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return how many documents are before the wanted one, for each query."""
    own = np.take_along_axis(scores, wanted[:, None], axis=1)
    before: np.ndarray = (scores > own).sum(axis=1)
    return before


def compare(
    name: str, documents: list[dict[str, str]], texts: list[str], wanted: np.ndarray, embedder: Embedder
) -> dict[str, float]:
    """Print recall and cost of all ways on one set of documents and queries; return R@1 of each."""
    queries = embedder.encode(texts)
    print(f"\n{name}: {len(texts):,} queries, {len(documents):,} documents")
    print(f"{'':12}" + "".join(f"{f'R@{k}':>9}" for k in DEPTHS) + "   embeddings    seconds        MB   search s")
    first: dict[str, float] = {}

    def show(way: str, before: np.ndarray, cost: str = "") -> None:
        first[way] = float((before < 1).mean())
        print(f"{way:12}" + "".join(f"{(before < k).mean():>9.4f}" for k in DEPTHS) + cost, flush=True)

    for way in ("document", "chunks"):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            rows = [{"id": row["id"], "text": row["text"]} for row in documents]
            build_index([Corpus(rows)], Path(folder), embedder, vectors=way)
            seconds = time.perf_counter() - start
            index = Index.open(Path(folder))
            assert len(index) == len(documents)
            index.search(queries[:1], 1)  # compiles
            start = time.perf_counter()
            found = index.search(queries, min(max(DEPTHS), len(index)))[1]
            searched = time.perf_counter() - start
            size = sum(int(str(entry["bytes"])) for entry in index.info.shards) / 1e6
            if way == "chunks":
                print(index.info.embedded_text)
                means = index.embeddings(range(len(index)))
        hits = found == wanted[:, None]
        before = np.where(hits.any(axis=1), hits.argmax(axis=1), len(documents))
        show(way, before, f"{index.info.chunks:>13,}{seconds:>11.1f}{size:>10.1f}{searched:>11.3f}")
    show("mean", ranks(queries @ means.T, wanted))
    show("titled", ranks(titled(documents, queries, embedder), wanted))
    return first


def beyond(data: Path, embedder: Embedder) -> float:
    """Print what is found of what stands behind the window; return R@1 of the default way."""
    documents, sentences = beyond_window(data, embedder)
    return compare("beyond the window", documents, sentences, np.arange(len(documents)), embedder)["chunks"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--documents", type=int, help="only so many of Wikipedia (default: all)")
    parser.add_argument("--questions", type=int, default=2000)
    options = parser.parse_args()
    embedder = Embedder()
    beyond(options.data, embedder)
    documents = list({row["text"]: row for row in read(options.data / "corpus_wikipedia.jsonl.gz")}.values())
    asked = read(options.data / "retrieval_squad.jsonl.gz")
    known = {row["doc_id"] for row in asked}
    documents.sort(key=lambda row: row["id"] not in known)  # those that questions are about come first
    rows = {row["id"]: number for number, row in enumerate(documents[: options.documents])}
    questions = [row for row in asked if row["doc_id"] in rows]
    questions = [questions[i] for i in np.random.default_rng(0).permutation(len(questions))[: options.questions]]
    wanted = np.array([rows[row["doc_id"]] for row in questions])
    texts = [row["question"] for row in questions]
    compare("questions", list(itertools.islice(documents, options.documents)), texts, wanted, embedder)


if __name__ == "__main__":
    main()
