"""Reads Parquet files: the columns that are used, with one batch in memory at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from craft_hf.base import InputError
from craft_hf.corpus.fields import TableRow
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File

if TYPE_CHECKING:
    import pyarrow


def parquet_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the rows of a file.

    Raises:
        InputError: it is not a Parquet file, broken, or has no column for the text.
    """
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with file.reading(), file.open() as stream:
            source = pyarrow.BufferReader(stream.read()) if file.packed else pyarrow.PythonFile(stream, "r")
            with pyarrow.parquet.ParquetFile(source) as table:
                names = _names(table.schema_arrow)
                used = file.fields.columns(table.schema_arrow.names)
                if not used["text"]:
                    raise InputError(
                        f"{file.name}: has no column {file.fields.describe('text')} for the text; its columns: "
                        f"{', '.join(names)}."
                    )
                columns = list(dict.fromkeys(itertools.chain.from_iterable(used.values())))
                for batch in table.iter_batches(batch_size=1024, columns=columns):
                    for row in batch.to_pylist():
                        number += 1
                        if file.meter:
                            file.meter.share = number / table.metadata.num_rows
                        record = TableRow(row)
                        record.columns = names
                        yield Place(file.name, "row", number), record
    except pyarrow.ArrowException as e:
        raise InputError(f"{file.name}, after row {number}: not a readable Parquet file ({e}).") from e


def _names(columns: Iterable[pyarrow.Field]) -> list[str]:
    """Return the names of columns, those within others as paths."""
    import pyarrow

    found = []
    for column in columns:
        inner = _names(column.type) if pyarrow.types.is_struct(column.type) else []
        found.extend([f"{column.name}.{name}" for name in inner] or [column.name])
    return found
