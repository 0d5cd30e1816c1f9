"""A list whose items are on the disk, but for the last ones."""

from __future__ import annotations

import os
import pickle
import tempfile
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import BinaryIO, TypeVar, overload

from craft_hf.base.errors import StorageError
from craft_hf.base.models import cache_folder

BLOCK = 256
"""Items that are written together."""

READ = 4
"""Blocks that stay in memory after they were read: there may be several readers, at different places."""

T = TypeVar("T")


class Spooled(Sequence[T]):
    """Items that come one by one, and are read again mostly in order; a million of them take megabytes of memory.

    The file is in craft_hf's cache, has no name there, and is gone with the process. Items must be such as pickle can
    write, and must not be changed once they are in.

    Raises:
        StorageError: the file cannot be written or read.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._ends = array("q", [0])  # in the file, of its blocks
        self._last = list[T]()
        self._read = OrderedDict[int, list[T]]()

    def append(self, item: T) -> None:
        """Put an item behind the others."""
        if len(self._last) == BLOCK:
            self._write()
        self._last.append(item)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Spooled | list)
            and len(self) == len(other)
            and all(mine == theirs for mine, theirs in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return (len(self._ends) - 1) * BLOCK + len(self._last)

    def __iter__(self) -> Iterator[T]:
        return (self[number] for number in range(len(self)))

    @overload
    def __getitem__(self, key: int) -> T: ...

    @overload
    def __getitem__(self, key: slice) -> list[T]: ...

    def __getitem__(self, key: int | slice) -> T | list[T]:
        if isinstance(key, slice):
            return [self[number] for number in range(len(self))[key]]
        block, place = divmod(range(len(self))[key], BLOCK)
        return self._block(block)[place]

    def _block(self, number: int) -> list[T]:
        if number == len(self._ends) - 1:
            return self._last
        if (found := self._read.get(number)) is None:
            start, end = self._ends[number : number + 2]
            try:
                assert self._file is not None
                data = os.pread(self._file.fileno(), end - start, start)  # moves no position: a fork may read too
                found = self._read[number] = pickle.loads(data)
            except (OSError, pickle.UnpicklingError, EOFError) as e:
                raise StorageError(f"what was put aside in {cache_folder()} cannot be read: {e}") from e
            if len(self._read) > READ:
                self._read.popitem(last=False)
        return found

    def _write(self) -> None:
        """Write the last items as a block."""
        data = pickle.dumps(self._last, pickle.HIGHEST_PROTOCOL)
        try:
            if self._file is None:
                cache_folder().mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=cache_folder())  # noqa: SIM115 (as long as the list)
            self._file.seek(self._ends[-1])
            self._file.write(data)
            self._file.flush()
        except OSError as e:
            raise StorageError(
                f"what a run has so far cannot be put aside in {cache_folder()}: {e}. All answers are safe in the "
                "journal; make room and run the same command again."
            ) from e
        self._ends.append(self._ends[-1] + len(data))
        self._last = []
