"""Exact search: query vectors come in, the most similar documents go out, in two steps.

Step 1 takes the top k of every shard, step 2 the top k of what the shards gave. With the k that is wanted in the end
as the depth of step 1, nothing is lost: the result equals a comparison of everything with everything.
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


class Index:
    """An index opened for searching; rows are numbered through all shards, from 0.

    Raises:
        InputError: the folder is no index, or a shard is missing or truncated.
    """

    def __init__(self, folder: Path, info: IndexInfo) -> None:
        self.folder, self.info = folder, info

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Open the index in a folder; cheap, the shards are opened when they are needed."""
        return cls(folder, read_info(folder))

    def __len__(self) -> int:
        return self.info.documents

    @property
    def fingerprint(self) -> str:
        """Hash of the documents and their embeddings."""
        return self.info.fingerprint

    @cached_property
    def _shards(self) -> list[Shard]:
        shards = []
        for entry in self.info.shards:
            shard = Shard(self.folder / str(entry["file"]))
            if shard.rows != entry["documents"] or shard.fingerprint != entry["fingerprint"]:
                raise InputError(f"the shard {shard.path} is not the one that index.json names; build the index again.")
            shards.append(shard)
        return shards

    @cached_property
    def _starts(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """First row of each shard, and the number of all rows at the end."""
        return np.cumsum([0, *(shard.rows for shard in self._shards)], dtype=np.int64)

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
            InputError: k is below 1, or the queries have another dimension than the index.
        """
        if k < 1:
            raise InputError(f"k is {k}, expected 1 or more.")
        if queries.ndim != 2 or queries.shape[1] != self.info.dimension:
            raise InputError(f"queries have shape {queries.shape}, expected (queries, {self.info.dimension}).")
        parts = [search_shard(shard.path, queries, k) for shard in self._shards if shard.rows]
        if not parts:
            empty = (len(queries), 0)
            return np.zeros(empty, dtype=np.float32), np.zeros(empty, dtype=np.int64)
        starts = [start for start, shard in zip(self._starts, self._shards, strict=False) if shard.rows]
        scores = np.concatenate([s for s, _ in parts], axis=1)
        rows = np.concatenate([r + start for (_, r), start in zip(parts, starts, strict=True)], axis=1)
        return _top(scores, rows, k)

    def documents(self, rows: Sequence[int]) -> list[Document]:
        """Return documents by row, in the order given.

        Raises:
            InputError: a row is outside the index.
        """
        found = []
        for row in rows:
            if not 0 <= row < len(self):
                raise InputError(f"row {row} is outside the index, which holds rows 0 to {len(self) - 1}.")
            number = int(np.searchsorted(self._starts, row, side="right")) - 1
            found += self._shards[number].documents([int(row - self._starts[number])])
        return found


def search_shard(path: Path, queries: Vectors, k: int) -> tuple[Vectors, Rows]:
    """Step 1: return the top k of one shard, as `Index.search` does, with the shard's own rows.

    Takes plain values and shares nothing, so that any executor can run it.
    """
    shard = Shard(path)
    vectors = torch.from_numpy(queries)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    threshold = np.full((len(queries), 1), -np.inf, dtype=np.float32)
    for start in range(0, shard.rows, _BLOCK):
        block = np.array(shard.embeddings[start : start + _BLOCK])
        found = (vectors @ torch.from_numpy(block).float().T).numpy()
        # Only what beats the k-th best so far can still come in; most blocks add little, so little is sorted.
        columns = np.flatnonzero((found > threshold).any(axis=0))
        if len(columns) == 0:
            continue
        here = np.broadcast_to(columns + start, (len(queries), len(columns)))
        scores, rows = _top(np.concatenate([scores, found[:, columns]], 1), np.concatenate([rows, here], 1), k)
        if scores.shape[1] == k:
            threshold = scores[:, -1:]
    shard.close()
    return scores, rows


def _top(scores: Vectors, rows: Rows, k: int) -> tuple[Vectors, Rows]:
    """Return the k best of each line, best first; ties keep the order of their rows."""
    k = min(k, scores.shape[1])
    best = np.empty((len(scores), k), dtype=np.float32), np.empty((len(scores), k), dtype=np.int64)
    for line in range(len(scores)):
        s, r = scores[line], rows[line]
        if k < len(s):  # a partition first: sorting everything would take longer than the similarities
            keep = np.flatnonzero(s >= -np.partition(-s, k - 1)[k - 1])
            s, r = s[keep], r[keep]
        order = np.lexsort((r, -s))[:k]
        best[0][line], best[1][line] = s[order], r[order]
    return best
