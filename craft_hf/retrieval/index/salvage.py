"""What is whole of a broken shard."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from craft_hf.base import JSON, Document, InputError
from craft_hf.retrieval.index.chunks import Chunks
from craft_hf.retrieval.index.deduplication import Hashes, text_hashes
from craft_hf.retrieval.index.quantize import Halves, quantize
from craft_hf.retrieval.index.shard import (
    BROKEN,
    LongHashes,
    Shard,
    document_hashes,
    documents_hash,
    embedding_hashes,
    shard_fingerprint,
)

_MOST_TRIED = 6
"""Documents that do not fit their hashes, of which every combination of damage is tried: 64 at most."""


@dataclass
class BrokenShard:
    """A broken shard: what is whole of it.

    Attributes:
        entry: what `index.json` says of it.
        documents: its documents in order; None for each that is lost.
        hashes, texts: of the documents as they were, and of their texts, see `document_hashes` and `text_hashes`; None
            if these are not known.
        is_sure: whether the hashes are right; else some of them may be damaged.
        doubtful: rows of documents whose texts are whole, and whose other fields may be damaged.
        chunks, vectors: what of its documents is embedded, and the embeddings, if these are whole.
        sound: which embeddings are whole, bool (chunks,).
    """

    entry: Mapping[str, JSON]
    documents: list[Document | None]
    hashes: LongHashes | None = None
    texts: Hashes | None = None
    is_sure: bool = False
    doubtful: set[int] = field(default_factory=set)
    chunks: Chunks | None = None
    vectors: Halves | None = None
    sound: np.ndarray | None = None
    _guesses: dict[int, Document | None] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """How many documents are lost."""
        return self.documents.count(None)

    def put(self, row: int, document: Document, *, is_sure: bool) -> None:
        """Put a document in its place; if that is not sure, until `settle`."""
        if is_sure:
            self.doubtful.discard(row)
            self._guesses.pop(row, None)
        else:
            self._guesses.setdefault(row, self.documents[row])
        self.documents[row] = document

    def settle(self) -> bool:
        """Take documents out again whose place was not sure, if the shard did not hold them; return whether it did."""
        documents = [document for document in self.documents if document]
        is_as_it_was = not self.lost and documents_hash(document_hashes(documents)) == self.entry["documents_hash"]
        if is_as_it_was:
            self.doubtful.clear()
        else:
            for row, before in self._guesses.items():
                self.documents[row] = before
        return is_as_it_was or not self._guesses


def salvaged(folder: Path, entry: Mapping[str, JSON]) -> BrokenShard:
    """Read what is whole of a broken shard.

    Args:
        folder: of the index.
        entry: what `index.json` says of the shard.
    """
    count = int(str(entry["documents"]))
    nothing = BrokenShard(entry, [None] * count)
    try:
        shard = Shard(folder / str(entry["file"]))
        texts, written = shard.text_hashes, shard.document_hashes
        chunks, vectors = shard.cut(), np.array(shard.embeddings)
    except (InputError, ValueError, MemoryError):
        return nothing
    if (shard.rows, texts.shape, written.shape) != (count, (count,), (count, 2)):
        return nothing
    found = _readable(shard, range(count))
    filled = [document or Document("", "") for document in found]
    now, fits = document_hashes(filled), text_hashes(filled) == texts

    def is_embedded(hashes: LongHashes) -> bool:
        return shard_fingerprint(shard.embedder, hashes, chunks, vectors) == entry["fingerprint"]

    def is_right(hashes: LongHashes) -> bool:
        return documents_hash(hashes) == entry["documents_hash"] or is_embedded(hashes)

    hashes = _right_hashes(now, written, fits, is_right)
    if hashes is None:
        if shard.fingerprint != entry["fingerprint"]:
            return nothing  # another shard lies in its place
        whole = (now == written).all(axis=1)
        documents = [document if ok else None for document, ok in zip(found, whole | fits, strict=True)]
        return BrokenShard(entry, documents, written, texts, doubtful=set(np.flatnonzero(fits & ~whole).tolist()))
    whole = (now == hashes).all(axis=1)
    documents = [document if ok else None for document, ok in zip(found, whole, strict=True)]
    part = BrokenShard(entry, documents, hashes, texts, is_sure=True)
    if is_embedded(hashes):
        part.chunks, part.vectors = chunks, vectors
    elif whole.all():
        with contextlib.suppress(*BROKEN, InputError):
            parts = chunks.parts([document.text for document in filled])
            if np.array_equal(embedding_hashes(parts, shard.embedder), shard.embedding_hashes):
                part.chunks, part.vectors, part.sound = chunks, vectors, _sound(shard, vectors)
    return part


def _right_hashes(
    now: LongHashes, written: LongHashes, fits: np.ndarray, is_right: Callable[[LongHashes], bool]
) -> LongHashes | None:
    """Return the hashes of a shard's documents as they were, or None if that cannot be told.

    Where a document does not fit the hash that the shard has of it, one of the two is damaged.

    Args:
        now: hashes of the documents as they are.
        written: hashes of the documents as the shard has them.
        fits: whether the text of each document is whole.
        is_right: whether hashes are those of all documents as they were.
    """
    differ = np.flatnonzero((now != written).any(axis=1))
    choices: list[Sequence[bool]] = [[False] * len(differ), [True] * len(differ), fits[differ].tolist()]
    if len(differ) <= _MOST_TRIED:
        choices = list(itertools.product((False, True), repeat=len(differ)))
    for choice in choices:
        rows = differ[np.array(choice, dtype=bool)]
        hashes = np.array(written)
        hashes[rows] = now[rows]
        if is_right(hashes):
            return hashes
    return None


def _sound(shard: Shard, vectors: Halves) -> np.ndarray:
    """Return which embeddings of a shard are those of which its codes, scales and errors were made, bool (chunks,)."""
    with np.errstate(all="ignore"):
        made = quantize(vectors)
    same_codes = (made.codes == shard.codes).all(axis=1)
    same: np.ndarray = same_codes & (made.scales == shard.scales) & (made.residuals == shard.residuals)
    return same


def _readable(shard: Shard, rows: Sequence[int]) -> list[Document | None]:
    """Read documents, with None for those that cannot be read."""
    try:
        return list(shard.documents(rows))
    except InputError:
        if len(rows) < 2:
            return [None for _ in rows]
        middle = len(rows) // 2
        return _readable(shard, rows[:middle]) + _readable(shard, rows[middle:])
