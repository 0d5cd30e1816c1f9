"""One document for each text, and one id for each document."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

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
    return hashes_of(d.text for d in documents)


def hashes_of(texts: Iterable[str]) -> Hashes:
    """Return 64 bits of BLAKE2b for each text."""
    digests = (hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


class SeenHashes:
    """The hashes that were seen: 8 bytes for each, in sorted runs, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> np.ndarray:
        """Add hashes; return for each whether it was new, bool (hashes,); of equal new ones the first is."""
        new = np.zeros(len(hashes), dtype=bool)
        new[np.unique(hashes, return_index=True)[1]] = True
        for run in self._runs:
            new &= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] != hashes
        run = np.sort(hashes[new])
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        if len(run):
            self._runs.append(run)
        return new


class Deduplicator(SeenHashes):
    """Drops documents whose text was seen before.

    Attributes:
        dropped: how many documents were dropped.
        example: the id of the first of them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropped = 0
        self.example = ""

    def filter(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents that are new, in order."""
        iterator = iter(documents)
        while batch := list(itertools.islice(iterator, _BATCH)):
            new = self.add(text_hashes(batch))
            self.dropped += len(batch) - int(new.sum())
            if not self.example and not new.all():
                self.example = batch[int(np.argmin(new))].id
            yield from itertools.compress(batch, new)


class UniqueIds(SeenHashes):
    """Gives a document whose id was seen before another: the id, "~" and the hash of its text.

    So an id does not depend on what else is in the index or is added later, as long as the text stays. The first
    document of an id keeps it. Texts are expected to differ.

    Attributes:
        changed: how many documents got another id.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changed = 0

    def rename(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents in order, each with an id that no other has."""
        iterator = iter(documents)
        while batch := list(itertools.islice(iterator, _BATCH)):
            new = self.add(hashes_of(d.id for d in batch))
            for document, is_new in zip(batch, new, strict=True):
                yield document if is_new else self._renamed(document)

    def _renamed(self, document: Document) -> Document:
        self.changed += 1
        new = (id for id in itertools.islice(possible_ids(document), 1, None) if self.add(hashes_of([id]))[0])
        return replace(document, id=next(new))


def possible_ids(document: Document) -> Iterator[str]:
    """Yield the ids that a document may get, its own first, each if another document has those before."""
    suffix, id = f"~{int(text_hashes([document])[0]):016x}", document.id
    while True:
        yield id
        id += suffix
