"""Reads JSON: lines, an array, or objects one behind the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from craft_hf.base import JSON, InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Place, Row
from craft_hf.corpus.readers.file import File
from craft_hf.tasks import NAN_IS_NULL, parse_json

_START = 1 << 16
"""Characters that tell lines of JSON from an array and from objects over several lines."""

_CUT = 16
"""Characters before the end of what is read in which an error may come of reading no further."""

_TOKEN = re.compile(r'[][{}]|"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^][{}",:\s]+', re.DOTALL)
"""A bracket, a string, which may be cut at the end, or a number or name."""


def json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield file and line, for messages, and the object of each line that is not blank; the file may be packed.

    Raises:
        InputError: a line is not a JSON object, or the file is broken; the message names file and line.
    """
    for place, line in _lines(File(path, str(path))):
        try:
            row = parse_json(line.decode("utf-8-sig"))
        except ValueError as e:
            raise InputError(f"{place}: not valid JSON ({e}); expected one object on each line.") from e
        if not isinstance(row, dict):
            raise InputError(f"{place}: holds {type(row).__name__}, expected a JSON object.")
        yield str(place), row


def json_line_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the object of each line that is not blank, NaN as null; lines that are none are counted.

    Raises:
        InputError: the file is broken.
    """
    for place, line in _lines(file):
        try:
            row = parse_json(line.decode("utf-8-sig"), nan_is_null=True)
        except ValueError as e:
            ledger.leave_out(Reason.BROKEN, f"{place}: not valid JSON ({e}); expected one object on each line.")
            continue
        if isinstance(row, dict):
            yield place, row
        else:
            ledger.leave_out(Reason.BROKEN, f"{place}: holds {type(row).__name__}, expected a JSON object.")


def json_file_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the objects of a .json file: lines of JSON, an array of objects, or objects over several lines.

    Raises:
        InputError: the file is broken.
    """
    with file.reading(), file.open_text() as text:
        start = text.read(_START).strip()  # not a whole line: an array may be one line of many gigabytes
    first, more, _ = start.partition("\n")
    if first.startswith("{") and (first.rstrip().endswith("}") or not more):
        yield from json_line_rows(file, ledger)
    elif first:
        yield from _value_rows(file, first.startswith("["), ledger)


def _lines(file: File) -> Iterator[tuple[Place, bytes]]:
    return ((Place(file.name, "line", number), line) for number, line in file.lines() if not line.isspace())


def _value_rows(file: File, is_array: bool, ledger: Ledger) -> LocatedRows:
    number = 0
    with file.reading(), file.open_text() as text:
        values = _Values(text, is_array)
        while True:
            try:
                value = next(values)
            except StopIteration:
                return
            except UnicodeError:
                raise  # which `reading` explains
            except ValueError as e:
                raise InputError(f"{file.name}, after record {number}: not valid JSON ({e}).") from e
            number += 1
            place = Place(file.name, "record", number)
            if isinstance(value, dict):
                yield place, value
            elif isinstance(value, ValueError):
                ledger.leave_out(Reason.BROKEN, f"{place}: not valid JSON ({value}).")
            else:
                ledger.leave_out(Reason.BROKEN, f"{place}: holds {type(value).__name__}, expected a JSON object.")


class _Values(Iterator[JSON | ValueError]):
    """Iterates over the items of arrays, or over values, one behind the other, without all of them in memory.

    In the place of a value that is nested too deep, or holds too large a number, stands an error that says so.

    Args:
        file: the JSON.
        is_array: whether it begins with an array; then it may hold more of them, as tools write that append pages.

    Raises:
        ValueError: while iterating, if it is no JSON.
    """

    def __init__(self, file: TextIO, is_array: bool) -> None:
        self._file, self._is_array = file, is_array
        self._text, self._at, self._is_all = "", 0, False
        self._is_first = True

    def __next__(self) -> JSON | ValueError:
        if self._is_array:
            self._go_to_item()
        if not self._next() and not self._is_array:
            raise StopIteration
        while True:
            value: JSON | ValueError
            try:
                value, end = NAN_IS_NULL.raw_decode(self._text, self._at)
            except json.JSONDecodeError as e:
                is_cut = e.msg.startswith("Unterminated string") or e.pos >= len(self._text) - _CUT
                if self._is_all or not is_cut:
                    raise ValueError(e.msg) from e
                end = 0
            except ValueError as e:
                value, end = e, self._end()
                if self._is_all and not end:
                    raise
            if end and (self._is_all or end <= len(self._text) - _CUT):  # a number may go on
                self._at = end
                return value
            self._read()

    def _end(self) -> int:
        """Return where the next value ends, told by its brackets, 0 if that was not read yet."""
        depth = 0
        for found in _TOKEN.finditer(self._text, self._at):
            depth += (found[0] in ("[", "{")) - (found[0] in ("]", "}"))
            if not depth:
                return found.end()
        return 0

    def _go_to_item(self) -> None:
        is_first, self._is_first = self._is_first, False
        if not is_first and self._skip(","):
            return
        if not is_first and self._next() != "]":
            raise ValueError(f"{self._next()!r} where a comma or the end of the array was expected")
        while is_first or self._skip("]"):
            is_first = False
            if not self._next():
                raise StopIteration
            if not self._skip("["):
                raise ValueError(f"{self._next()!r} behind the end of the array")

    def _next(self) -> str:
        """Return the next character that is no blank, "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or self._is_all:
                return self._text[self._at : self._at + 1]
            self._read()

    def _skip(self, character: str) -> bool:
        is_there = self._next() == character
        self._at += is_there
        return is_there

    def _read(self) -> None:
        """Read as much again as there is, so that a long value is not decoded many times."""
        rest = self._text[self._at :]
        more = self._file.read(max(_START, len(rest)))
        self._text, self._at, self._is_all = rest + more, 0, not more
