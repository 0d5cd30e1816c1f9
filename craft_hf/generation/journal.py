"""The journal: an append-only log of a model's answers, so that no answer is paid for twice.

It is a folder of JSONL segments, one a process, synced to disk every second. A line that a killed process left
incomplete is skipped when reading. Only the answers' positions are in memory (some 200 bytes for each); their texts are
read on demand.
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
"""Seconds between two fsyncs. A killed process loses nothing; a power cut loses at most the answers of this time."""


class Journal:
    """Answers by key, in a folder that several processes may share.

    Args:
        folder: created if it does not exist.
        replay: read what earlier runs wrote; without it the journal starts empty, and its answers replace earlier ones.

    Raises:
        StorageError: the folder cannot be created or read.
    """

    def __init__(self, folder: Path, replay: bool = True) -> None:
        self.folder = folder
        self._positions: dict[str, tuple[Path, int]] = {}
        self._file: BinaryIO | None = None
        self._synced = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for segment in sorted(folder.glob("*.jsonl")) if replay else ():
                self._positions.update((key, (segment, position)) for key, position in _positions(segment))
        except OSError as e:
            raise StorageError(f"the journal {folder} cannot be read: {e}") from e

    def __len__(self) -> int:
        return len(self._positions)

    def get(self, key: str) -> Answer | None:
        """Return the answer of a key, or None if there is none.

        Raises:
            StorageError: the journal was removed or changed since it was opened.
        """
        if key not in self._positions:
            return None
        segment, position = self._positions[key]
        try:
            with segment.open("rb") as lines:
                lines.seek(position)
                found, answer = _parse(lines.readline())
        except (OSError, *_INCOMPLETE) as e:
            raise StorageError(f"{segment} was changed while it was in use: {e}; run the same command again.") from e
        if found != key:
            raise StorageError(f"{segment} was changed while it was in use; run the same command again.")
        return answer

    def put(self, key: str, answer: Answer) -> None:
        """Write an answer; it replaces an earlier one of the same key.

        Raises:
            StorageError: the disk is full or not writable; all answers written before are safe.
        """
        line = json.dumps({"key": key, **asdict(answer)}).encode() + b"\n"
        try:
            if self._file is None:
                name = f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
                self._file = (self.folder / name).open("ab")
            position = self._file.tell()
            self._file.write(line)
            self._file.flush()
            if time.monotonic() - self._synced > FSYNC_EVERY_S:
                self._sync()
        except OSError as e:
            self._file = None
            raise StorageError(
                f"the journal {self.folder} cannot be written: {e}. {len(self._positions)} answers are safe in it; "
                "free disk space and run the same command again: it resumes where it stopped."
            ) from e
        self._positions[key] = (Path(self._file.name), position)

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


_INCOMPLETE = (ValueError, TypeError, KeyError, AttributeError)


def _positions(segment: Path) -> Iterator[tuple[str, int]]:
    """Yield the key and byte offset of every answer in a segment; an incomplete line (after a kill) is skipped."""
    position = 0
    with segment.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(*_INCOMPLETE):
                yield _parse(line)[0], position
            position += len(line)


def _parse(line: bytes) -> tuple[str, Answer]:
    record = json.loads(line)
    return record.pop("key"), Answer(**record)
