"""Makes embeddings, once: what was embedded before is found again by its hash, in whatever file of the index it lies.

While a shard is embedded, its vectors are saved in a file beside, which goes when the shard is written.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from craft_hf.base import Embedder, InputError, StorageError, Vectors
from craft_hf.retrieval.index.layout import SAVED_VECTORS, is_shard
from craft_hf.retrieval.index.quantize import Halves
from craft_hf.retrieval.index.shard import LongHashes, Shard, cannot_be_read, check_intact

SYNC_EVERY_S = 30.0
"""Seconds after which saved vectors are forced to the disk: a power cut costs what came since, a kill one batch."""

_MAGIC = b"craftvec"
_HEAD = 16
"""Bytes before the first record: `_MAGIC` and the dimension."""

_MOST_DIMENSIONS = 1 << 20


class Source(Protocol):
    """What holds vectors."""

    chunks: int
    dimension: int

    @property
    def embedding_hashes(self) -> LongHashes:
        """Hashes of what was embedded, uint64 (chunks, 2)."""

    @property
    def embeddings(self) -> Halves:
        """The vectors, float16 (chunks, dimension)."""

    def is_intact(self) -> bool:
        """Whether they are what was written, to the last bit."""


def open_vectors(path: Path) -> Shard | SavedVectors:
    """Open one of the `vector_files`.

    Raises:
        InputError: it is damaged, or of another format.
    """
    return Shard(path) if is_shard(path.name) else SavedVectors(path)


def open_whole_vectors(path: Path) -> Shard | SavedVectors:
    """Open one of the `vector_files` after a check of every byte of a shard.

    Raises:
        InputError: it was changed after it was written, cannot be read, or is of another format.
    """
    if is_shard(path.name):
        check_intact(path)
    return open_vectors(path)


class KnownVectors:
    """Vectors that lie in some files.

    Each costs 16 bytes of memory once one was asked for. A file is checked to the last bit before a vector is taken
    from it, and passed over if it is damaged.

    Args:
        files: shards and files of saved vectors, see `vector_files`.
        dimension: of the vectors; files with others are passed over.
        loose: vectors beside those of the files.
    """

    def __init__(self, files: Iterable[Path], dimension: int, loose: Sequence[LooseVectors] = ()) -> None:
        self._files, self.dimension, self._loose = files, dimension, loose
        self._trusted: dict[int, bool] = {}

    def find(self, hashes: LongHashes) -> tuple[Halves, np.ndarray]:
        """Look up vectors.

        Args:
            hashes: uint64 (rows, 2).

        Returns:
            The vectors, float16 (rows, dimension), and which rows were found, bool (rows,); the others are zeros.
        """
        vectors = np.zeros((len(hashes), self.dimension), dtype=np.float16)
        found = np.zeros(len(hashes), dtype=bool)
        for mine, source, here in self._matches(hashes, found):
            vectors[mine] = source.embeddings[here]
        return vectors, found

    def holds(self, hashes: LongHashes) -> bool:
        """Whether all vectors are there, in files that are whole."""
        found = np.zeros(len(hashes), dtype=bool)
        for _ in self._matches(hashes, found):
            pass
        return bool(found.all())

    def _matches(self, hashes: LongHashes, found: np.ndarray) -> Iterator[tuple[np.ndarray, Source, np.ndarray]]:
        """Yield rows of some hashes, a source that holds their vectors, and where; tick them off in `found`."""
        keys, rows = self._sorted
        places = np.searchsorted(keys, hashes[:, 0])
        left = np.flatnonzero(_equal(keys, places, hashes[:, 0]))
        while len(left):  # a vector may lie in several files, some of them damaged
            at = rows[places[left]]
            numbers = np.searchsorted(self._starts, at, side="right") - 1
            for number in np.unique(numbers):
                if self._is_trusted(int(number)):
                    mine, here = left[numbers == number], at[numbers == number] - self._starts[number]
                    source = self._sources[number]
                    same = (source.embedding_hashes[here] == hashes[mine]).all(axis=1)
                    found[mine[same]] = True
                    yield mine[same], source, here[same]
            places += 1
            left = left[~found[left] & _equal(keys, places[left], hashes[left, 0])]

    @cached_property
    def _sources(self) -> list[Source]:
        found: list[Source] = [vectors for vectors in self._loose if vectors.chunks]
        for path in self._files:
            try:
                source = open_vectors(path)
            except InputError:
                continue
            if source.dimension == self.dimension and source.chunks:
                found.append(source)
        return found

    @cached_property
    def _starts(self) -> np.ndarray:
        return np.cumsum([0, *(source.chunks for source in self._sources)], dtype=np.int64)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """The first halves of all hashes, sorted, uint64, and the row of each, counted through all files, int64."""
        keys = np.zeros(self._starts[-1], dtype=np.uint64)
        for number, source in enumerate(self._sources):
            try:
                keys[self._starts[number] : self._starts[number + 1]] = source.embedding_hashes[:, 0]
            except InputError:
                self._trusted[number] = False
        order = np.argsort(keys, kind="stable")
        return keys[order], order

    def _is_trusted(self, number: int) -> bool:
        if number not in self._trusted:
            self._trusted[number] = False
            with contextlib.suppress(InputError):
                self._trusted[number] = self._sources[number].is_intact()
        return self._trusted[number]


def _equal(keys: np.ndarray, places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return whether the keys at some places, of which some are behind the end, are those wanted, bool (places,)."""
    within = places < len(keys)
    within[within] = keys[places[within]] == wanted[within]
    return within


