"""Reads tables of text: CSV and TSV, with names of columns in the first line."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator

from craft_hf.base import InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File

_END = "the file ends here; no text says so"
_MAX_FIELD_SIZE = 1 << 24
_DELIMITERS = ",;\t|"


def table_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the rows; those with more or fewer columns than the first line has are counted.

    Columns are separated by what separates their names: a comma, semicolon, tab or bar.

    Raises:
        InputError: the file is no CSV, or ends within a quoted field.
    """
    csv.field_size_limit(_MAX_FIELD_SIZE)
    with file.reading(), file.open_text() as text:
        first = text.readline()
        delimiter = max(_DELIMITERS, key=first.count)
        # an extra line at the end shows whether a quote is open
        reader = csv.reader(itertools.chain((first,), text, ("\n", _END)), delimiter=delimiter)
        try:
            yield from _rows(file, reader, ledger)
        except csv.Error as e:
            raise InputError(f"{file.name}, after line {reader.line_num}: not readable as CSV ({e}).") from e


def table_columns(file: File) -> list[str]:
    """Return the names of the columns.

    Raises:
        InputError: the file cannot be read.
    """
    with file.reading(), file.open_text() as text:
        first = text.readline()
    return next(csv.reader([first], delimiter=max(_DELIMITERS, key=first.count)), [])


def _rows(file: File, reader: Iterator[list[str]], ledger: Ledger) -> LocatedRows:
    columns = next(reader)
    if not columns:
        return
    for fields in reader:
        place = Place(file.name, "line", reader.line_num)  # type: ignore[attr-defined]
        if fields == [_END]:
            return
        if fields and fields[-1].endswith(_END):
            raise InputError(f"{file.name} ends within a quoted field: the file is truncated; download it again.")
        if len(fields) == len(columns):
            yield place, dict(zip(columns, fields, strict=True))
        elif fields:
            ledger.leave_out(Reason.BROKEN, f"{place}: {len(fields)} columns, but {len(columns)} have names.")
