"""One HDF5 file of the index: documents and their embeddings, written atomically.

embedding                       float16 (documents, dimension)
code, scale, residual           the same as int8, and its scales and errors (see `quantize`), float32
text, text_end                  all texts as one UTF-8 blob, and where each ends, int64
text_hash                       see `text_hashes`, uint64
id, source, title, url, license variable-length strings
attributes                      format, fingerprint, input_hash, and longest: no quantized embedding is longer

Embeddings and codes are contiguous and page-aligned, so that they can be memory-mapped. The HDF5 content is followed by
40 bytes that HDF5 ignores: its size and its SHA-256.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from craft_hf.base import Document, InputError, StorageError, Vectors, write_file
from craft_hf.retrieval.index.deduplication import Hashes, text_hashes
from craft_hf.retrieval.index.quantize import Codes, Floats, Halves, quantize

FORMAT = 2
_PAGE = 4096
_TRAILER = 40
_MAPPED = ("embedding", "code", "scale", "residual")
_STRINGS = ("id", "source", "title", "url", "license")


def input_hash(documents: Sequence[Document], embedder: str) -> str:
    """Return a hash of a shard's documents and model; if it is the same, the shard need not be embedded again.

    Args:
        documents: the shard's documents.
        embedder: model and revision.
    """
    digest = hashlib.blake2b(embedder.encode(), digest_size=16)
    for document in documents:
        for part in astuple(document):
            digest.update(len(part).to_bytes(8, "little") + part.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def write_shard(path: Path, documents: Sequence[Document], embeddings: Vectors, embedder: str) -> str:
    """Write a shard to a temporary file and rename it when it is complete.

    Args:
        path: the shard's file; an existing one is replaced.
        documents: its documents.
        embeddings: unit vectors, float32 (documents, dimension); kept as float16.
        embedder: model and revision of the embeddings.

    Returns:
        The fingerprint of the shard's content.

    Raises:
        InputError: an embedding holds NaN, infinity, or a number beyond float16.
        StorageError: the disk is full or not writable; no partial file is left.
    """
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(embeddings, dtype=np.float16)
    if len(bad := np.flatnonzero(~np.isfinite(halves).all(axis=1))):
        raise InputError(
            f"the embedding of document {documents[bad[0]].id!r} holds NaN, infinity or a number beyond float16; "
            f"expected unit vectors from {embedder}: try another device or model."
        )
    source = input_hash(documents, embedder)
    fingerprint = hashlib.blake2b(source.encode() + halves.tobytes(), digest_size=16).hexdigest()
    content = _hdf5(documents, halves, {"format": FORMAT, "fingerprint": fingerprint, "input_hash": source})
    try:
        write_file(path, content, _trailer(len(content), hashlib.sha256(content)))
    except OSError as e:
        raise StorageError(
            f"the shard {path} cannot be written: {e}. The shards before it are complete; free disk space and run "
            "the same command again: it resumes with this shard."
        ) from e
    return fingerprint


def _hdf5(documents: Sequence[Document], halves: Halves, attributes: Mapping[str, str | int]) -> bytes:
    """Return the content of a shard's file.

    It is made in memory because HDF5 cannot close a file on a full disk: it tries again when the process ends, which
    crashes it.
    """
    quantized = quantize(halves)
    lengths = np.linalg.norm(quantized.codes.astype(np.float32), axis=1) * quantized.scales
    with h5py.File(
        "shard", "w", driver="core", backing_store=False, block_size=2**24, alignment_threshold=_PAGE,
        alignment_interval=_PAGE,
    ) as file:  # fmt: skip
        for name, data in zip(_MAPPED, (halves, *quantized), strict=True):
            file.create_dataset(name, data=data)
        texts = [d.text.encode("utf-8", "replace") for d in documents]
        file.create_dataset("text", data=np.frombuffer(b"".join(texts), dtype=np.uint8))
        file.create_dataset("text_end", data=np.cumsum([len(t) for t in texts], dtype=np.int64))
        file.create_dataset("text_hash", data=text_hashes(documents))
        del texts
        for name in _STRINGS:
            values = [getattr(d, name).encode("utf-8", "replace") for d in documents]
            file.create_dataset(name, data=values, dtype=h5py.string_dtype())
        file.attrs.update({**attributes, "longest": float(lengths.max(initial=0.0)) * 1.00001})
        file.flush()
        content: bytes = file.id.get_file_image()
    return content


def _trailer(size: int, digest: hashlib._Hash) -> bytes:
    return size.to_bytes(8, "little") + digest.digest()


def is_intact(path: Path) -> bool:
    """Read a shard's file and tell whether it is still what was written, to the last bit."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = size = os.fstat(file.fileno()).st_size - _TRAILER
        while left > 0 and (block := file.read(min(left, 2**20))):
            digest.update(block)
            left -= len(block)
        return left == 0 and file.read() == _trailer(size, digest)


