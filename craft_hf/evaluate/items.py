"""What models are measured on: a task and a JSONL file come in, checked `Item`s with human answers go out."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jinja2
import jinja2.meta

from craft_hf.base import JSON, InputError
from craft_hf.corpus import json_rows
from craft_hf.tasks import Task

LETTERS = string.ascii_uppercase

SUMMARIZE = "Summarize the following text in one to three sentences."
"""What is asked of a row that has a document and its summary, but no words that ask for one."""


@dataclass(frozen=True)
class Item:
    """One thing to ask a model, as the task asks it, and what a human answered.

    `prompt` is the task's prompt, `reference` the human answer. Multiple choice has more: `options` without their
    letters, `answer`, the position of the right one from 0, and `question`, the prompt without any options.
    """

    id: str
    prompt: str
    reference: str
    question: str = ""
    options: tuple[str, ...] = ()
    answer: int = -1


def read_items(path: Path, task: Task, limit: int | None = None, seed: int = 0) -> list[Item]:
    """Read reference rows for a task from JSONL, plain or compressed; other keys than these are left alone.

    Multiple choice: the task's fields, options with or without "A. " in front, and the answer as a letter or, from 0,
    as `answer_index`. Other tasks: the task's fields, as datasets of craft_hf have them, with two short forms: `output`
    may give the whole answer in place of the fields that make it up, and `document`, beside `summary`, the text to be
    summarized, with the words that ask for it as `query`, if there are any. A row's `id` names it, or else its line.

    Args:
        path: the file.
        task: whose prompt and completion templates make of a row what is asked and answered.
        limit: rows to draw without replacement, 1 or more; all by default, or if there are no more.
        seed: draws them.

    Raises:
        InputError: no such file, no row in it, a broken row, which is named, or two rows with the same id.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected 1 or more.")
    if not path.is_file():
        raise InputError(
            f"there is no file {path}; expected JSONL, also compressed, with rows of the task {task.name}."
        )
    items = [_item(row, task, where) for where, row in json_rows(path)]
    if not items:
        raise InputError(f"{path} holds no row; expected one JSON object on each line.")
    if limit is not None and limit < len(items):
        items = random.Random(seed).sample(items, limit)
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{path}: rows have the same id; give each its own, or leave ids out.")
    return items


def _item(row: Mapping[str, JSON], task: Task, where: str) -> Item:
    given = row.get("id")
    name = given if isinstance(given, str) and given else where.rsplit("/", 1)[-1]
    return _choice(row, task, where, name) if task.options_field else _written(row, task, where, name)


def _written(row: Mapping[str, JSON], task: Task, where: str, name: str) -> Item:
    fields = dict(row)
    if "document" in row and "long_but_clean_text" in task.fields and "long_but_clean_text" not in row:
        words = row.get("query") or SUMMARIZE
        fields = {"instruction": words, **row, "long_but_clean_text": row["document"]}
    wanted = [*_names(task.prompt_template), *(["output"] if "output" in row else _names(task.completion_template))]
    for field in wanted:
        value = fields.get(field)
        if not value or (isinstance(value, str) and not value.strip()) or (field == "output" and value != str(value)):
            raise InputError(
                f"{where}, field {field}: is {value!r}; a row of {task.name} needs {', '.join(dict.fromkeys(wanted))}."
            )
    try:
        output = str(fields["output"]) if "output" in row else task.completion(fields)
        return Item(name, task.prompt(fields), output.strip())
    except jinja2.TemplateError as e:
        raise InputError(f"{where}: does not fit the templates of the task {task.name}: {e}.") from e


def _choice(row: Mapping[str, JSON], task: Task, where: str, name: str) -> Item:
    others = [field for field in _names(task.prompt_template) if field != task.options_field]
    if missing := [field for field in [*others, task.options_field] if field not in row]:
        raise InputError(f"{where}: has {', '.join(row)}; expected {', '.join(missing)} as well.")
    for field in others:
        text = row[field]
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}, field {field}: is {text!r}, expected a text.")
    options = _options(row[task.options_field], f"{where}, field {task.options_field}")
    answer = _answer(row, task.answer_field, len(options), where)
    fields = {**row, **{field: str(row[field]).strip() for field in others}}
    lettered: JSON = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    shown = {**fields, task.options_field: lettered, task.answer_field: LETTERS[answer]}
    try:
        bare = task.prompt({**fields, task.options_field: [], task.answer_field: ""})
        return Item(name, task.prompt(shown), task.completion(shown), bare, options, answer)
    except jinja2.TemplateError as e:
        raise InputError(f"{where}: does not fit the templates of the task {task.name}: {e}.") from e


def _names(template: str) -> list[str]:
    """Names of a sample's fields that a template uses, in the order of the alphabet."""
    return sorted(jinja2.meta.find_undeclared_variables(jinja2.Environment().parse(template)))


def _options(options: JSON, where: str) -> tuple[str, ...]:
    if not isinstance(options, list) or not all(isinstance(o, str) and o.strip() for o in options):
        raise InputError(f"{where}: is {options!r}, expected a list of texts.")
    texts = [str(option).strip() for option in options]
    if not 2 <= len(texts) <= len(LETTERS):
        raise InputError(f"{where}: has {len(texts)}, expected 2 to {len(LETTERS)}.")
    if all(re.match(rf"{letter}[.)] +\S", text) for letter, text in zip(LETTERS, texts, strict=False)):
        texts = [text[2:].strip() for text in texts]
    return tuple(texts)


def _answer(row: Mapping[str, JSON], field: str, count: int, where: str) -> int:
    """Position of the right option: `answer_index` goes first, then the letter in the task's own field."""
    name = "answer_index" if "answer_index" in row else field
    if name not in row:
        raise InputError(f"{where}: has {', '.join(row)}; expected answer_index or {field} as well.")
    given, letters = row[name], list(LETTERS[:count])
    index = given if name == "answer_index" else letters.index(str(given)) if given in letters else None
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        expected = f"0 to {count - 1}" if name == "answer_index" else f"A to {letters[-1]}"
        raise InputError(f"{where}, field {name}: is {given!r}, expected {expected}.")
    return index
