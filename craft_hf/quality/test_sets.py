"""The test sets of benchmarks, from files or the Hub, as texts of their items."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from craft_hf.base import JSON, CraftError, InputError, StorageError, cache_folder, file_fingerprint, fingerprint
from craft_hf.corpus import Ledger, Row, json_rows, parse_hub_dataset

FIELDS = ("question", "text")
"""Columns of which the first that a test set has holds its items."""

_PROBE_S = 10


@dataclass(frozen=True)
class TestSet:
    """A test set's items, as texts; `problem` says why there are none."""

    __test__ = False  # not one of pytest's

    name: str
    items: Sequence[str] = ()
    problem: str = ""


def load_test_sets(names: Sequence[str], required: bool) -> list[TestSet]:
    """Load test sets.

    Args:
        names: JSONL files, plain or compressed, or Hub datasets as REPO@REVISION:CONFIG:SPLIT (split "test" unless it
            is said). Items are in the column `question`, or else `text`. What the Hub gave once is kept in the cache.
        required: whether a Hub dataset that cannot be had is an error; else it comes back with its problem.

    Raises:
        InputError: no such file, no such column, or broken; or a Hub dataset that is required cannot be had.
    """
    return [_file(Path(name)) if _is_file(name) else _hub(name, required) for name in names]


def identity_of_test_sets(names: Sequence[str]) -> list[JSON]:
    """Return what stands for test sets in a run's identity: files by their content, Hub datasets by their name."""
    return [file_fingerprint(Path(name)) if Path(name).is_file() else name for name in names]


def _is_file(name: str) -> bool:
    return Path(name).exists() or ".jsonl" in name or name.startswith(("/", ".", "~"))


def _file(path: Path) -> TestSet:
    if not path.is_file():
        raise InputError(
            f"there is no test set {path}; expected JSONL, plain or compressed, with {' or '.join(FIELDS)}."
        )
    return TestSet(path.name, _items(json_rows(path)))


def _hub(name: str, required: bool) -> TestSet:
    kept = cache_folder() / "test_sets" / f"{fingerprint(name)}.json.gz"
    if kept.is_file():
        return TestSet(name, json.loads(gzip.decompress(kept.read_bytes())))
    from craft_hf.base import HUB_EXCEPTIONS, error_text, hub_api

    dataset = parse_hub_dataset(name, None, "test", None)
    try:
        # without a connection this fails at once, while reading would try again for half a minute
        hub_api().dataset_info(dataset.repo, revision=dataset.revision, timeout=_PROBE_S)
        items = _items((str(place), row) for place, row in dataset.rows(Ledger()))
    except (CraftError, *HUB_EXCEPTIONS) as e:
        if required:
            raise InputError(
                f"the test set {name} cannot be read: {error_text(e)}; give a file, or leave it out."
            ) from None
        return TestSet(name, problem=error_text(e))
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(gzip.compress(json.dumps(items).encode()))
    except OSError as e:
        raise StorageError(f"the test set cannot be kept in {kept}: {e}; make room.") from e
    return TestSet(name, items)


def _items(rows: Iterable[tuple[str, Row]]) -> list[str]:
    return [_item(row, where) for where, row in rows]


def _item(row: Row, where: str) -> str:
    for field in FIELDS:
        if isinstance(text := row.get(field), str):
            return text
    raise InputError(f"{where}: has {', '.join(row)}; a test set needs a text as {' or '.join(FIELDS)}.")
