"""How far an unfinished build has come, so that it goes on behind the shards that it wrote, and not from the start."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from craft_hf.base import JSON, InputError, StorageError, file_json, fingerprint, write_file
from craft_hf.retrieval.index.info import info_hash
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

    def read(self, added_to: str) -> Mapping[str, Any] | None:
        """Return what was noted last by the same build of the same index, if its shards are still there, or None.

        Args:
            added_to: fingerprint of the index that documents are added to, or nothing.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, InputError):
            if (noted := self._noted()) and noted["added_to"] == added_to:
                shards = [Shard(self._path.with_name(entry["file"])) for entry in noted["shards"]]
                if [shard_entry(shard) for shard in shards] == noted["shards"]:
                    return noted
        return None

    def is_done(self) -> bool:
        """Whether the same build was killed when its index was in place, and nothing but this note was left to do."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if noted := self._noted():
                return bool(noted.get("index_json") == info_hash(self._path.parent))
        return False

    def _noted(self) -> Mapping[str, Any] | None:
        noted: Mapping[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return noted if self._key and noted["key"] == self._key else None

    def write(self, note: Mapping[str, JSON], added_to: str) -> None:
        """Note how far the build has come.

        Args:
            note: "shards" as in `IndexInfo`, and what else it needs to go on; at the end, "index_json", the hash of the
                `index.json` that it is about to write.
            added_to: as in `read`.

        Raises:
            StorageError: the disk is full; what was noted before stays.
        """
        try:
            write_file(self._path, file_json({"key": self._key, "added_to": added_to, **note}))
        except OSError as e:
            raise StorageError(
                f"{self._path} cannot be written: {e}. What was embedded is kept; free disk space and run the same "
                "command again: it goes on from here."
            ) from e
