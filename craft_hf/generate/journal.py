"""The journal: every answer is written down the moment it exists, and found again by its key.

A folder of append-only JSONL segments, one a process, flushed to the disk every second. A line that a kill tore is
skipped when reading, so whatever was written whole is never paid for twice.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TextIO

from craft_hf.errors import StorageError
from craft_hf.records import Answer

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
        self._answers: dict[str, Answer] = {}
        self._file: TextIO | None = None
        self._synced = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for segment in sorted(folder.glob("*.jsonl")) if replay else ():
                self._answers.update(_read(segment))
        except OSError as e:
            raise StorageError(f"the journal {folder} cannot be read: {e}") from e

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Answer | None:
        """Return the answer of a key, or None if it was never given."""
        return self._answers.get(key)

    def put(self, key: str, answer: Answer) -> None:
        """Write an answer down; a later answer of the same key takes the place of the earlier one.

        Raises:
            StorageError: the disk is full or not writable; all answers written before are safe.
        """
        line = json.dumps({"key": key, **asdict(answer)})
        try:
            if self._file is None:
                name = f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
                self._file = (self.folder / name).open("a", encoding="utf-8", buffering=1)
            self._file.write(line + "\n")
            if time.monotonic() - self._synced > FSYNC_EVERY_S:
                self._sync()
        except OSError as e:
            self._file = None
            raise StorageError(
                f"the journal {self.folder} cannot be written: {e}. {len(self._answers)} answers are safe in it; "
                "make room and run the same command again: it goes on where it stopped."
            ) from e
        self._answers[key] = answer

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


def _read(segment: Path) -> Iterator[tuple[str, Answer]]:
    """Yield what one segment holds; a torn line (the last one after a kill) is skipped."""
    with segment.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
                yield record.pop("key"), Answer(**record)
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
