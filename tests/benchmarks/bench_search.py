"""How fast exact search is, against a plain scan with numpy.

    .venv/bin/python tests/benchmarks/bench_search.py [DOCUMENTS]

Searches 500,000 random unit vectors of 384 dimensions (float16, 4 shards in a temporary folder) for 33 queries and
the 1,000 best of each, in one process: `Index.search`, and a scan that holds all vectors in memory as float32,
multiplies block by block and keeps the best by `argpartition`. Prints documents a second of both and their ratio.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from craft_hf.corpus import Corpus
from craft_hf.embed import Embedder, Vectors
from craft_hf.index import Index, build_index
from craft_hf.index.shard import Shard

DIMENSION, SHARDS, QUERIES, K, REPEATS = 384, 4, 33, 1000, 5


class RandomEmbedder(Embedder):
    """Gives random unit vectors, the same in each run; it stands in for a model, which would take hours."""

    def __init__(self) -> None:
        self.name = self.model = self.revision = "random"
        self.dimension = DIMENSION
        self._rng = np.random.default_rng(0)

    def encode(self, texts: Sequence[str], batch_size: int = 32) -> Vectors:
        """Draw vectors."""
        vectors = self._rng.standard_normal((len(texts), DIMENSION), dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scan(vectors: Vectors, queries: Vectors, k: int, block: int = 16_384) -> np.ndarray:
    """Compare everything with everything by numpy, a block of documents at a time."""
    scores = np.empty((len(queries), len(vectors)), dtype=np.float32)
    for start in range(0, len(vectors), block):
        scores[:, start : start + block] = queries @ vectors[start : start + block].T
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def seconds(function: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def cpu() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    """Build, search both ways in turn, print."""
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    with tempfile.TemporaryDirectory() as folder:
        rows = ({"text": f"document {i}"} for i in range(documents))
        embedder = RandomEmbedder()
        build_index([Corpus(rows, min_chars=1)], Path(folder), embedder, shard_documents=-(-documents // SHARDS))
        index = Index.open(Path(folder))
        queries = embedder.encode([""] * QUERIES)
        shards = [Path(folder) / str(shard["file"]) for shard in index.info.shards]
        vectors = np.concatenate([_float32(path) for path in shards])
        same = float(np.mean(index.search(queries, K)[1] == scan(vectors, queries, K)))
        ours, plain = [], []
        for _ in range(REPEATS):
            ours.append(seconds(lambda: index.search(queries, K)))
            plain.append(seconds(lambda: scan(vectors, queries, K)))
    print(f"{cpu()}, {os.cpu_count()} cores, torch {torch.get_num_threads()} threads, {platform.node()}")
    print(f"{documents} documents x {DIMENSION}, {len(shards)} shards, {QUERIES} queries, top {K}, median of {REPEATS}")
    for name, times in (("Index.search, float16 from files", ours), ("numpy scan, float32 in memory", plain)):
        spread = f"{min(times):.3f} to {max(times):.3f} s"
        print(f"{name:34} {documents / median(times):12,.0f} documents/s  ({spread})")
    print(f"ratio {median(plain) / median(ours):.2f}; rows at the same rank: {same:.2%}")


def _float32(path: Path) -> Vectors:
    shard = Shard(path)
    vectors: Vectors = shard.embeddings.astype(np.float32)
    shard.close()
    return vectors


if __name__ == "__main__":
    main()
