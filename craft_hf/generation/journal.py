"""The journal: every answer is written down the moment it exists, and found again by its key.

A folder of append-only JSONL segments, one a process, flushed to the disk every second. A line that a kill tore is
skipped when reading, so whatever was written whole is never paid for twice. In memory are the places of the answers
only (some 200 bytes for each); their texts are read when they are asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from craft_hf.base import Answer, StorageError

FSYNC_EVERY_S = 1.0
"""Seconds between two fsyncs. A kill of the process loses nothing; a power cut loses at most so much."""


class Journal:
    """Answers by key, in a folder that several processes may share.

    Args:
        folder: made if it does not exist.
        replay: read what earlier runs wrote; without it the journal starts empty, and what is put counts from now on.

    Raises:
        StorageError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path, replay: bool = True) -> None:
        self.folder = folder
        self._places: dict[str, tuple[Path, int]] = {}
        self._file: BinaryIO | None = None
        self._synced = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for segment in sorted(folder.glob("*.jsonl")) if replay else ():
                self._places.update((key, (segment, place)) for key, place in _places(segment))
        except OSError as e:
            raise StorageError(f"the journal {folder} cannot be read: {e}") from e

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Answer | None:
        """Return the answer of a key, or None if it was never given.

        Raises:
            StorageError: the journal was removed or changed since it was opened.
        """
        if key not in self._places:
            return None
        segment, place = self._places[key]
        try:
            with segment.open("rb") as lines:
                lines.seek(place)
                found, answer = _parse(lines.readline())
        except (OSError, *_TORN) as e:
            raise StorageError(f"{segment} was changed while it was in use: {e}; run the same command again.") from e
        if found != key:
            raise StorageError(f"{segment} was changed while it was in use; run the same command again.")
        return answer

    def put(self, key: str, answer: Answer) -> None:
        """Write an answer down; a later answer of the same key takes the place of the earlier one.

        Raises:
            StorageError: the disk is full or not writable; all answers written before are safe.
        """
        line = json.dumps({"key": key, **asdict(answer)}).encode() + b"\n"
        try:
            if self._file is None:
                name = f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
                self._file = (self.folder / name).open("ab")
            place = self._file.tell()
            self._file.write(line)
            self._file.flush()
            if time.monotonic() - self._synced > FSYNC_EVERY_S:
                self._sync()
        except OSError as e:
            self._file = None
            raise StorageError(
                f"the journal {self.folder} cannot be written: {e}. {len(self._places)} answers are safe in it; "
                "make room and run the same command again: it goes on where it stopped."
            ) from e
        self._places[key] = (Path(self._file.name), place)

    def _sync(self) -> None:
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._sync()
            self._file.close()
            self._file = None


_TORN = (ValueError, TypeError, KeyError, AttributeError)


def _places(segment: Path) -> Iterator[tuple[str, int]]:
    """Yield the key and the place of every answer in a segment; a torn line (the last one after a kill) is skipped."""
    place = 0
    with segment.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(*_TORN):
                yield _parse(line)[0], place
            place += len(line)


def _parse(line: bytes) -> tuple[str, Answer]:
    record = json.loads(line)
    return record.pop("key"), Answer(**record)
