"""Reads tables of text: CSV and TSV, with names of columns in the first line."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from craft_hf.base import InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File

_LONGEST = 1 << 24
"""Characters after which a quote that was opened is looked for no further."""

_DELIMITERS = ",;\t|"


def table_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the rows; those with more or fewer columns than the first line has are counted.

    Columns are separated by what separates their names: a comma, semicolon, tab or bar.

    Raises:
        InputError: a quoted field has no end.
    """
    with file.reading(), file.open_text() as text:
        records = _Records(file.name, text)
        for fields in records:
            place = Place(file.name, "line", records.line)
            if len(fields) == len(records.columns):
                yield place, dict(zip(records.columns, fields, strict=True))
            else:
                why = f"{len(fields)} columns, but {len(records.columns)} have names."
                ledger.leave_out(Reason.BROKEN, f"{place}: {why}")


def table_columns(file: File) -> list[str]:
    """Return the names of the columns.

    Raises:
        InputError: the file cannot be read.
    """
    with file.reading(), file.open_text() as text:
        return _Records(file.name, text).columns


class _Records(Iterator[list[str]]):
    """Iterates over the records of a table, each a list of its fields; blank lines are none.

    A quote opens a field if the field is closed as well, in front of a delimiter or the end of a line, and quotes
    within are doubled. Any other is a character of the text: many files, above all those with tabs, quote nothing, and
    hold texts that begin with a quote.

    Args:
        name: of the file, for messages.
        lines: of the file, with their ends.

    Attributes:
        columns: their names, which are the first record.
        line: the number of the last line of the last record.

    Raises:
        InputError: at once or while iterating, if a quoted field has no end.
    """

    def __init__(self, name: str, lines: Iterator[str]) -> None:
        csv.field_size_limit(2**31 - 1)
        self._name, self._lines, self._is_open = name, lines, False
        self._again: deque[str] = deque()
        self.line = 0
        self.columns: list[str] = []
        for first in lines:
            if first.strip("\r\n"):
                self._delimiter = max(_DELIMITERS, key=first.count)
                self._again.append(first)
                self.columns = next(self)
                break
            self.line += 1

    def __next__(self) -> list[str]:
        fields: list[str] = []
        while not fields:
            line = self._line()
            if not line:
                raise StopIteration
            fields = self._quoted(line) if '"' in line else self._split(line)
            self.line += 1
        return fields

    def _line(self) -> str:
        return self._again.popleft() if self._again else next(self._lines, "")

    def _split(self, line: str) -> list[str]:
        """Return the fields of a line in which quotes are characters."""
        line = line.rstrip("\r\n")
        return line.split(self._delimiter) if line else []

    def _quoted(self, first: str) -> list[str]:
        """Return the fields of the record that begins with a line in which there are quotes."""
        taken = [first]
        self._is_open = False
        reader = csv.reader(self._taking(taken), delimiter=self._delimiter, strict=True)
        try:
            fields = next(reader)
        except csv.Error:
            # a single line that is open at the end is more likely cut, except where quotes are rare
            if self._is_open and not (self._are_rows(taken) and (len(taken) > 1 or self._delimiter == "\t")):
                raise InputError(
                    f"{self._name}, line {self.line + 1}: a quoted field begins, but does not end; if the file "
                    "is cut, download it again, otherwise remove the quote."
                ) from None
        else:
            # a text of several lines, with as many tabs in each as between the columns, is hardly one
            is_usual = len(fields) == len(self.columns) and (len(taken) == 1 or self._delimiter != "\t")
            if is_usual or not self._are_rows(taken):
                self.line += len(taken) - 1
                return fields
        self._again.extendleft(reversed(taken[1:]))
        return self._split(first)

    def _taking(self, taken: list[str]) -> Iterator[str]:
        """Yield the first line, and take more while a quote is open, up to `_LONGEST` characters."""
        yield taken[0]
        size = len(taken[0])
        while size <= _LONGEST and (line := self._line()):
            taken.append(line)
            size += len(line)
            yield line
        self._is_open = True

    def _are_rows(self, lines: list[str]) -> bool:
        """Return whether lines, with quotes as characters, have all columns each."""
        return all(len(fields) == len(self.columns) for fields in map(self._split, lines) if fields)