class LooseVectors:
    """Vectors in memory.

    Args:
        embedding_hashes: of what was embedded, uint64 (vectors, 2).
        embeddings: float16 (vectors, dimension).
    """

    def __init__(self, embedding_hashes: LongHashes, embeddings: Halves) -> None:
        self.embedding_hashes, self.embeddings = embedding_hashes, embeddings
        self.chunks, self.dimension = (int(n) for n in embeddings.shape)

    def is_intact(self) -> bool:
        """Say yes: who has them knows that they are whole."""
        return True


class SavedVectors:
    """A file of saved vectors, opened for reading; a record that is torn or damaged is left out.

    Raises:
        InputError: it cannot be read, or is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self.chunks = self.dimension = 0
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
            if len(head) < _HEAD:  # who was to write it was killed before the first vector
                return
            self.dimension = int.from_bytes(head[8:], "little")
            if head[:8] != _MAGIC or not 0 < self.dimension <= _MOST_DIMENSIONS:
                raise InputError(f"{path} is no file of saved vectors, or its beginning is damaged.")
            record = _record(self.dimension)
            count = (path.stat().st_size - _HEAD) // record.itemsize
            records = np.memmap(path, record, "r", _HEAD, (count,)) if count else np.zeros(0, record)
        except OSError as e:
            raise cannot_be_read(path, e) from e
        whole = np.array([_check(row) == row["check"] for row in records], dtype=bool)
        self._records = records if whole.all() else records[whole]
        self.chunks = len(self._records)

    @property
    def embedding_hashes(self) -> LongHashes:
        """Hashes of what was embedded, uint64 (chunks, 2)."""
        hashes: LongHashes = np.asarray(self._records["hash"])
        return hashes

    @property
    def embeddings(self) -> Halves:
        """The vectors, float16 (chunks, dimension)."""
        vectors: Halves = np.asarray(self._records["vector"])
        return vectors

    def is_intact(self) -> bool:
        """Say yes: each record was checked."""
        return True


class VectorSaver:
    """Saves vectors to a file of its own as they are made.

    Args:
        folder: where; must exist when the first vector comes.
        dimension: of the vectors.
    """

    def __init__(self, folder: Path, dimension: int) -> None:
        self._path = folder / SAVED_VECTORS.replace("*", uuid.uuid4().hex)
        self._record = _record(dimension)
        self._file: FileIO | None = None
        self._synced_at = time.monotonic()

    def add(self, hashes: LongHashes, vectors: Halves) -> None:
        """Save vectors, so that no kill can take them.

        Raises:
            StorageError: the disk is full; what was saved before stays.
        """
        records = np.zeros(len(hashes), self._record)
        records["hash"], records["vector"] = hashes, vectors
        records["check"] = [_check(row) for row in records]
        try:
            data = records.tobytes()
            if self._file is None:
                self._file = FileIO(self._path, "w")
                data = _MAGIC + self._record["vector"].shape[0].to_bytes(8, "little") + data
            while data:
                data = data[self._file.write(data) :]
            if time.monotonic() - self._synced_at >= SYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._synced_at = time.monotonic()
        except OSError as e:
            raise StorageError(
                f"vectors cannot be saved to {self._path}: {e}. What was saved before is kept; free disk space and run "
                "the same command again: it goes on from here."
            ) from e

    def close(self) -> None:
        """Force what was saved to the disk, and keep it.

        Raises:
            StorageError: the disk is full.
        """
        if self._file:
            try:
                os.fsync(self._file.fileno())
                self._file.close()
            except OSError as e:
                raise StorageError(f"vectors cannot be saved to {self._path}: {e}; free disk space.") from e

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Remove the file when its vectors are in a shard; on an error keep it."""
        if self._file:
            self._file.close()
        if error is None:
            self._path.unlink(missing_ok=True)


