"""Reads JSON lines, plain or compressed."""

from __future__ import annotations

from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.readers import LocatedRows
from craft_hf.corpus.readers.lines import read_lines
from craft_hf.tasks import parse_json


def json_rows(path: Path) -> LocatedRows:
    """Yield the object of each line that is not blank.

    Raises:
        InputError: a line is not a JSON object, or the file is broken; the message names file and line.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            row = parse_json(line.decode("utf-8-sig"))
        except ValueError as e:
            raise InputError(f"{path}, line {number}: not valid JSON ({e}); expected one object on each line.") from e
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: holds {type(row).__name__}, expected a JSON object.")
        yield f"{path}, line {number}", row
