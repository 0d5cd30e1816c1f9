"""An index opened for reading: exact top-k search by query vectors, and its documents and embeddings by row."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from functools import cached_property
from pathlib import Path

import numpy as np

from craft_hf.base import Bar, Document, Embedder, InputError, Vectors, Workers
from craft_hf.retrieval.index.chunks import chunks_at, mean_vectors
from craft_hf.retrieval.index.info import IndexInfo, read_info
from craft_hf.retrieval.index.scan import Part, top_k
from craft_hf.retrieval.index.selection import EVERYTHING, Selection
from craft_hf.retrieval.index.shard import Shard, cannot_be_read, mending

_PART = 65_536
"""Most chunks that one thread scans at a time."""

_SPARE_CHUNKS = 64
"""Chunks that are searched for beyond those expected to belong to the documents that are wanted."""

_MOST_MAPPED = 1_000
"""Most shards that stay memory-mapped between searches; each costs page tables of 0.2% of its size."""

Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""int64, shape (queries, k): rows of the index."""

RowNumbers = np.ndarray[tuple[int], np.dtype[np.int64]]
"""int64, shape (rows,): rows of the index, or of a shard."""

Spans = np.ndarray[tuple[int, int], np.dtype[np.int32]]
"""int32, shape (rows, 2): start and end in a document's text, in characters."""


