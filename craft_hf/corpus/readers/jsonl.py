"""Reads JSON: lines, an array, or objects one behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Place, Row
from craft_hf.corpus.readers.file import File
from craft_hf.tasks import parse_json

_START = 1 << 16
"""Characters that tell lines of JSON from an array and from objects over several lines."""


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
        yield from _value_rows(file, "item" if first.startswith("[") else "", ledger)


def _lines(file: File) -> Iterator[tuple[Place, bytes]]:
    return ((Place(file.name, "line", number), line) for number, line in file.lines() if not line.isspace())


def _value_rows(file: File, prefix: str, ledger: Ledger) -> LocatedRows:
    import ijson

    number = 0
    with file.reading(), file.open_text() as text:
        values = ijson.items(_Bytes(text), prefix, use_float=True, multiple_values=True)
        while True:
            try:
                value = next(values)
            except StopIteration:
                return
            except (ijson.JSONError, ValueError) as e:
                raise InputError(f"{file.name}, after record {number}: not valid JSON ({e}).") from e
            number += 1
            place = Place(file.name, "record", number)
            if isinstance(value, dict):
                yield place, value
            else:
                ledger.leave_out(Reason.BROKEN, f"{place}: holds {type(value).__name__}, expected a JSON object.")


class _Bytes:
    """A text file as the UTF-8 bytes that ijson wants, whatever its own encoding is."""

    def __init__(self, file: object) -> None:
        self._read = file.read  # type: ignore[attr-defined]

    def read(self, size: int = -1) -> bytes:
        """Read so many characters."""
        text: str = self._read(size)
        return text.encode("utf-8", "replace")
