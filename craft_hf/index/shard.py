"""One HDF5 file of the index: documents and their embeddings, written whole or not at all.

embedding                       float16 (documents, dimension), contiguous: can be mapped straight from the file
text, text_end                  all texts as one UTF-8 blob, and where each ends, int64
id, source, title, url, license variable-length strings
attributes                      format, fingerprint, input_hash
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
from craft_hf.records import Document

FORMAT = 1
Halves = np.ndarray[tuple[int, int], np.dtype[np.float16]]
"""float16, shape (documents, dimension)."""

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
        StorageError: the disk is full or not writable; nothing half-written is left.
    """
    halves = np.ascontiguousarray(embeddings, dtype=np.float16)
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
    with h5py.File("shard", "w", driver="core", backing_store=False, block_size=2**24) as file:
        file.create_dataset("embedding", data=halves)
        texts = [d.text.encode("utf-8", "replace") for d in documents]
        file.create_dataset("text", data=np.frombuffer(b"".join(texts), dtype=np.uint8))
        file.create_dataset("text_end", data=np.cumsum([len(t) for t in texts], dtype=np.int64))
        del texts
        for name in _STRINGS:
            values = [getattr(d, name).encode("utf-8", "replace") for d in documents]
            file.create_dataset(name, data=values, dtype=h5py.string_dtype())
        file.attrs.update(attributes)
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
            embedding = self._file["embedding"]
            self.rows, self.dimension = (int(n) for n in embedding.shape)
            self._offset = embedding.id.get_offset()
            self._text_end = self._file["text_end"][:]
            self.fingerprint = str(self._file.attrs["fingerprint"])
            self.input_hash = str(self._file.attrs["input_hash"])
            whole = self.rows == 0 or self._offset is not None
        except (OSError, KeyError, ValueError, AttributeError, RuntimeError) as e:
            raise InputError(
                f"the shard {path} is missing, truncated or no shard of craft_hf ({e}); build the index again with the "
                "same command: only what is missing is embedded."
            ) from e
        if not whole or path.stat().st_size < (self._offset or 0) + 2 * self.rows * self.dimension:
            raise InputError(f"the shard {path} is truncated; build the index again with the same command.")

    @cached_property
    def embeddings(self) -> Halves:
        """The embeddings, float16 (rows, dimension), mapped from the file."""
        shape = (self.rows, self.dimension)
        if not self.rows:
            return np.zeros(shape, dtype=np.float16)
        return np.memmap(self.path, dtype=np.float16, mode="r", offset=self._offset, shape=shape)

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
