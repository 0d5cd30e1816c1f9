"""What is loaded back after an upload is compared with what was sent, row by row."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import datasets
import pyarrow
import pytest

from craft_hf.base.errors import HubError
from craft_hf.dataset.card import CardConfig
from craft_hf.dataset.layout import PARQUET
from craft_hf.dataset.parquet import write_rows
from craft_hf.publishing import verify
from craft_hf.publishing.repository import Repository

SCHEMA = pyarrow.schema({"text": pyarrow.string()})
ROWS = 2_000
TEXT = "words " * 1_000


def published(folder: Path, rows: int) -> Repository:
    """A repository of one configuration, whose files are in a folder."""
    write_rows(folder / "data" / PARQUET, ({"text": f"{n} {TEXT}"} for n in range(rows)), SCHEMA)
    files = {f"data/{PARQUET}": folder / "data" / PARQUET}
    return Repository("dataset", files, bool, "m", [CardConfig("default", "data", rows)])


def load_back(folder: Path, rows: int, sent: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare what was sent with a number of rows that a hub gives back."""
    path = str(published(folder / "loaded", rows).files[f"data/{PARQUET}"])
    loaded = datasets.Dataset.from_parquet(path, cache_dir=str(folder / "cache"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **more: loaded)
    verify._load_rows(sent, "ann/set", "0", "X cannot be published", str(folder))


@pytest.mark.parametrize("given", [2, 4])
def test_missing_and_further_rows_are_told(tmp_path: Path, given: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all others are the same."""
    with pytest.raises(HubError, match="the configuration default, loaded back, has different rows"):
        load_back(tmp_path, given, published(tmp_path, 3), monkeypatch)


def test_rows_are_compared_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that were sent nor those that came back are all in memory."""
    sent = published(tmp_path, ROWS)
    monkeypatch.setattr("craft_hf.dataset.parquet.BATCH_ROWS", 100)
    tracemalloc.start()
    load_back(tmp_path, ROWS, sent, monkeypatch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ROWS * len(TEXT) / 2
