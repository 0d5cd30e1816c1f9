"""Verification that an index is still what was built, to the last bit."""

from __future__ import annotations

from pathlib import Path

from craft_hf.base import Bar, InputError
from craft_hf.retrieval.index.info import read_info
from craft_hf.retrieval.index.shard import Shard, is_intact


def verify_index(folder: Path) -> list[str]:
    """Read every byte of an index and return a message for each shard with a problem.

    Every shard must exist, have the SHA-256 that is stored at its end, and be the one that `index.json` names.

    Raises:
        InputError: `index.json` is missing or broken.
    """
    info = read_info(folder)
    problems = []
    size_in_all = sum(int(str(entry["bytes"])) for entry in info.shards)
    with Bar("Verifying", size_in_all, "bytes") as bar:
        for entry in info.shards:
            path = folder / str(entry["file"])
            if not path.is_file():
                problems.append(f"{path} is missing")
            elif (size := path.stat().st_size) != entry["bytes"]:
                problems.append(f"{path} has {size} bytes, expected {entry['bytes']}")
            elif not is_intact(path):
                problems.append(f"{path} was changed after it was written: its SHA-256 is not the one at its end")
            elif (name := _fingerprint(path)) != entry["fingerprint"]:
                problems.append(f"{path} is not the shard that index.json names (its fingerprint is {name})")
            bar.update(int(str(entry["bytes"])))
    return problems


def _fingerprint(path: Path) -> str:
    try:
        return Shard(path).fingerprint
    except InputError as e:
        return str(e)
