"""One HDF5 file of the index: documents and their embeddings; named by its content, and never changed.

embedding                       float16 (chunks, dimension); the chunks of a document follow each other
embedding_hash                  of the embedded text and the model, see `embedding_hashes`, uint64 (chunks, 2)
code, scale, residual           the same as int8, and its scales and errors (see `quantize`), float32
chunk_end                       chunks up to and including those of each document, int64 (documents,)
chunk_span                      start and end of each chunk in its document's text, in characters, int32 (chunks, 2)
text, id, title, url, author    all strings of a column as one UTF-8 blob, uint8
text_end, id_end, ...           where each string ends in its blob, int64 (documents,)
corpus                          which (source, license) a document has, uint32 (documents,): a position in
corpus_source, corpus_license   the distinct pairs, as blobs with ends like the above
text_hash                       see `text_hashes`, uint64
document_hash                   of all fields of a document, see `document_hashes`, uint64 (documents, 2)
about                           JSON as UTF-8, uint8: format, fingerprint, embedder; longest: no quantized embedding is
                                longer; vectors and window: see `Chunks`; longer_than_window: how many documents are

It has no HDF5 attributes, as those that a flipped bit has hit can crash or hang the process that reads them; older
shards, which have them in place of "about", are read.

All datasets are contiguous, and those of a page or more aligned to pages, so that they can be memory-mapped. The
HDF5 content is followed by 40 bytes that HDF5 ignores: its size and its SHA-256.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pyarrow

from craft_hf.base import JSON, Document, InputError, StorageError, write_file
from craft_hf.retrieval.index.chunks import Chunks, starts_at
from craft_hf.retrieval.index.deduplication import Hashes, text_hashes
from craft_hf.retrieval.index.layout import shard_name
from craft_hf.retrieval.index.quantize import Codes, Floats, Halves, quantize

if TYPE_CHECKING:
    import torch

FORMAT = 6
_PAGE = 4096
_TRAILER = 40
_MAPPED = ("embedding", "code", "scale", "residual", "chunk_end", "chunk_span")
STRINGS = ("text", "id", "title", "url", "author")
"""The fields of a document of which each has a blob of its own."""

_BLOBS = (*STRINGS, "corpus_source", "corpus_license")

DATASETS = (
    *_MAPPED, "embedding_hash", "document_hash", "text_hash", "corpus", *_BLOBS, *(f"{name}_end" for name in _BLOBS)
)  # fmt: skip
"""All that a shard holds."""

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]
"""uint8, shape (bytes,)."""

BROKEN = (
    OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, IndexError, OverflowError, MemoryError
)  # fmt: skip
"""What reading a damaged HDF5 file raises: a wrong type, size or name comes up where it is used."""

LongHashes = np.ndarray[tuple[int, int], np.dtype[np.uint64]]
"""uint64 (rows, 2): 128 bits for each."""

HASH_BYTES = 16


@dataclass(frozen=True)
class ShardContent:
    """What a shard holds: documents with their embeddings.

    Attributes:
        documents: in order.
        chunks: what of them is embedded.
        embeddings: float16 (chunks, dimension).
        hashes: of what was embedded, see `embedding_hashes`, uint64 (chunks, 2).
    """

    documents: Sequence[Document]
    chunks: Chunks
    embeddings: Halves
    hashes: LongHashes

    def take(self, rows: Sequence[int]) -> ShardContent:
        """Return the documents of some rows, in the order given."""
        chunks, chosen = self.chunks.take(rows)
        documents = [self.documents[row] for row in rows]
        return ShardContent(documents, chunks, self.embeddings[chosen], self.hashes[chosen])

    @staticmethod
    def join(parts: Sequence[ShardContent]) -> ShardContent:
        """Return the documents of one or more contents, one behind the other."""
        return ShardContent(
            [document for part in parts for document in part.documents],
            Chunks.join([part.chunks for part in parts]),
            np.concatenate([part.embeddings for part in parts]),
            np.concatenate([part.hashes for part in parts]),
        )


def embedding_hashes(texts: Sequence[str], embedder: str) -> LongHashes:
    """Return 128 bits of BLAKE2b for each text that is embedded, with the embedding model: equal ones, equal vectors.

    Args:
        texts: what the model is given.
        embedder: `Embedder.identity`.
    """
    return _long_hashes((embedder, text) for text in texts)


def document_hashes(documents: Sequence[Document]) -> LongHashes:
    """Return 128 bits of BLAKE2b for each document, with all its fields."""
    return _long_hashes(astuple(document) for document in documents)


def documents_hash(hashes: LongHashes) -> str:
    """Return the hash of some documents in their order, from their `document_hashes`."""
    return hashlib.blake2b(np.ascontiguousarray(hashes).data, digest_size=16).hexdigest()


def _long_hashes(rows: Iterator[tuple[str, ...]]) -> LongHashes:
    found = []
    for row in rows:
        digest = hashlib.blake2b(digest_size=16)
        for part in row:
            encoded = part.encode("utf-8", "replace")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        found.append(digest.digest())
    return np.frombuffer(b"".join(found), dtype="<u8").astype(np.uint64).reshape(-1, 2)


def shard_fingerprint(embedder: str, documents: LongHashes, chunks: Chunks, embeddings: Halves) -> str:
    """Return the hash of a shard's content, from its documents' hashes, their chunks and the embeddings of these."""
    digest = hashlib.blake2b(f"{embedder} {chunks.vectors} {chunks.window}".encode(), digest_size=16)
    for array in (documents, chunks.ends, chunks.spans, embeddings):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_shard(folder: Path, content: ShardContent, embedder: str) -> Mapping[str, JSON]:
    """Write a shard to a temporary file and rename it when it is complete; one that is there already, whole, stays.

    Args:
        folder: where; the file is named after the fingerprint of its content.
        content: what it holds.
        embedder: `Embedder.identity`.

    Returns:
        What `index.json` says about it, see `shard_entry`.

    Raises:
        StorageError: the disk is full or not writable; no partial file is left.
    """
    hashes = document_hashes(content.documents)
    fingerprint = shard_fingerprint(embedder, hashes, content.chunks, content.embeddings)
    path = folder / shard_name(fingerprint)
    if not _is_there(path, fingerprint):
        data = _hdf5(content, hashes, {"format": FORMAT, "fingerprint": fingerprint, "embedder": embedder})
        try:
            write_file(path, data, _trailer(len(data), hashlib.sha256(data)))
        except OSError as e:
            raise StorageError(
                f"the shard {path} cannot be written: {e}. What was embedded is kept; free disk space and run the "
                "same command again: it goes on from here."
            ) from e
    return shard_entry(Shard(path))


def _is_there(path: Path, fingerprint: str) -> bool:
    """Whether a shard is there, whole, and no other lies in its place."""
    try:
        return is_intact(path) and Shard(path).fingerprint == fingerprint
    except InputError:
        return False


def shard_bytes(documents: float, chunks: float, dimension: int, text_bytes: float) -> float:
    """Return the size of shards in bytes, with the hashes beside them, and without what fills up pages, 50 kB a shard.

    Args:
        documents: how many they hold.
        chunks: how many these have.
        dimension: of the embeddings.
        text_bytes: of the documents' strings in UTF-8.
    """
    of_chunk = dimension * (2 + 1) + 2 * 4 + 2 * 4 + HASH_BYTES  # embedding, code; scale, residual; span; hash
    of_document = 8 + 8 * len(STRINGS) + 4 + 8 + 2 * HASH_BYTES  # chunk_end; ends of strings; corpus; hashes
    return chunks * of_chunk + documents * of_document + text_bytes


def hub_repository(folder: Path) -> Path | None:
    """Return the folder of a repository in the Hub's cache of which a folder is a snapshot, or None if it is none."""
    folder = folder.absolute()
    repository = folder.parent.parent
    is_snapshot = folder.parent.name == "snapshots" and repository.name.startswith("datasets--")
    return repository if is_snapshot and (repository / "blobs").is_dir() else None


