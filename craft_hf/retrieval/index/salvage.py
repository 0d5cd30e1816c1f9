"""What is whole of a broken shard."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from craft_hf.base import JSON, Document
from craft_hf.retrieval.index.chunks import DOCUMENT, Chunks
from craft_hf.retrieval.index.deduplication import Hashes
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
        hashes: of the documents as they were, see `document_hashes`; None if they are not known.
        texts: hashes of the texts as far as they can be read, see `text_hashes`.
        spans: what of each document is embedded, int32 (chunks, 2); None where that is not known.
        vectors: its vectors that are whole, with the hashes of what was embedded.
    """

    path: Path
    entry: Mapping[str, JSON]
    documents: list[Document | None]
    ids: list[str | None]
    hashes: LongHashes | None
    texts: Hashes
    spans: list[np.ndarray | None]
    vectors: LooseVectors

    @property
    def lost(self) -> int:
        """How many documents are lost."""
        return self.documents.count(None)


def salvaged(path: Path, kept: LongHashes | None, entry: Mapping[str, JSON], info: IndexInfo) -> BrokenShard:
    """Read what is whole of a broken shard.

    Args:
        path: its file, which may be missing.
        kept: the hashes of its documents that are kept beside it, if these are whole.
        entry: what `index.json` says of the shard.
        info: what it says of the embedding model and the chunks, which the shard may have wrong.
    """
    count = int(str(entry["documents"]))
    arrays = _read(path)
    found = _documents(arrays, count)
    none = np.zeros((count, 2), dtype=np.uint64)
    written = _shaped(arrays, "document_hash", (count, 2), none) if kept is None else kept
    _put_corpora_right(found, written, info)
    filled = [document or Document("", "") for document in found]
    now = document_hashes(filled)
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

    hashes = next(filter(is_right, (written, now)), None)
    if hashes is None and _names(path, str(entry["fingerprint"])):  # else another shard lies in its place
        hashes = written  # some are damaged; a document that fits its hash is whole all the same
    documents: list[Document | None] = [None] * count
    spans: list[np.ndarray | None] = [None] * count
    sound = _sound(arrays, vectors)
    if hashes is not None:
        whole = (now == hashes).all(axis=1)
        documents = [document if ok else None for document, ok in zip(found, whole, strict=True)]
        if is_embedded(hashes):
            sound[:] = True
            spans = [chunks.spans[a:b] for a, b in zip(chunks.starts, chunks.ends, strict=True)]
            rows = np.flatnonzero(whole).tolist()
            of_rows, chosen = chunks.take(rows)
            keys[chosen] = embedding_hashes(of_rows.parts([filled[row].text for row in rows]), info.embedding_identity)
        else:
            spans = _right_spans(documents, chunks, keys, info.embedding_identity)
    ids = [document.id if document else None for document in found]
    texts = _shaped(arrays, "text_hash", (count,), np.zeros(count, dtype=np.uint64))
    return BrokenShard(path, entry, documents, ids, hashes, texts, spans, LooseVectors(keys[sound], vectors[sound]))


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read the datasets of a shard that can be read, whatever follows the HDF5 content.

    Not its attributes, which older ones have: damaged ones can crash HDF5.
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
