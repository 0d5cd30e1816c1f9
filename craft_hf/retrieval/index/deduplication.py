"""Exact deduplication: drops documents whose text was seen before."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from craft_hf.base import Document

Hashes = np.ndarray[tuple[int], np.dtype[np.uint64]]
"""uint64, one for each document."""

_BATCH = 4096


def text_hashes(documents: Sequence[Document]) -> Hashes:
    """Return 64 bits of BLAKE2b for each text.

    Among 383 million texts, two have the same hash by chance with a probability of 1/250 (n^2 / 2^65, the birthday
    bound).
    """
    digests = (hashlib.blake2b(d.text.encode("utf-8", "replace"), digest_size=8).digest() for d in documents)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


class Deduplicator:
    """Drops documents whose text was seen before.

    It keeps 8 bytes for each text, in sorted runs, each at least twice as long as the next.

    Attributes:
        dropped: how many documents were dropped.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._runs: list[Hashes] = []

    def filter(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents that are new, in order."""
        iterator = iter(documents)
        while batch := list(itertools.islice(iterator, _BATCH)):
            yield from itertools.compress(batch, self.add(text_hashes(batch)))

    def add(self, hashes: Hashes) -> np.ndarray:
        """Add hashes; return for each whether it was new, bool (hashes,); of equal new ones the first is."""
        new = np.zeros(len(hashes), dtype=bool)
        new[np.unique(hashes, return_index=True)[1]] = True
        for run in self._runs:
            new &= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] != hashes
        self.dropped += len(hashes) - int(new.sum())
        run = np.sort(hashes[new])
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        if len(run):
            self._runs.append(run)
        return new
