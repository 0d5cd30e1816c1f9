"""Exact search: query vectors come in, the most similar documents go out, in two steps.

Step 1 takes the top k of every shard, step 2 the top k of what the shards gave. With the k that is wanted in the end
as the depth of step 1, nothing is lost: the result equals a comparison of everything with everything. Step 2 runs
along with step 1, so that memory grows with k, not with the number of shards, and a shard is told what it has to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from craft_hf.embed import Embedder, Vectors
from craft_hf.errors import InputError
from craft_hf.index.build import IndexInfo, read_info
from craft_hf.index.shard import Shard
from craft_hf.records import Document

_BLOCK = 16_384
"""Documents whose similarities are computed at a time."""

Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""int64, shape (queries, k): rows of the index."""

Scores = np.ndarray[tuple[int], np.dtype[np.float32]]
RowsOfOne = np.ndarray[tuple[int], np.dtype[np.int64]]


class Index:
    """An index opened for searching; rows are numbered through all shards, from 0."""

    def __init__(self, folder: Path, info: IndexInfo) -> None:
        self.folder, self.info = folder, info

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Open the index in a folder; cheap, the shards are read when they are needed.

        Raises:
            InputError: the folder is no index, or a shard is missing or has another size than it was built with.
        """
        info = read_info(folder)
        for entry in info.shards:
            path = folder / str(entry["file"])
            size = path.stat().st_size if path.is_file() else None
            if size != entry["bytes"]:
                found = "is missing" if size is None else f"has {size} bytes, expected {entry['bytes']}"
                raise InputError(
                    f"the shard {path} {found}; build the index again with the same command (only what is missing or "
                    "broken is embedded), or copy the file again."
                )
        return cls(folder, info)

    def __len__(self) -> int:
        return self.info.documents

    @property
    def fingerprint(self) -> str:
        """Hash of the documents and their embeddings."""
        return self.info.fingerprint

    @cached_property
    def _starts(self) -> RowsOfOne:
        """First row of each shard, and the number of all rows at the end."""
        return np.cumsum([0, *(int(str(entry["documents"])) for entry in self.info.shards)], dtype=np.int64)

    def _shard(self, number: int) -> Shard:
        """Open a shard and make sure that it is the one that was built."""
        entry = self.info.shards[number]
        shard = Shard(self.folder / str(entry["file"]))
        expected = entry["documents"], self.info.dimension, entry["fingerprint"]
        if (shard.rows, shard.dimension, shard.fingerprint) != expected:
            shard.close()
            raise InputError(f"the shard {shard.path} is not the one that index.json names; build the index again.")
        return shard

    def check_embedder(self, embedder: Embedder) -> None:
        """Raise InputError unless the index was built with this model."""
        if (embedder.model, embedder.revision) != (self.info.embedding_model, self.info.embedding_revision):
            raise InputError(
                f"{self.folder} was built with {self.info.embedding_model} ({self.info.embedding_revision}), but the "
                f"embedding model is {embedder.model} ({embedder.revision}); rebuild the index, or use its model."
            )
        if embedder.dimension != self.info.dimension:
            raise InputError(
                f"{self.folder} holds {self.info.dimension}-dimensional embeddings, but {embedder.model} makes "
                f"{embedder.dimension}-dimensional ones; rebuild the index, or use its model."
            )

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
        """Return the k most similar documents of each query.

        Args:
            queries: float32 (queries, dimension); unit vectors give cosine similarities.
            k: how many, 1 or more; fewer come back if the index holds fewer.

        Returns:
            Similarities, float32 (queries, min(k, documents)), best first, and rows of the same shape. Ties keep the
            order of the index.

        Raises:
            InputError: k is below 1, the queries have another dimension than the index, or a shard is broken.
        """
        if k < 1:
            raise InputError(f"k is {k}, expected 1 or more.")
        if queries.ndim != 2 or queries.shape[1] != self.info.dimension:
            raise InputError(f"queries have shape {queries.shape}, expected (queries, {self.info.dimension}).")
        pool = _Best(len(queries), k)
        for number, start in enumerate(self._starts[:-1]):
            self._shard(number).close()  # the check, before its embeddings are believed
            path = self.folder / str(self.info.shards[number]["file"])
            for line, (scores, rows) in enumerate(search_shard(path, queries, k, pool.floor)):
                pool.add(line, scores, rows + start)
        ranked = [pool.ranked(line) for line in range(len(queries))]
        shape = (len(queries), min(k, len(self)))
        return (
            np.array([scores for scores, _ in ranked], dtype=np.float32).reshape(shape),
            np.array([rows for _, rows in ranked], dtype=np.int64).reshape(shape),
        )

    def documents(self, rows: Sequence[int]) -> list[Document]:
        """Return documents by row, in the order given.

        Raises:
            InputError: a row is outside the index, or its shard is broken.
        """
        asked = np.asarray(rows, dtype=np.int64)
        if len(outside := asked[(asked < 0) | (asked >= len(self))]):
            raise InputError(f"row {outside[0]} is outside the index, which holds rows 0 to {len(self) - 1}.")
        shards = np.searchsorted(self._starts, asked, side="right") - 1
        found: dict[int, Document] = {}
        for number in np.unique(shards):
            here = np.unique(asked[shards == number])
            shard = self._shard(int(number))
            found.update(zip(here.tolist(), shard.documents((here - self._starts[number]).tolist()), strict=True))
            shard.close()
        return [found[int(row)] for row in asked]


def search_shard(path: Path, queries: Vectors, k: int, floor: Scores | None = None) -> list[tuple[Scores, RowsOfOne]]:
    """Step 1: return the top k of one shard for each query.

    Takes and gives plain values and shares nothing, so that any executor can run it.

    Args:
        path: the shard's file.
        queries: float32 (queries, dimension).
        k: how many, 1 or more.
        floor: float32 (queries,); only similarities above it are wanted, because k others are known to reach it.

    Returns:
        For each query up to k similarities, best first, and rows within the shard; ties in the order of the shard.

    Raises:
        InputError: the shard is missing or broken.
    """
    shard = Shard(path)
    vectors = torch.from_numpy(np.array(queries, dtype=np.float32))
    best = _Best(len(queries), k, floor)
    for start in range(0, shard.rows, _BLOCK):
        block = np.array(shard.embeddings[start : start + _BLOCK])
        found = (vectors @ torch.from_numpy(block).float().T).numpy()
        # Only what beats the k-th best so far can still come in; most blocks add little, so little is sorted.
        lines, columns = np.nonzero(found > best.floor[:, None])
        ends = np.searchsorted(lines, np.arange(len(queries) + 1))
        for line in np.flatnonzero(np.diff(ends)):
            mine = columns[ends[line] : ends[line + 1]]
            best.add(int(line), found[line, mine], mine + start)
    shard.close()
    return [best.ranked(line) for line in range(len(queries))]


class _Best:
    """The k best of each query so far; what comes in later has higher rows, or must beat what is there.

    `floor` is what the k-th best of each query reaches at least; -inf while there are fewer than k.
    """

    def __init__(self, queries: int, k: int, floor: Scores | None = None) -> None:
        self._k = k
        self.floor = np.full(queries, -np.inf, dtype=np.float32) if floor is None else floor.copy()
        self._scores = [np.empty(0, dtype=np.float32) for _ in range(queries)]
        self._rows = [np.empty(0, dtype=np.int64) for _ in range(queries)]

    def add(self, line: int, scores: Scores, rows: RowsOfOne) -> None:
        """Take in candidates of one query; of equals, those that are there already or have the lower row stay."""
        if not len(scores):
            return
        scores = np.concatenate([self._scores[line], scores])
        rows = np.concatenate([self._rows[line], rows])
        if len(scores) >= self._k:
            kth = -np.partition(-scores, self._k - 1)[self._k - 1]
            above, equal = np.flatnonzero(scores > kth), np.flatnonzero(scores == kth)
            equal = equal[np.argsort(rows[equal], kind="stable")][: self._k - len(above)]
            keep = np.concatenate([above, equal])
            scores, rows = scores[keep], rows[keep]
            self.floor[line] = max(self.floor[line], kth)
        self._scores[line], self._rows[line] = scores, rows

    def ranked(self, line: int) -> tuple[Scores, RowsOfOne]:
        """Return the best of one query, best first; ties in the order of their rows."""
        order = np.lexsort((self._rows[line], -self._scores[line]))
        return self._scores[line][order], self._rows[line][order]