class Index:
    """An index opened for searching; rows (documents), and chunks of them, are numbered through all shards, from 0."""

    def __init__(self, folder: Path, info: IndexInfo) -> None:
        self.folder, self.info = folder, info
        self._shards: dict[int, Shard] = {}

    def __reduce__(self) -> tuple[type[Index], tuple[Path, IndexInfo]]:
        return Index, (self.folder.absolute(), self.info)  # another process may be elsewhere

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Open the index in a folder; cheap, because shards are opened on demand.

        Raises:
            InputError: the folder is not an index, or a shard is missing, cannot be read, or has another size than it
                was built with.
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

    @cached_property
    def _chunk_starts(self) -> RowNumbers:
        """First chunk of each shard, and the number of all chunks at the end."""
        return np.cumsum([0, *(int(str(entry["chunks"])) for entry in self.info.shards)], dtype=np.int64)

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
            expected = entry["documents"], entry["chunks"], self.info.dimension, entry["fingerprint"]
            if (shard.rows, shard.chunks, shard.dimension, shard.fingerprint) != expected:
                raise InputError(
                    f"the shard {shard.path} is not the one that index.json names; {mending(self.folder)}."
                )
            self._shards[number] = shard
        return self._shards[number]

    def open_embedder(self, place: str = "", device: str | None = None) -> Embedder:
        """Open the index's embedding model, a Hub model at the revision that embedded the documents.

        Args:
            place: where the model lies: "embedded", a folder or a Hub id; by default where it was.
            device: a torch device; by default CUDA where there is one.

        Raises:
            InputError: it cannot be opened, or is another model.
        """
        name = place or self.info.embedding_name
        try:
            embedder = Embedder(name, device, None if place else self.info.embedding_revision)
        except InputError as e:
            raise InputError(
                f"{self.folder} was built with {self.info.embedding_model}, which cannot be opened: {e} If the model "
                "lies elsewhere, say where: --embedding FOLDER (embedding=FOLDER)."
            ) from e
        self.check_embedder(embedder)
        return embedder

    def check_embedder(self, embedder: Embedder) -> None:
        """Raise InputError unless the index was built with this model, wherever that lies."""
        if embedder.identity != self.info.embedding_identity:
            raise InputError(
                f"{self.folder} was built with {self.info.embedding_model} ({self.info.embedding_revision}), but the "
                f"embedding model is {embedder.model} ({embedder.revision}), whose weights, tokenizer or pooling are "
                "others; say where its model lies (--embedding), or build it anew with this one (--replace)."
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
        """Return the k most similar documents of each query; a document is as similar as its most similar chunk.

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
        return self.search_chunks(queries, k, threads, workers, device, selection)[:2]

    def search_chunks(
        self,
        queries: Vectors,
        k: int,
        threads: int | None = None,
        workers: Workers | None = None,
        device: str = "cpu",
        selection: Selection = EVERYTHING,
    ) -> tuple[Vectors, Rows, Rows]:
        """Do the same as `search`, and also return which chunk of each document is the most similar one.

        Of equally similar chunks it is the first. `passages` tells where a chunk stands.

        The best chunks are searched for, more than k, and all but the best of each document are passed over. If that
        leaves fewer than k documents, more chunks are searched for; a document that has no chunk among the best is
        less similar than all that have one, so the result is exact.
        """
        if k < 1:
            raise InputError(f"k is {k}, expected 1 or more.")
        if queries.ndim != 2 or queries.shape[1] != self.info.dimension:
            raise InputError(f"queries have shape {queries.shape}, expected (queries, {self.info.dimension}).")
        if not np.isfinite(queries).all():
            raise InputError("a query holds NaN or infinity; expected finite vectors.")
        k = min(k, selection.documents_by_source(self.info).total() if selection else len(self))
        scores = np.empty((len(queries), k), dtype=np.float32)
        rows, chunks = (np.empty((len(queries), k), dtype=np.int64) for _ in range(2))
        left = np.arange(len(queries))
        depth = self._first_depth(k)
        while len(left):
            found_scores, found = self._best_chunks(queries[left], depth, threads, workers, device, selection)
            owners = self._rows_of(found)
            short, fewest = [], k
            for line, query in enumerate(left):
                first = np.sort(np.unique(owners[line], return_index=True)[1])[:k]  # the best chunk of each document
                if len(first) < k:
                    short.append(query)
                    fewest = min(fewest, len(first))
                    continue
                for taken, all_found in ((scores, found_scores), (rows, owners), (chunks, found)):
                    taken[query] = all_found[line, first]
            left = np.array(short, dtype=np.int64)
            if len(left) and (depth >= self.info.chunks or found.shape[1] < depth):
                raise InputError(
                    f"a shard of {self.folder} is damaged: not every document has a chunk; verify the index."
                )
            depth = min(self.info.chunks, 2 * depth * k // fewest)
        return scores, rows, chunks

    def _first_depth(self, k: int) -> int:
        """Return how many chunks are likely to belong to k documents or more."""
        if self.info.chunks == len(self):
            return k
        return min(self.info.chunks, math.ceil(k * self.info.chunks / len(self)) + _SPARE_CHUNKS)

    def _best_chunks(
        self,
        queries: Vectors,
        depth: int,
        threads: int | None,
        workers: Workers | None,
        device: str,
        selection: Selection,
    ) -> tuple[Vectors, Rows]:
        """Return the most similar chunks of each query, whatever documents they are of."""
        if not len(queries):
            return np.zeros((0, depth), dtype=np.float32), np.zeros((0, depth), dtype=np.int64)
        with Bar("Searching", self.info.chunks, "embeddings") as bar:
            if workers is None:
                return top_k(self._parts(), queries, depth, threads, device, bar.update, selection)
            return _search_with_workers(
                self._parts(), queries, depth, threads or 1, device, workers, bar.update, selection
            )

    def _parts(self) -> list[Part]:
        """Split the chunks of the shards into parts that one thread scans at a time."""
        return [
            (int(base), functools.partial(self._shard, number), start, min(start + _PART, int(end - base)))
            for number, (base, end) in enumerate(itertools.pairwise(self._chunk_starts))
            for start in range(0, int(end - base), _PART)
        ]

    def _rows_of(self, chunks: Rows) -> Rows:
        """Return the document of each chunk, in the same shape."""
        if self.info.chunks == len(self):
            return chunks
        rows = np.empty_like(chunks)
        shards = np.searchsorted(self._chunk_starts, chunks, side="right") - 1
        for number in np.unique(shards):
            here = shards == number
            within = chunks[here] - self._chunk_starts[number]
            rows[here] = self._starts[number] + np.searchsorted(self._shard(int(number)).chunk_ends, within, "right")
        return rows

    def passages(self, chunks: Sequence[int] | np.ndarray) -> Spans:
        """Return where chunks stand in the texts of their documents, as start and end in characters.

        Args:
            chunks: as `search_chunks` returns them.

        Raises:
            InputError: a shard is broken.
        """
        asked = np.asarray(chunks, dtype=np.int64)
        spans = np.empty((len(asked), 2), dtype=np.int32)
        shards = np.searchsorted(self._chunk_starts, asked, side="right") - 1
        for number in np.unique(shards):
            here = shards == number
            spans[here] = self._shard(int(number)).chunk_spans[asked[here] - self._chunk_starts[number]]
        return spans

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
        """Return one vector for each document by row, float32 (rows, dimension), in the order given.

        It is the embedding of a document that has one, else the mean of its chunks' embeddings, as a unit vector.

        Raises:
            InputError: a row is outside the index, or its shard is broken.
        """
        asked, places = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        vectors = np.empty((len(asked), self.info.dimension), dtype=np.float32)
        for here, embeddings, first in self._chunks_of(asked):
            vectors[here] = mean_vectors(embeddings, first)
        return vectors[places]

    def similarities(self, queries: Vectors, rows: Sequence[int] | np.ndarray) -> Vectors:
        """Return how similar documents are to queries, float32 (queries, rows): as `search` does, but for rounding.

        Args:
            queries: float32 (queries, dimension).
            rows: documents, in any order.

        Raises:
            InputError: a row is outside the index, or its shard is broken.
        """
        asked, places = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        found = np.empty((len(queries), len(asked)), dtype=np.float32)
        for here, embeddings, first in self._chunks_of(asked):
            # A product with a matrix of another size would round differently.
            products = np.stack([(embeddings * query).sum(axis=1, dtype=np.float64) for query in queries])
            found[:, here] = np.maximum.reduceat(products, first, axis=1)
        return found[:, places]

    def _chunks_of(self, rows: RowNumbers) -> Iterator[tuple[slice, Vectors, RowNumbers]]:
        """Yield for each shard which of the rows (unique, sorted) it has, embeddings of their chunks, and starts."""
        done = 0
        for shard, here, start in self._by_shard(rows):
            chunks, ends = chunks_at(shard.chunk_ends, here - start)
            places = np.concatenate([[0], ends])[:-1]
            yield slice(done, done + len(here)), shard.embeddings[chunks].astype(np.float32), places
            done += len(here)
            shard.check_unchanged()

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
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return f"the shard {path} is missing"
        except OSError as e:
            return f"the shard {cannot_be_read(path, e)}"
        if size != entry["bytes"]:
            return f"the shard {path} has {size} bytes, expected {entry['bytes']}"
    return ""
