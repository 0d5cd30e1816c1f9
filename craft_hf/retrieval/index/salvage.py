"""What is whole of a broken shard."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from craft_hf.base import JSON, Document
from craft_hf.retrieval.index.chunks import DOCUMENT, Chunks
from craft_hf.retrieval.index.deduplication import Hashes, text_hashes
from craft_hf.retrieval.index.info import IndexInfo
from craft_hf.retrieval.index.quantize import Halves, quantize
from craft_hf.retrieval.index.shard import (
    BROKEN,
    DATASETS,
    STRINGS,
    LongHashes,
    document_hashes,
    documents_hash,
    embedding_hashes,
    open_hdf5,
    shard_fingerprint,
)
from craft_hf.retrieval.index.vectors import LooseVectors

_MOST_TRIED = 6
"""Documents that do not fit their hashes, of which every combination of damage is tried: 64 at most."""

_MOST_CORPORA = 200
"""Sources with their licences that are tried for a document."""


@dataclass
class BrokenShard:
    """A broken shard: what is whole of it.

    Attributes:
        path: its file.
        entry: what `index.json` says of it.
        documents: its documents in order; None for each that is lost.
        ids: of the documents, as far as they can be read.
        hashes, texts: of the documents as they were, and of their texts, see `document_hashes` and `text_hashes`; None
            if these are not known.
        is_sure: whether the hashes are right; else some of them may be damaged.
        doubtful: rows of documents whose texts are whole, and whose other fields may be damaged.
        spans: what of each document is embedded, int32 (chunks, 2); None where that is not known.
        vectors: its vectors that are whole, with the hashes of what was embedded.
    """

    path: Path
    entry: Mapping[str, JSON]
    documents: list[Document | None]
    ids: list[str | None]
    hashes: LongHashes | None = None
    texts: Hashes | None = None
    is_sure: bool = False
    doubtful: set[int] = field(default_factory=set)
    spans: list[np.ndarray | None] = field(default_factory=list)
    vectors: LooseVectors | None = None
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


def salvaged(path: Path, entry: Mapping[str, JSON], info: IndexInfo) -> BrokenShard:
    """Read what is whole of a broken shard.

    Args:
        path: its file, which may be missing.
        entry: what `index.json` says of the shard.
        info: what it says of the embedding model and the chunks, which the shard may have wrong.
    """
    count = int(str(entry["documents"]))
    arrays = _read(path)
    found = _documents(arrays, count)
    part = BrokenShard(path, entry, [None] * count, [document.id if document else None for document in found])
    part.spans = [None] * count
    written = _shaped(arrays, "document_hash", (count, 2), np.zeros((count, 2), dtype=np.uint64))
    _put_corpora_right(found, written, info)
    filled = [document or Document("", "") for document in found]
    now = document_hashes(filled)
    has_hashes = bool(written.any())
    if not has_hashes:
        written = now
    texts = _shaped(arrays, "text_hash", (count,), np.zeros(count, dtype=np.uint64))
    fits = text_hashes(filled) == texts
    vectors = _shaped(arrays, "embedding", (-1, info.dimension), np.zeros((0, info.dimension), dtype=np.float16))
    keys = _shaped(arrays, "embedding_hash", (len(vectors), 2), np.zeros((len(vectors), 2), dtype=np.uint64))
    chunks = Chunks(
        _shaped(arrays, "chunk_end", (count,), np.zeros(count, dtype=np.int64)),
        _shaped(arrays, "chunk_span", (len(vectors), 2), np.zeros((len(vectors), 2), dtype=np.int32)),
        info.vectors,
        info.window,
    )

    def is_embedded(hashes: LongHashes) -> bool:
        return shard_fingerprint(info.embedding_identity, hashes, chunks, vectors) == entry["fingerprint"]

    def is_right(hashes: LongHashes) -> bool:
        return documents_hash(hashes) == entry["documents_hash"] or is_embedded(hashes)

    sound = _sound(arrays, vectors)
    hashes = _right_hashes(now, written, fits, is_right)
    if hashes is not None:
        whole = (now == hashes).all(axis=1)
        part.hashes, part.texts, part.is_sure = hashes, texts, True
        part.documents = [document if ok else None for document, ok in zip(found, whole, strict=True)]
        if is_embedded(hashes):
            sound[:] = True
            part.spans = [chunks.spans[a:b] for a, b in zip(chunks.starts, chunks.ends, strict=True)]
            rows = np.flatnonzero(whole).tolist()
            of_rows, chosen = chunks.take(rows)
            keys[chosen] = embedding_hashes(of_rows.parts([filled[row].text for row in rows]), info.embedding_identity)
        else:
            part.spans = _right_spans(part.documents, chunks, keys, info.embedding_identity)
    elif has_hashes and _names(path, str(entry["fingerprint"])):  # else another shard lies in its place
        whole = (now == written).all(axis=1)
        part.hashes, part.texts = written, texts
        part.documents = [document if ok else None for document, ok in zip(found, whole | fits, strict=True)]
        part.doubtful = set(np.flatnonzero(fits & ~whole).tolist())
        part.spans = _right_spans(part.documents, chunks, keys, info.embedding_identity)
    part.vectors = LooseVectors(keys[sound], vectors[sound])
    return part


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read the datasets of a shard that can be read, whatever follows the HDF5 content.

    Not its attributes: damaged ones can crash HDF5.
    """
    arrays: dict[str, np.ndarray] = {}
    with contextlib.suppress(*BROKEN), open_hdf5(path) as file:
        for name in DATASETS:
            with contextlib.suppress(*BROKEN):
                arrays[name] = np.asarray(file[name][()])
    return arrays


