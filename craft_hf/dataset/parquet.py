"""Writes and reads rows in Parquet files in batches, so that they are never all in memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import pyarrow
import pyarrow.parquet

from craft_hf.base import JSON, InputError

_FOR_THE_HUB: Mapping[str, bool] = {"use_content_defined_chunking": True, "write_page_index": True}
"""The Hub stores what two versions of a file have in common once, and shows pages without reading whole files."""

BATCH_ROWS = 1_000
"""Rows in memory at a time, and in a row group of a file: what `datasets` takes."""


class ParquetRows(Sequence[dict[str, JSON]]):
    """The rows of some Parquet files, in order; they are read anew whenever they are iterated over.

    A slice is a view of the same files: the row groups before it are not read.

    Args:
        files: all with the same columns.
        start, stop: which rows; all by default.

    Raises:
        InputError: a file is missing or broken; found out when it is read.
    """

    def __init__(self, files: Sequence[Path], start: int = 0, stop: int | None = None) -> None:
        self.files = tuple(files)
        self._start = start
        self._stop = stop

    @cached_property
    def schema(self) -> pyarrow.Schema:
        """Names and types of the columns."""
        return _open(self.files[0]).schema_arrow

    @cached_property
    def _range(self) -> range:
        found = sum(_open(path).metadata.num_rows for path in self.files)
        return range(found)[self._start : self._stop]

    def __len__(self) -> int:
        return len(self._range)

    def __iter__(self) -> Iterator[dict[str, JSON]]:
        first, last, place = self._range.start, self._range.stop, 0
        for path in self.files:
            file = _open(path)
            for group in range(file.num_row_groups):
                if place + (count := file.metadata.row_group(group).num_rows) <= first or place >= last:
                    place += count
                    continue
                for batch in _batches(file, group, path):
                    rows = range(place, place + batch.num_rows)
                    place = rows.stop
                    wanted = range(max(rows.start, first), min(rows.stop, last))
                    yield from batch.slice(wanted.start - rows.start, len(wanted)).to_pylist() if wanted else ()

    @overload
    def __getitem__(self, key: int) -> dict[str, JSON]: ...

    @overload
    def __getitem__(self, key: slice) -> ParquetRows: ...

    def __getitem__(self, key: int | slice) -> dict[str, JSON] | ParquetRows:
        if isinstance(key, int):
            number = self._range[key]
            return next(iter(ParquetRows(self.files, number, number + 1)))
        if key.step not in (None, 1):
            raise ValueError(f"rows are read in their order, without gaps: expected a step of 1, got {key.step}")
        part = self._range[key]
        return ParquetRows(self.files, part.start, part.stop)


def write_rows(path: Path, rows: Iterable[Mapping[str, JSON]], schema: pyarrow.Schema) -> None:
    """Write rows into a Parquet file; a column that a row lacks is null there.

    Args:
        path: the file; its folder is made.
        rows: any number, taken a batch at a time.
        schema: the columns.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = schema.remove_metadata()  # of `datasets`, whose older releases cannot read that of newer ones
    with pyarrow.parquet.ParquetWriter(path, schema, **_FOR_THE_HUB) as writer:
        for table in _tables(rows, schema):
            writer.write_table(table)


def arrow_table(rows: Iterable[Mapping[str, JSON]], schema: pyarrow.Schema) -> pyarrow.Table:
    """Return rows as a table, which takes a fraction of their memory; arguments are those of `write_rows`."""
    return pyarrow.concat_tables([schema.empty_table(), *_tables(rows, schema)])


def _tables(rows: Iterable[Mapping[str, JSON]], schema: pyarrow.Schema) -> Iterator[pyarrow.Table]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, BATCH_ROWS)):
        yield pyarrow.Table.from_pylist(batch, schema=schema)


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as e:
        raise _broken(path, e) from e


def _batches(file: pyarrow.parquet.ParquetFile, group: int, path: Path) -> Iterator[pyarrow.RecordBatch]:
    try:
        yield from file.iter_batches(BATCH_ROWS, row_groups=[group])
    except (OSError, pyarrow.ArrowException) as e:
        raise _broken(path, e) from e


def _broken(path: Path, error: Exception) -> InputError:
    said = " ".join(str(error).split())
    return InputError(f"{path} cannot be read as Parquet: {said}; copy it again from where it was made.")
