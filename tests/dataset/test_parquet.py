"""Rows in Parquet: any slice of any files is that of the list of all rows, and memory holds a batch of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.errors import InputError
from craft_hf.dataset.parquet import BATCH_ROWS, ParquetRows, write_rows
from tests import ROOT

SCHEMA = pyarrow.schema({"number": pyarrow.int64(), "text": pyarrow.string()})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Forty rows in four files: row groups of one row, of seven, of none, and more than one batch."""
    folder = tmp_path_factory.mktemp("rows")
    table = pyarrow.table({"number": range(40), "text": [f"row {i}" for i in range(40)]}, schema=SCHEMA)
    parts = [(table.slice(0, 3), 1), (table.slice(3, 20), 7), (table.slice(0, 0), 7), (table.slice(23), 17)]
    for i, (part, size) in enumerate(parts):
        pyarrow.parquet.write_table(part, folder / f"{i}.parquet", row_group_size=size)
    return sorted(folder.iterdir())


@settings(deadline=None)
@given(st.slices(45), st.slices(45))
def test_slices_are_those_of_a_list(files: list[Path], first: slice, second: slice) -> None:
    """A slice, and a slice of it, has the rows that a list would have, and says how many."""
    first, second = (slice(part.start, part.stop) for part in (first, second))
    expected = [{"number": i, "text": f"row {i}"} for i in range(40)][first][second]
    found = ParquetRows(files)[first][second]
    assert list(found) == expected
    assert len(found) == len(expected)
    assert [found[i] for i in range(len(expected))] == expected


def test_rows_are_read_more_than_once(files: list[Path]) -> None:
    """Reading again begins with the first row; columns are known without reading; no files are no rows."""
    rows = ParquetRows(files)
    assert [row["number"] for row in rows] == [row["number"] for row in rows] == list(range(40))
    assert rows.schema.names == ["number", "text"]
    assert rows[-1]["number"] == 39
    with pytest.raises(IndexError):
        rows[40]
    with pytest.raises(ValueError, match="step of 1"):
        rows[::2]
    assert list(ParquetRows([])) == []


@pytest.mark.parametrize("count", [0, 1, BATCH_ROWS, 2 * BATCH_ROWS + 1])
def test_written_rows_are_read_back(tmp_path: Path, count: int) -> None:
    """All rows of an iterator come back, in row groups of a batch; what a row lacks is null."""
    rows = ({"number": i, "more": 1} if i % 2 else {"number": i, "text": "t"} for i in range(count))
    write_rows(tmp_path / "data" / "a.parquet", rows, SCHEMA)
    read = ParquetRows([tmp_path / "data" / "a.parquet"])
    assert [tuple(row.values()) for row in read] == [(i, None if i % 2 else "t") for i in range(count)]
    assert pyarrow.parquet.ParquetFile(read.files[0]).num_row_groups == -(-count // BATCH_ROWS)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    """A file that is cut, damaged or gone is an error that names it."""
    path = tmp_path / "a.parquet"
    write_rows(path, ({"number": i, "text": f"{i}" * 50} for i in range(2000)), SCHEMA)
    whole = path.read_bytes()
    for content in (whole[:-20], b"", whole[:4] + bytes(len(whole) - 400) + whole[-396:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.parquet cannot be read as Parquet: .* copy it again"):
            list(ParquetRows([path]))
    path.unlink()
    with pytest.raises(InputError, match=r"a\.parquet cannot be read"):
        len(ParquetRows([path]))


@pytest.mark.slow
def test_memory_holds_a_batch(tmp_path: Path) -> None:
    """Writing and reading 300 MB of rows takes less than half of that in memory."""
    script = ROOT / "tests" / "benchmarks" / "bench_dataset_memory.py"
    command = [sys.executable, str(script), "--rows", "30000", "--characters", "10000", "--parquet-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    name, size, peak = done.stdout.splitlines()[-1].split()
    assert name == "parquet"
    assert float(size) >= 300
    assert float(peak) < 150
