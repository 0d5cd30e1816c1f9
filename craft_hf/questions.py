"""Multiple-choice questions to score a model on: a JSONL file comes in, checked `Question`s go out."""

from __future__ import annotations

import gzip
import json
import re
import string
import zlib
from dataclasses import dataclass
from pathlib import Path

from craft_hf.errors import InputError
from craft_hf.records import JSON

LETTERS = string.ascii_uppercase


@dataclass(frozen=True)
class Question:
    """A multiple-choice question: options without their letters, and the position of the right one, from 0."""

    question: str
    options: tuple[str, ...]
    answer: int


def read_questions(path: Path) -> list[Question]:
    """Read questions from JSONL or JSONL.gz.

    A line has `question`, `options` (with or without "A. " in front) and the right option as `answer_index`, from 0, or
    as `answer`, a letter, as the rows of craft_hf's multiple-choice tasks have it; other keys are left alone.

    Raises:
        InputError: no such file, no question in it, or a broken line, which is named.
    """
    if not path.is_file():
        raise InputError(
            f"there is no file {path}; expected JSONL, also as .gz, with question, options and answer_index."
        )
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            questions = [_question(line, f"{path}, line {n}") for n, line in enumerate(file, 1) if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as e:
        raise InputError(f"{path} cannot be read as {'gzipped ' * (path.suffix == '.gz')}UTF-8 text: {e}") from e
    if not questions:
        raise InputError(f"{path} holds no question; expected one JSON object on each line.")
    return questions


def _question(line: str, where: str) -> Question:
    """Check one line of a file."""
    try:
        row: JSON = json.loads(line)
    except json.JSONDecodeError as e:
        raise InputError(f"{where}: not valid JSON ({e}).") from e
    keys = ", ".join(row) if isinstance(row, dict) else type(row).__name__
    if (
        not isinstance(row, dict)
        or not {"question", "options"} <= set(row)
        or not {"answer", "answer_index"} & set(row)
    ):
        raise InputError(f"{where}: has {keys}; expected question, options, and answer_index or answer.")
    text, options = row["question"], row["options"]
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{where}, field question: is {text!r}, expected a text.")
    if not isinstance(options, list) or not all(isinstance(o, str) and o.strip() for o in options):
        raise InputError(f"{where}, field options: is {options!r}, expected a list of texts.")
    if not 2 <= len(options) <= len(LETTERS):
        raise InputError(f"{where}, field options: has {len(options)}, expected 2 to {len(LETTERS)}.")
    if all(re.match(rf"{letter}[.)] +\S", o) for letter, o in zip(LETTERS, options, strict=False)):
        options = [o[2:].strip() for o in options]
    name = "answer_index" if "answer_index" in row else "answer"
    given, letters = row[name], list(LETTERS[: len(options)])
    index = given if name == "answer_index" else letters.index(given) if given in letters else None
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(options):
        expected = f"0 to {len(options) - 1}" if name == "answer_index" else f"A to {letters[-1]}"
        raise InputError(f"{where}, field {name}: is {given!r}, expected {expected}.")
    return Question(text.strip(), tuple(o.strip() for o in options), index)
