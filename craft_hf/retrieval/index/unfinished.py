"""How far an unfinished build has come, so that it goes on behind the shards that it wrote, and not from the start."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, cast

from craft_hf.base import JSON, InputError, StorageError, file_json, fingerprint, write_file
from craft_hf.retrieval.index.info import written_hash
from craft_hf.retrieval.index.layout import BUILD
from craft_hf.retrieval.index.shard import Shard, shard_entry
from craft_hf.retrieval.index.sources import source_versions


def forget_build(folder: Path) -> None:
    """Remove what a build has noted down: it is complete, or the index that it changes is another now."""
    (folder / BUILD).unlink(missing_ok=True)


class ReadingState(TypedDict):
    """What was read and taken, and what was not.

    Attributes:
        states: of the corpora, see `Corpus.state`.
        repeated_texts: documents that were left out because their text was there.
        example: the id of the first of these.
        repeated_ids: documents that got another id.
    """

    states: list[Mapping[str, JSON] | None]
    repeated_texts: int
    example: str
    repeated_ids: int


@dataclass(frozen=True)
class BuildNote:
    """How far a build came.

    Attributes:
        builds: settings with which the sources were opened, see `IndexInfo.builds`.
        shards: those that it wrote, as in `IndexInfo`.
        state: of reading, behind the last of them.
    """

    builds: Sequence[Mapping[str, JSON]]
    shards: Sequence[Mapping[str, JSON]]
    state: ReadingState


class UnfinishedBuild:
    """What a build notes down after each shard, in a file beside the shards that goes when the index is complete.

    The file has a line of JSON for the build, and one for each shard. Only a build of the same sources, unchanged, with
    the same settings finds it. Rows in memory cannot be told apart, and are read from the start.

    Args:
        folder: of the index.
        settings: of the build as they were given, see `IndexInfo.builds`: without the commits of Hub datasets.
        others: what else the shards depend on.
    """

    def __init__(self, folder: Path, settings: Sequence[Mapping[str, JSON]], others: Sequence[JSON]) -> None:
        self._path, self._settings, self._others = folder / BUILD, settings, others
        self._size, self._added_to = 0, ""

    @cached_property
    def _key(self) -> str:
        """By which the same build is known, or nothing; every file of the sources is looked at for it."""
        known = bool(self._settings) and all(self._settings)
        return fingerprint([*self._settings, *source_versions(self._settings), *self._others]) if known else ""

    def read(self, added_to: str) -> BuildNote | None:
        """Return what the same build noted, if its shards are still there, or None; `write` then goes on behind it.

        Args:
            added_to: fingerprint of the index that documents are added to, or nothing.
        """
        self._added_to, key = added_to, self._key
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, InputError):
            head, notes = self._noted()
            notes = [note for note in notes if "shard" in note]
            if key and head["key"] == key and head["added_to"] == added_to and notes:
                shards = [note["shard"] for note in notes]
                if [shard_entry(Shard(self._path.with_name(entry["file"]))) for entry in shards] == shards:
                    last = {name: notes[-1][name] for name in ReadingState.__annotations__}
                    return BuildNote(head["builds"], shards, cast(ReadingState, last))
        self._size = 0
        return None

    def is_done(self) -> bool:
        """Whether the same build was killed when its index was in place, and nothing but this note was left to do."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            head, notes = self._noted()
            is_in_place = notes[-1].get("index_json") == written_hash(self._path.parent)
            return is_in_place and bool(self._key) and head["key"] == self._key
        return False

    def _noted(self) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
        """Return the line of a build, and those behind it, without one that a killed process left half-written."""
        first, *lines = self._path.read_bytes().splitlines(keepends=True)
        head: Mapping[str, Any] = json.loads(first)
        lines = [line for line in lines if line.endswith(b"\n")]
        self._size = len(first) + sum(map(len, lines))
        return head, list(map(json.loads, lines))

    def write(self, builds: Sequence[Mapping[str, JSON]], shard: Mapping[str, JSON], state: ReadingState) -> None:
        """Note that a shard is written; see `BuildNote`.

        Raises:
            StorageError: the disk is full; what was noted before stays.
        """
        self._append(builds, {"shard": shard, **cast(Mapping[str, JSON], state)})

    def write_end(self, builds: Sequence[Mapping[str, JSON]], index_json: str) -> None:
        """Note the hash of the `index.json` that the build is about to write; see `write`."""
        self._append(builds, {"index_json": index_json})

    def _append(self, builds: Sequence[Mapping[str, JSON]], note: Mapping[str, JSON]) -> None:
        line = file_json(note) + b"\n"
        try:
            if self._size:
                with self._path.open("r+b") as file:
                    file.truncate(self._size)
                    file.seek(self._size)
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            else:
                head: Mapping[str, JSON] = {"key": self._key, "added_to": self._added_to, "builds": list(builds)}
                line = file_json(head) + b"\n" + line
                write_file(self._path, line)
        except OSError as e:
            raise StorageError(
                f"{self._path} cannot be written: {e}. What was embedded is kept; free disk space and run the same "
                "command again: it goes on from here."
            ) from e
        self._size += len(line)