class Shard:
    """A shard opened for reading, by any number of threads; arrays stay memory-mapped.

    Raises:
        InputError: the file is missing, truncated, not a shard, or of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = _state(path)
        try:
            with h5py.File(path, "r") as file:
                made_by = int(file.attrs["format"])
                self.rows, self.dimension = (int(n) for n in file["embedding"].shape)
                self.fingerprint = str(file.attrs["fingerprint"])
                self.input_hash = str(file.attrs["input_hash"])
                if made_by == FORMAT:
                    self.longest = float(file.attrs["longest"])
                    self._offsets = {name: file[name].id.get_offset() for name in _MAPPED}
                    size = _written_size(path)
                    ends = ((self._offsets[name] or 0) + file[name].nbytes for name in _MAPPED)
                    whole = size is not None and max(ends) <= size
        except (OSError, KeyError, ValueError, AttributeError, RuntimeError) as e:
            raise InputError(
                f"the shard {path} is missing, truncated or not a shard of craft_hf ({e}); build the index again with "
                "the same command: only what is missing is embedded."
            ) from e
        if made_by != FORMAT:
            raise InputError(
                f"the shard {path} has format {made_by}, this craft_hf reads format {FORMAT}; build the index again, "
                "or install the version of craft_hf that built it."
            )
        if not whole:
            raise InputError(f"the shard {path} is truncated; build the index again with the same command.")

    def __reduce__(self) -> tuple[type[Shard], tuple[Path]]:
        return Shard, (self.path,)

    def check_unchanged(self) -> None:
        """Raise InputError if the file was replaced or written to since it was opened."""
        if _state(self.path) != self._opened:
            raise InputError(
                f"the shard {self.path} was changed since it was opened; open the index again, and make sure that "
                "nothing writes to it."
            )

    @cached_property
    def embeddings(self) -> Halves:
        """The embeddings, float16 (rows, dimension), memory-mapped."""
        return self._map("embedding", np.float16, (self.rows, self.dimension))

    @cached_property
    def codes(self) -> Codes:
        """The embeddings' codes, int8 (rows, dimension), memory-mapped."""
        return self._map("code", np.int8, (self.rows, self.dimension))

    @cached_property
    def scales(self) -> Floats:
        """Scales of the codes, float32 (rows,), memory-mapped."""
        return self._map("scale", np.float32, (self.rows,))

    @cached_property
    def residuals(self) -> Floats:
        """Euclidean norms of the codes' residuals, float32 (rows,), memory-mapped."""
        return self._map("residual", np.float32, (self.rows,))

    @cached_property
    def _bytes(self) -> np.ndarray:
        """The whole file, memory-mapped copy-on-write, because torch needs writable memory; it is never written.

        Unlike numpy and mmap, torch keeps no file open for it; a process may have only some 1,000 open.
        """
        import torch

        try:
            size = self.path.stat().st_size
            mapped: np.ndarray = torch.from_file(str(self.path), shared=False, size=size, dtype=torch.uint8).numpy()
        except (OSError, RuntimeError) as e:
            raise InputError(f"the shard {self.path} cannot be mapped into memory: {e}") from e
        return mapped

    def _map(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        start = self._offsets[name] or 0  # HDF5 gives no offset for an empty array
        size = math.prod(shape) * np.dtype(dtype).itemsize
        return self._bytes[start : start + size].view(dtype).reshape(shape)

    @property
    def text_hashes(self) -> Hashes:
        """Hashes of the texts, uint64 (rows,)."""
        with h5py.File(self.path, "r") as file:
            hashes: Hashes = file["text_hash"][:]
        return hashes

    def documents(self, rows: Sequence[int]) -> list[Document]:
        """Return documents by row, in the order given.

        Raises:
            InputError: the file is damaged.
        """
        try:
            with h5py.File(self.path, "r") as file:
                columns = [self._strings(file[name], rows) for name in _STRINGS]
                blob = file["text"]
                starts = np.concatenate([[0], file["text_end"][:]])
                texts = [blob[starts[row] : starts[row + 1]].tobytes().decode("utf-8") for row in rows]
        except (OSError, KeyError, ValueError) as e:
            raise InputError(
                f"the shard {self.path} is damaged ({e}); delete it and build the index again with the same command."
            ) from e
        return [
            Document(text=text, **dict(zip(_STRINGS, row, strict=True)))
            for text, *row in zip(texts, *columns, strict=True)
        ]

    def _strings(self, column: h5py.Dataset, rows: Sequence[int]) -> list[str]:
        """Read strings one by one, or all at once if there are many: one read costs as much as 100 strings."""
        if 100 * len(rows) > self.rows:
            column = column[:]
        return [column[row].decode("utf-8") for row in rows]


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