def mending(folder: Path) -> str:
    """Return what to do about a shard that is missing or damaged."""
    if repository := hub_repository(folder):
        name = "/".join(repository.name.split("--")[1:])
        return f"delete {repository} and fetch it again: craft-hf index pull {name}@{folder.absolute().name}"
    return f"mend it with: craft-hf index repair {folder}"


def _hdf5(content: ShardContent, hashes: LongHashes, said: Mapping[str, str | int]) -> bytes:
    """Return the content of a shard's file.

    It is made in memory because HDF5 cannot close a file on a full disk: it tries again when the process ends, which
    crashes it.
    """
    documents, halves = content.documents, content.embeddings
    quantized = quantize(halves)
    lengths = np.linalg.norm(quantized.codes.astype(np.float32), axis=1) * quantized.scales
    with h5py.File(
        "shard", "w", driver="core", backing_store=False, block_size=2**24, alignment_threshold=_PAGE,
        alignment_interval=_PAGE,
    ) as file:  # fmt: skip
        for name, data in zip(_MAPPED, (halves, *quantized, content.chunks.ends, content.chunks.spans), strict=True):
            file.create_dataset(name, data=data)
        file.create_dataset("embedding_hash", data=content.hashes)
        file.create_dataset("document_hash", data=hashes)
        for name in STRINGS:
            _write_strings(file, name, [getattr(d, name) for d in documents])
        numbers: dict[tuple[str, str], int] = {}
        corpus = [numbers.setdefault((d.source, d.license), len(numbers)) for d in documents]
        file.create_dataset("corpus", data=np.array(corpus, dtype=np.uint32))
        _write_strings(file, "corpus_source", [source for source, _ in numbers])
        _write_strings(file, "corpus_license", [license for _, license in numbers])
        file.create_dataset("text_hash", data=text_hashes(documents))
        about = {
            **said,
            "longest": float(lengths.max(initial=0.0)) * 1.00001,
            "vectors": content.chunks.vectors,
            "window": content.chunks.window,
            "longer_than_window": content.chunks.longer_than_window([d.text for d in documents]),
        }
        file.create_dataset("about", data=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def open_hdf5(path: Path) -> h5py.File:
    """Open a shard for reading without HDF5's lock: a shard never changes, and some file systems have no locks."""
    return h5py.File(path, "r", locking=False)


def _write_strings(file: h5py.File, name: str, values: Sequence[str]) -> None:
    encoded = [value.encode("utf-8", "replace") for value in values]
    file.create_dataset(name, data=np.frombuffer(b"".join(encoded), dtype=np.uint8))
    file.create_dataset(f"{name}_end", data=np.cumsum([len(value) for value in encoded], dtype=np.int64))


def _trailer(size: int, digest: hashlib._Hash) -> bytes:
    return size.to_bytes(8, "little") + digest.digest()


def is_intact(path: Path) -> bool:
    """Read a shard's file and tell whether it is still what was written, to the last bit.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            left = size = os.fstat(file.fileno()).st_size - _TRAILER
            while left > 0 and (block := file.read(min(left, 2**20))):
                digest.update(block)
                left -= len(block)
            return left == 0 and file.read() == _trailer(size, digest)
    except OSError as e:
        raise cannot_be_read(path, e) from e


def check_intact(path: Path) -> None:
    """Check that a shard's file is still what was written; see `is_intact`.

    Raises:
        InputError: it is not, or it cannot be read.
    """
    if not is_intact(path):
        raise InputError(f"{path} was changed after it was written")


def cannot_be_read(path: Path, error: OSError) -> InputError:
    """Return the error that says that a file of an index cannot be read, and why."""
    return InputError(f"{path} cannot be read ({error.strerror or error})")


class Shard:
    """A shard opened for reading, by any number of threads; arrays are memory-mapped.

    Args:
        path: its file.
        keep_mapped: whether the file stays mapped between two uses; if not, only as long as somebody has an array.

    Attributes:
        rows: how many documents.
        chunks: how many chunks of them, each with an embedding.
        vectors, window: see `Chunks`.
        longer_than_window: how many documents are.

    Raises:
        InputError: the file is missing, truncated, not a shard, or of another format.
    """

    def __init__(self, path: Path, keep_mapped: bool = True) -> None:
        self.path, self._keep_mapped = path, keep_mapped
        self._mapped: Callable[[], Bytes | None] = lambda: None
        self._arrays: dict[str, np.ndarray] = {}
        self._opened = _state(path)
        try:
            with open_hdf5(path) as file:
                about = json.loads(bytes(file["about"][()])) if "about" in file else dict(file.attrs)
                made_by = int(about["format"])
                self.chunks, self.dimension = (int(n) for n in file["embedding"].shape)
                self.fingerprint = str(about["fingerprint"])
                if made_by == FORMAT:
                    self.rows = len(file["chunk_end"])
                    self.embedder = str(about["embedder"])
                    self.vectors, self.window = str(about["vectors"]), int(about["window"] or 0) or None
                    self.longer_than_window = int(about["longer_than_window"])
                    self.longest = float(about["longest"])
                    self._layout = {name: _placed(dataset) for name, dataset in file.items()}
                    size = _written_size(path)
                    whole = size is not None and max(end for _, end, _, _ in self._layout.values()) <= size
        except BROKEN as e:
            raise InputError(
                f"the shard {path} is missing, truncated or not a shard of craft_hf ({e}); {mending(path.parent)}."
            ) from e
        if made_by != FORMAT:
            raise InputError(
                f"the shard {path} has format {made_by}, this craft_hf reads format {FORMAT}; install the version of "
                "craft_hf that built it, or build the index again into an empty folder."
            )
        if not whole:
            raise InputError(f"the shard {path} is truncated; {mending(path.parent)}.")

    def is_intact(self) -> bool:
        """Read the whole file and tell whether it is still what was written, to the last bit.

        Raises:
            InputError: it cannot be read.
        """
        return is_intact(self.path)

    def __reduce__(self) -> tuple[type[Shard], tuple[Path, bool]]:
        return Shard, (self.path.absolute(), self._keep_mapped)  # another process may be elsewhere

    def check_unchanged(self) -> None:
        """Raise InputError if the file was replaced or written to since it was opened."""
        if _state(self.path) != self._opened:
            raise InputError(
                f"the shard {self.path} was changed since it was opened; open the index again, and make sure that "
                "nothing writes to it."
            )

    @property
    def embeddings(self) -> Halves:
        """The embeddings, float16 (chunks, dimension), memory-mapped."""
        return self._array("embedding")

    @property
    def codes(self) -> Codes:
        """The embeddings' codes, int8 (chunks, dimension), memory-mapped."""
        return self._array("code")

    @property
    def scales(self) -> Floats:
        """Scales of the codes, float32 (chunks,), memory-mapped."""
        return self._array("scale")

    @property
    def residuals(self) -> Floats:
        """Euclidean norms of the codes' residuals, float32 (chunks,), memory-mapped."""
        return self._array("residual")

    @property
    def chunk_ends(self) -> np.ndarray:
        """Chunks up to and including those of each document, int64 (rows,), memory-mapped."""
        return self._array("chunk_end")

    @property
    def chunk_spans(self) -> np.ndarray:
        """Start and end of each chunk in its document's text, in characters, int32 (chunks, 2), memory-mapped."""
        return self._array("chunk_span")

    def cut(self) -> Chunks:
        """Read what of the documents is embedded."""
        return Chunks(np.array(self.chunk_ends), np.array(self.chunk_spans), self.vectors, self.window)

    @property
    def text_hashes(self) -> Hashes:
        """Hashes of the texts, uint64 (rows,), memory-mapped."""
        return self._array("text_hash")

    @property
    def embedding_hashes(self) -> LongHashes:
        """Hashes of what was embedded, uint64 (chunks, 2), memory-mapped."""
        return self._array("embedding_hash")

    @property
    def document_hashes(self) -> LongHashes:
        """Hashes of the documents, uint64 (rows, 2), memory-mapped."""
        return self._array("document_hash")

    def content(self) -> ShardContent:
        """Read all of the shard.

        Raises:
            InputError: the file is damaged.
        """
        documents = self.documents(range(self.rows))
        return ShardContent(documents, self.cut(), np.array(self.embeddings), self.embedding_hashes)

    @property
    def corpus(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """The position in `corpora` of each document's source and licence, uint32 (rows,), memory-mapped."""
        return self._array("corpus")

    @cached_property
    def corpora(self) -> list[tuple[str, str]]:
        """The distinct (source, licence) of the documents."""
        rows = np.arange(len(self._array("corpus_source_end")))
        return list(zip(self._column("corpus_source", rows), self._column("corpus_license", rows), strict=True))

    def _bytes(self) -> Bytes:
        """The whole file, memory-mapped for reading only, which takes nothing of the memory that may be committed.

        Unlike numpy and mmap, Arrow keeps no file open for it; a process may have only some 1,000 open.
        """
        if (mapped := self._mapped()) is None:
            try:
                with pyarrow.memory_map(str(self.path)) as file:
                    mapped = np.frombuffer(file.read_buffer(), dtype=np.uint8)
            except OSError as e:
                raise InputError(f"the shard {self.path} cannot be mapped into memory: {e}") from e
            self._mapped = weakref.ref(mapped)  # its arrays hold it
        return mapped

    def _array(self, name: str) -> np.ndarray:
        if (array := self._arrays.get(name)) is None:
            mapped = self._bytes()
            try:
                start, end, dtype, shape = self._layout[name]
                array = mapped[start:end].view(dtype).reshape(shape)
            except BROKEN as e:
                raise self._damaged(e) from e
            if self._keep_mapped:
                self._arrays[name] = array
        return array

    def documents(self, rows: Sequence[int] | np.ndarray) -> list[Document]:
        """Return documents by row, in the order given; those of ascending rows are read fastest.

        Raises:
            InputError: the file is damaged.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        columns = (self.strings(field.name, chosen) for field in fields(Document))
        return [Document(*values) for values in zip(*columns, strict=True)]

    def strings(self, name: str, rows: np.ndarray | None = None) -> list[str]:
        """Return a field of some documents.

        Args:
            name: "id", "text", "source", "title", "url", "license" or "author".
            rows: int64; by default all.

        Raises:
            InputError: the file is damaged.
        """
        rows = np.arange(self.rows) if rows is None else rows
        try:
            if name in STRINGS:
                return self._column(name, rows)
            values = [pair[name == "license"] for pair in self.corpora]
            return [values[number] for number in self.corpus[rows].tolist()]
        except BROKEN as e:
            raise self._damaged(e) from e

    def _damaged(self, error: Exception) -> InputError:
        self.check_unchanged()
        return InputError(f"the shard {self.path} is damaged ({error}); {mending(self.path.parent)}.")

    def _column(self, name: str, rows: np.ndarray) -> list[str]:
        blob, ends = self._array(name).data, self._array(f"{name}_end")
        starts = starts_at(ends, rows)
        return [str(blob[a:b], "utf-8") for a, b in zip(starts.tolist(), ends[rows].tolist(), strict=True)]


def mapped_tensor(array: np.ndarray) -> torch.Tensor:
    """Return a mapped array as a torch tensor, which must not be written to."""
    import torch

    _accept_read_only_arrays()
    return torch.from_numpy(array)


@functools.cache
def _accept_read_only_arrays() -> None:
    """Let torch give its warning about arrays that are read-only, which it gives once in a process, unseen."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(np.frombuffer(b"\0", dtype=np.uint8))


def _placed(dataset: h5py.Dataset) -> tuple[int, int, np.dtype[Any], tuple[int, ...]]:
    """Return where a dataset starts and ends in the file, its type and shape."""
    start = dataset.id.get_offset() or 0  # HDF5 gives no offset for an empty array
    return start, start + dataset.nbytes, dataset.dtype, dataset.shape


def shard_entry(shard: Shard) -> Mapping[str, JSON]:
    """Return what `index.json` says about a shard, see `IndexInfo.shards`."""
    return {
        "file": shard.path.name,
        "documents": shard.rows,
        "chunks": shard.chunks,
        "longer_than_window": shard.longer_than_window,
        "bytes": shard.path.stat().st_size,
        "fingerprint": shard.fingerprint,
        "documents_hash": documents_hash(shard.document_hashes),
    }


def _written_size(path: Path) -> int | None:
    """Return the size of the HDF5 content as it was written, or None if the file has another size."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - _TRAILER
        file.seek(max(size, 0))
        return size if int.from_bytes(file.read(8), "little") == size else None


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
