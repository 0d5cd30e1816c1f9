"""An index opened for reading: exact top-k search by query vectors, and its documents and embeddings by row."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import cached_property
from pathlib import Path

import numpy as np

from craft_hf.base import Bar, Document, Embedder, InputError, Vectors, Workers
from craft_hf.retrieval.index.info import IndexInfo, read_info
from craft_hf.retrieval.index.scan import Part, top_k
from craft_hf.retrieval.index.selection import EVERYTHING, Selection
from craft_hf.retrieval.index.shard import Shard, mending

_PART = 65_536
"""Most documents that one thread scans at a time."""

_MOST_MAPPED = 1_000
"""Most shards that stay memory-mapped between searches; each costs page tables of 0.2% of its size."""

Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""int64, shape (queries, k): rows of the index."""

RowNumbers = np.ndarray[tuple[int], np.dtype[np.int64]]
"""int64, shape (rows,): rows of the index, or of a shard."""


class Index:
    """An index opened for searching; rows are numbered through all shards, from 0."""

    def __init__(self, folder: Path, info: IndexInfo) -> None:
        self.folder, self.info = folder, info
        self._shards: dict[int, Shard] = {}

    def __reduce__(self) -> tuple[type[Index], tuple[Path, IndexInfo]]:
        return Index, (self.folder.absolute(), self.info)  # another process may be elsewhere

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Open the index in a folder; cheap, because shards are opened on demand.

        Raises:
            InputError: the folder is not an index, or a shard is missing or has another size than it was built with.
        """
        info = read_info(folder)
        while problem := _missing_shard(folder, info):
            if (now := read_info(folder)) == info:
                raise InputError(f"{problem}; {mending(folder)}, or copy the file again.")
            info = now  # it was replaced in between
        return cls(folder, info)

    def __len__(self) -> int:
        return self.info.documents

    @property
    def fingerprint(self) -> str:
        """Hash of the documents and their embeddings."""
        return self.info.fingerprint

    @cached_property
    def _starts(self) -> RowNumbers:
        """First row of each shard, and the number of all rows at the end."""
        return np.cumsum([0, *(int(str(entry["documents"])) for entry in self.info.shards)], dtype=np.int64)

    def _shard(self, number: int) -> Shard:
        """Return a shard after checking that it is the one that was built."""
        if number not in self._shards:
            entry = self.info.shards[number]
            try:
                shard = Shard(self.folder / str(entry["file"]), len(self.info.shards) <= _MOST_MAPPED)
            except InputError as e:
                if read_info(self.folder) == self.info:
                    raise
                raise InputError(f"the index {self.folder} was replaced since it was opened; open it again.") from e
            expected = entry["documents"], self.info.dimension, entry["fingerprint"]
            if (shard.rows, shard.dimension, shard.fingerprint) != expected:
                raise InputError(
                    f"the shard {shard.path} is not the one that index.json names; {mending(self.folder)}."
                )
            self._shards[number] = shard
        return self._shards[number]

    def check_embedder(self, embedder: Embedder) -> None:
        """Raise InputError unless the index was built with this model."""
        if (embedder.model, embedder.revision) != (self.info.embedding_model, self.info.embedding_revision):
            raise InputError(
                f"{self.folder} was built with {self.info.embedding_model} ({self.info.embedding_revision}), but the "
                f"embedding model is {embedder.model} ({embedder.revision}); use its model, or build it anew with this "
                "one (--replace)."
            )
        if embedder.dimension != self.info.dimension:
            raise InputError(
                f"{self.folder} holds {self.info.dimension}-dimensional embeddings, but {embedder.model} makes "
                f"{embedder.dimension}-dimensional ones; use its model, or build it anew with this one (--replace)."
            )

    def search(
        self,
        queries: Vectors,
        k: int,
        threads: int | None = None,
        workers: Workers | None = None,
        device: str = "cpu",
        selection: Selection = EVERYTHING,
    ) -> tuple[Vectors, Rows]:
        """Return the k most similar documents of each query.

        Args:
            queries: float32 (queries, dimension); unit vectors give cosine similarities.
            k: how many, 1 or more; all documents if the index holds fewer.
            threads: how many; by default as many as torch uses. The result does not depend on it.
            workers: where parts of the index are searched, with `threads` threads each; by default in this process.
                The result does not depend on it.
            device: "cuda" to compare codes on a GPU, which pays off with few cores. The result does not depend on
                it.
            selection: which documents are searched; the result is that of an index which holds only these.

        Returns:
            Similarities, float32 (queries, min(k, documents)), best first, and rows of the same shape. Ties keep the
            order of the index.

        Raises:
            InputError: k is below 1, the queries are not finite or have another dimension than the index, or a shard is
                broken.
        """
        if k < 1:
            raise InputError(f"k is {k}, expected 1 or more.")
        if queries.ndim != 2 or queries.shape[1] != self.info.dimension:
            raise InputError(f"queries have shape {queries.shape}, expected (queries, {self.info.dimension}).")
        if not np.isfinite(queries).all():
            raise InputError("a query holds NaN or infinity; expected finite vectors.")
        k = min(k, selection.documents_by_source(self.info).total())
        if not len(queries):
            return np.zeros((0, k), dtype=np.float32), np.zeros((0, k), dtype=np.int64)
        with Bar("Searching", len(self), "documents") as bar:
            if workers is None:
                return top_k(self._parts(), queries, k, threads, device, bar.update, selection)
            return _search_with_workers(self._parts(), queries, k, threads or 1, device, workers, bar.update, selection)

    def _parts(self) -> list[Part]:
        """Split the shards into parts that one thread scans at a time."""
        return [
            (int(base), functools.partial(self._shard, number), start, min(start + _PART, int(end - base)))
            for number, (base, end) in enumerate(itertools.pairwise(self._starts))
            for start in range(0, int(end - base), _PART)
        ]

    def documents(self, rows: Sequence[int] | np.ndarray) -> list[Document]:
        """Return documents by row, in the order given.

        Raises:
            InputError: a row is outside the index, or its shard is broken.
        """
        found: dict[int, Document] = {}
        for shard, here, start in self._by_shard(rows):
            shard.check_unchanged()  # also before: to read from a mapped file that was cut would end the process
            found.update(zip(here.tolist(), shard.documents(here - start), strict=True))
            shard.check_unchanged()
        return [found[row] for row in np.asarray(rows, dtype=np.int64).tolist()]

    def corpora(self, rows: Sequence[int] | np.ndarray) -> list[tuple[str, str]]:
        """Return source and licence of documents by row, in the order given; no text is read.

        Raises:
            InputError: a row is outside the index, or its shard is broken.
        """
        found: dict[int, tuple[str, str]] = {}
        for shard, here, start in self._by_shard(rows):
            corpora = shard.corpora
            found.update(zip(here.tolist(), (corpora[n] for n in shard.corpus[here - start].tolist()), strict=True))
            shard.check_unchanged()
        return [found[row] for row in np.asarray(rows, dtype=np.int64).tolist()]

    def embeddings(self, rows: Sequence[int] | np.ndarray) -> Vectors:
        """Return the embeddings of documents by row, float32 (rows, dimension), in the order given.

        Raises:
            InputError: a row is outside the index, or its shard is broken.
        """
        asked, places = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        vectors = np.empty((len(asked), self.info.dimension), dtype=np.float32)
        done = 0
        for shard, here, start in self._by_shard(asked):
            vectors[done : done + len(here)] = shard.embeddings[here - start]
            done += len(here)
            shard.check_unchanged()
        return vectors[places]

    def _by_shard(self, rows: Sequence[int] | np.ndarray) -> Iterator[tuple[Shard, RowNumbers, int]]:
        """Yield each shard that holds some of the rows, those rows (unique, sorted), and the shard's first row."""
        asked = np.unique(np.asarray(rows, dtype=np.int64))
        if len(outside := asked[(asked < 0) | (asked >= len(self))]):
            raise InputError(f"row {outside[0]} is outside the index, which holds rows 0 to {len(self) - 1}.")
        cuts = np.searchsorted(asked, self._starts)
        for number in np.flatnonzero(np.diff(cuts)).tolist():
            yield self._shard(number), asked[cuts[number] : cuts[number + 1]], int(self._starts[number])


def _search_with_workers(
    parts: list[Part],
    queries: Vectors,
    k: int,
    threads: int,
    device: str,
    workers: Workers,
    progress: Callable[[int], object],
    selection: Selection,
) -> tuple[Vectors, Rows]:
    """Let each worker search some of the parts, and merge their results."""
    futures = {}
    for number in range(workers.count):
        share = parts[number * len(parts) // workers.count : (number + 1) * len(parts) // workers.count]
        if share:
            future = workers.executor.submit(top_k, share, queries, k, threads, device, int, selection)
            futures[future] = sum(end - start for _, _, start, end in share)
    for done in as_completed(futures):
        progress(futures[done])
    scores, rows = (np.concatenate(column, axis=1) for column in zip(*(f.result() for f in futures), strict=True))
    order = np.stack([np.lexsort(pair)[:k] for pair in zip(rows, -scores, strict=True)])
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _missing_shard(folder: Path, info: IndexInfo) -> str:
    """Say which shard is missing or has another size than it was built with, or nothing."""
    for entry in info.shards:
        path = folder / str(entry["file"])
        size = path.stat().st_size if path.is_file() else None
        if size != entry["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes, expected {entry['bytes']}"
            return f"the shard {path} {found}"
    return ""