def save_vectors(folder: Path, hashes: LongHashes, vectors: Halves) -> None:
    """Save vectors to a file that stays until an index holds them.

    Args:
        folder: of the index.
        hashes: of what was embedded, uint64 (vectors, 2).
        vectors: float16 (vectors, dimension).

    Raises:
        StorageError: the disk is full.
    """
    saver = VectorSaver(folder, vectors.shape[1])
    saver.add(hashes, vectors)
    saver.close()


def embed(
    texts: Sequence[str],
    hashes: LongHashes,
    vectors: Halves,
    found: np.ndarray,
    embedder: Embedder,
    saver: VectorSaver,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Embed the texts that were not found, each once, and put their vectors in place.

    Args:
        texts: what to embed.
        hashes: of the texts, uint64 (texts, 2).
        vectors: float16 (texts, dimension), written to.
        found: which rows have their vector already, bool (texts,).
        embedder: makes the vectors.
        saver: is given them.
        progress: called with the number of texts after each batch.

    Raises:
        InputError: a vector holds NaN, infinity, or a number beyond float16.
    """
    missing = np.flatnonzero(~found)
    _, firsts, copies = np.unique(hashes[missing], axis=0, return_index=True, return_inverse=True)
    order = np.argsort(firsts)  # in the order of the texts, so that equal input makes equal batches
    wanted = missing[firsts[order]]
    for batch, made in embedder.encode_batches([texts[row] for row in wanted]):
        rows = wanted[batch]
        vectors[rows] = _halves(made, [texts[row] for row in rows], embedder)
        saver.add(hashes[rows], vectors[rows])
        if progress:
            progress(len(rows))
    if len(wanted) < len(missing):
        vectors[missing] = vectors[missing[firsts[copies.reshape(-1)]]]


def _halves(vectors: Vectors, texts: Sequence[str], embedder: Embedder) -> Halves:
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(vectors, dtype=np.float16)
    if len(bad := np.flatnonzero(~np.isfinite(halves).all(axis=1))):
        raise InputError(
            f"the embedding of the text {texts[bad[0]][:80]!r} holds NaN, infinity or a number beyond float16; "
            f"expected unit vectors from {embedder.versioned_name}: try another device or model."
        )
    return halves


def _record(dimension: int) -> np.dtype[np.void]:
    return np.dtype([("hash", "<u8", (2,)), ("vector", "<f2", (dimension,)), ("check", "<u4")])


def _check(record: np.void) -> int:
    return zlib.crc32(record["vector"].tobytes(), zlib.crc32(record["hash"].tobytes()))
