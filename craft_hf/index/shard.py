"""One HDF5 file of the index: documents and their embeddings, written whole or not at all.

embedding                       float16 (documents, dimension)
code, scale, residual           the same as int8, and its scales and errors (see `quantize`), float32
text, text_end                  all texts as one UTF-8 blob, and where each ends, int64
id, source, title, url, license variable-length strings
attributes                      format, fingerprint, input_hash, and longest: no quantized embedding is longer

Embeddings and codes are contiguous and begin at whole pages: they can be mapped straight from the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from craft_hf.embed import Vectors
from craft_hf.errors import InputError, StorageError
from craft_hf.index.quantize import Codes, Floats, Halves, quantize
from craft_hf.records import Document

FORMAT = 2
_PAGE = 4096
_MAPPED = ("embedding", "code", "scale", "residual")
_STRINGS = ("id", "source", "title", "url", "license")


def input_hash(documents: Sequence[Document], embedder: str) -> str:
    """Return a hash of what goes into a shard, which tells whether it has to be embedded again.

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
    """Write a shard beside its final name and rename it when it is complete.

    Args:
        path: the shard's file; one that is there is replaced.
        documents: its documents.
        embeddings: unit vectors, float32 (documents, dimension); kept as float16.
        embedder: model and revision that made them.

    Returns:
        The fingerprint of what is in the shard.

    Raises:
        InputError: an embedding holds NaN or infinity, or what float16 cannot hold.
        StorageError: the disk is full or not writable; nothing half-written is left.
    """
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(embeddings, dtype=np.float16)
    if len(bad := np.flatnonzero(~np.isfinite(halves).all(axis=1))):
        raise InputError(
            f"the embedding of document {documents[bad[0]].id!r} holds NaN, infinity or what float16 cannot hold; "
            f"expected unit vectors from {embedder}: try another device or model."
        )
    source = input_hash(documents, embedder)
    fingerprint = hashlib.blake2b(source.encode() + halves.tobytes(), digest_size=16).hexdigest()
    content = _hdf5(documents, halves, {"format": FORMAT, "fingerprint": fingerprint, "input_hash": source})
    temporary = path.with_suffix(".incomplete")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as e:
        raise StorageError(
            f"the shard {path} cannot be written: {e}. The shards before it are whole; make room and run the same "
            "command again: it goes on with this shard."
        ) from e
    finally:  # also after Ctrl-C; a complete file has its own name by now
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return fingerprint


def _hdf5(documents: Sequence[Document], halves: Halves, attributes: Mapping[str, str | int]) -> bytes:
    """Return the content of a shard's file.

    It is made in memory because HDF5 cannot let go of a file on a full disk: it tries again when the process ends, and
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
        del texts
        for name in _STRINGS:
            values = [getattr(d, name).encode("utf-8", "replace") for d in documents]
            file.create_dataset(name, data=values, dtype=h5py.string_dtype())
        file.attrs.update({**attributes, "longest": float(lengths.max(initial=0.0)) * 1.00001})
        file.flush()
        content: bytes = file.id.get_file_image()
    return content


class Shard:
    """A shard opened for reading.

    Raises:
        InputError: the file is missing, truncated or no shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = h5py.File(path, "r")
            made_by = int(self._file.attrs["format"])
            self.rows, self.dimension = (int(n) for n in self._file["embedding"].shape)
            self.fingerprint = str(self._file.attrs["fingerprint"])
            self.input_hash = str(self._file.attrs["input_hash"])
            self.longest = float(self._file.attrs["longest"]) if made_by == FORMAT else 0.0
            whole = made_by != FORMAT or self._fits(path.stat().st_size)
        except (OSError, KeyError, ValueError, AttributeError, RuntimeError) as e:
            raise InputError(
                f"the shard {path} is missing, truncated or no shard of craft_hf ({e}); build the index again with the "
                "same command: only what is missing is embedded."
            ) from e
        if made_by != FORMAT:
            self.close()
            raise InputError(
                f"the shard {path} has format {made_by}, this craft_hf reads format {FORMAT}; build the index again, "
                "or install the version of craft_hf that built it."
            )
        if not whole:
            self.close()
            raise InputError(f"the shard {path} is truncated; build the index again with the same command.")

    def _fits(self, size: int) -> bool:
        """Whether all that is mapped lies within the file."""
        return not self.rows or all(
            (offset := self._file[name].id.get_offset()) is not None and offset + self._file[name].nbytes <= size
            for name in _MAPPED
        )

    @cached_property
    def embeddings(self) -> Halves:
        """The embeddings, float16 (rows, dimension), mapped from the file."""
        return self._map("embedding", np.float16, (self.rows, self.dimension))

    @cached_property
    def codes(self) -> Codes:
        """The embeddings' codes, int8 (rows, dimension), mapped from the file."""
        return self._map("code", np.int8, (self.rows, self.dimension))

    @cached_property
    def scales(self) -> Floats:
        """Scales of the codes, float32 (rows,), mapped from the file."""
        return self._map("scale", np.float32, (self.rows,))

    @cached_property
    def residuals(self) -> Floats:
        """Euclidean lengths of what the codes leave over, float32 (rows,), mapped from the file."""
        return self._map("residual", np.float32, (self.rows,))

    @cached_property
    def _text_end(self) -> np.ndarray:
        ends: np.ndarray = self._file["text_end"][:]
        return ends

    def _map(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        if not self.rows:
            return np.zeros(shape, dtype=dtype)
        offset = self._file[name].id.get_offset()
        # Copy on write, though nobody writes: torch wants writable memory.
        return np.asarray(np.memmap(self.path, dtype=dtype, mode="c", offset=offset, shape=shape))

    def documents(self, rows: Sequence[int]) -> list[Document]:
        """Return documents by row, in the order given.

        Raises:
            InputError: the file is damaged.
        """
        try:
            columns = [self._strings(name, rows) for name in _STRINGS]
            blob = self._file["text"]
            starts = np.concatenate([[0], self._text_end])
            texts = [blob[starts[row] : starts[row + 1]].tobytes().decode("utf-8") for row in rows]
        except (OSError, KeyError, ValueError) as e:
            raise InputError(
                f"the shard {self.path} is damaged ({e}); delete it and build the index again with the same command."
            ) from e
        return [
            Document(text=text, **dict(zip(_STRINGS, row, strict=True)))
            for text, *row in zip(texts, *columns, strict=True)
        ]

    def _strings(self, name: str, rows: Sequence[int]) -> list[str]:
        """Read strings one by one, or all at once where many are wanted: a single read costs as much as 100 strings."""
        column = self._file[name]
        if 100 * len(rows) > self.rows:
            column = column[:]
        return [column[row].decode("utf-8") for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
