"""How far an unfinished build has come, so that it goes on behind the shards that it wrote, and not from the start."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from craft_hf.base import JSON, InputError, StorageError, file_json, fingerprint, write_file
from craft_hf.retrieval.index.shard import Shard, shard_entry
from craft_hf.retrieval.index.sources import source_versions

_FILE = ".build.json"


def forget_build(folder: Path) -> None:
    """Remove what a build has noted down: it is complete, or the index that it changes is another now."""
    (folder / _FILE).unlink(missing_ok=True)


class UnfinishedBuild:
    """What a build notes down after each shard, in a file beside the shards that goes when the index is complete.

    Only a build of the same sources, unchanged, with the same settings finds it. Rows in memory cannot be told apart,
    and are read from the start.

    Args:
        folder: of the index.
        settings: of the build as they were given, see `IndexInfo.builds`: without the commits of Hub datasets.
        others: what else the shards depend on.
    """

    def __init__(self, folder: Path, settings: Sequence[Mapping[str, JSON]], others: Sequence[JSON]) -> None:
        self._path = folder / _FILE
        known = bool(settings) and all(settings)
        self._key = fingerprint([*settings, *source_versions(settings), *others]) if known else ""

    def read(self) -> Mapping[str, Any] | None:
        """Return what was noted last by the same build, if its shards are still there, or None."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, InputError):
            noted: Mapping[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            if self._key and noted["key"] == self._key:
                shards = [Shard(self._path.with_name(entry["file"])) for entry in noted["shards"]]
                if [shard_entry(shard) for shard in shards] == noted["shards"]:
                    return noted
        return None

    def write(self, note: Mapping[str, JSON]) -> None:
        """Note how far the build has come: "shards" as in `IndexInfo`, and what else it needs to go on.

        Raises:
            StorageError: the disk is full; what was noted before stays.
        """
        try:
            write_file(self._path, file_json({"key": self._key, **note}))
        except OSError as e:
            raise StorageError(
                f"{self._path} cannot be written: {e}. What was embedded is kept; free disk space and run the same "
                "command again: it goes on from here."
            ) from e