def _names(path: Path, fingerprint: str) -> bool:
    """Whether a shard's file names a fingerprint as its own."""
    try:
        return fingerprint.encode() in path.read_bytes()
    except OSError:
        return False


def _shaped(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], otherwise: np.ndarray) -> np.ndarray:
    """Return an array if it has the shape that it should have (-1 for any), and the type of `otherwise`; else that."""
    array = arrays.get(name, otherwise)
    fits = array.ndim == len(shape) and all(want in (-1, n) for want, n in zip(shape, array.shape, strict=True))
    return array if fits and array.dtype == otherwise.dtype else otherwise


def _documents(arrays: Mapping[str, np.ndarray], count: int) -> list[Document | None]:
    """Return documents, with None for those that cannot be read."""
    columns = {name: _column(arrays, name) for name in STRINGS}
    pairs = list(zip(_column(arrays, "corpus_source"), _column(arrays, "corpus_license"), strict=False))
    numbers = _shaped(arrays, "corpus", (count,), np.full(count, len(pairs), dtype=np.uint32)).tolist()
    found: list[Document | None] = []
    for row, number in enumerate(numbers):
        strings = {name: column[row] if row < len(column) else None for name, column in columns.items()}
        source, license = pairs[number] if number < len(pairs) else ("", "")
        values = {**strings, "source": source or "", "license": license or ""}
        whole = {name: value for name, value in values.items() if value is not None}
        found.append(Document(**whole) if len(whole) == len(values) else None)
    return found


def _put_corpora_right(documents: list[Document | None], written: LongHashes, info: IndexInfo) -> None:
    """Give documents the source and licence that their hashes ask for: many share one, which `index.json` has too."""
    corpora = deque((str(corpus["source"]), str(corpus["license"])) for corpus in info.corpora)
    for row, document in enumerate(documents):
        if document and not np.array_equal(document_hashes([document])[0], written[row]):
            for source, license in list(corpora)[:_MOST_CORPORA]:
                other = replace(document, source=source, license=license)
                if np.array_equal(document_hashes([other])[0], written[row]):
                    documents[row] = other
                    corpora.remove((source, license))
                    corpora.appendleft((source, license))
                    break


def _column(arrays: Mapping[str, np.ndarray], name: str) -> list[str | None]:
    """Return the strings of a column, with None for those that cannot be read."""
    blob = _shaped(arrays, name, (-1,), np.zeros(0, dtype=np.uint8)).tobytes()
    ends = _shaped(arrays, f"{name}_end", (-1,), np.zeros(0, dtype=np.int64)).tolist()
    found: list[str | None] = []
    for start, end in itertools.pairwise([0, *ends]):
        try:
            found.append(blob[start:end].decode("utf-8") if 0 <= start <= end <= len(blob) else None)
        except UnicodeDecodeError:
            found.append(None)
    return found


def _right_spans(
    documents: Sequence[Document | None], chunks: Chunks, keys: LongHashes, embedder: str
) -> list[np.ndarray | None]:
    """Return what of each document is embedded, where the hashes of what was embedded say that it is."""
    found: list[np.ndarray | None] = []
    for document, (start, end) in zip(documents, itertools.pairwise([0, *chunks.ends.tolist()]), strict=True):
        found.append(None)
        if document and 0 <= start < end <= len(chunks.spans):
            spans = chunks.spans[start:end]
            first, last = int(spans[0, 0]), int(spans[-1, 1])
            is_all = last == len(document.text) or (chunks.vectors == DOCUMENT and end == start + 1)
            parts = [document.text[a:b] for a, b in spans.tolist()]
            if not first and is_all and np.array_equal(embedding_hashes(parts, embedder), keys[start:end]):
                found[-1] = spans
    return found


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


def _sound(arrays: Mapping[str, np.ndarray], vectors: Halves) -> np.ndarray:
    """Return which embeddings of a shard are those of which its codes, scales and errors were made, bool (chunks,)."""
    with np.errstate(all="ignore"):
        made = quantize(vectors)
    sound = np.ones(len(vectors), dtype=bool)
    for name, wanted in (("code", made.codes), ("scale", made.scales), ("residual", made.residuals)):
        if (array := arrays.get(name)) is None or array.shape != wanted.shape:
            return np.zeros(len(vectors), dtype=bool)
        sound &= (array == wanted).reshape(len(vectors), -1).all(axis=1)
    return sound
