"""Evaluation items: the prompts of a reference file with the human answers to them."""

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

SUMMARY_INSTRUCTION = "Summarize the following text in one to three sentences."
"""The instruction for a row that has a document and its summary, but no instruction of its own."""


@dataclass(frozen=True)
class Item:
    """One prompt with the human answer to it.

    `prompt` is rendered by the task's template, and `reference` is the human answer. Multiple choice also has `options`
    (without letters), `answer` (index of the right option, from 0) and `question` (the prompt without the options).
    """

    id: str
    prompt: str
    reference: str
    question: str = ""
    options: tuple[str, ...] = ()
    answer: int = -1


def read_items(path: Path, task: Task, limit: int | None = None, seed: int = 0) -> list[Item]:
    """Read reference rows of a task from a JSONL file, plain or compressed. Unknown keys are ignored.

    Multiple choice: the task's fields; options with or without letters ("A. ..."); the right one as a letter, or as
    `answer_index`, counted from 0. Other tasks: the task's fields, with two short forms: `output` may hold the whole
    answer instead of the fields that it consists of, and `document` the text to be summarized (beside `summary`, with
    an optional instruction in `query`). A row is identified by its `id`, or else by its line number.

    Args:
        path: the file.
        task: its templates render prompt and reference.
        limit: size of a random sample without replacement, 1 or more; all rows by default, or where there are fewer.
        seed: of the sample.

    Raises:
        InputError: the file does not exist or has no rows, a row is invalid (the message names it), or an id occurs
            twice.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected 1 or more.")
    if not path.is_file():
        raise InputError(
            f"the file {path} does not exist; expected JSONL, plain or compressed, with rows of the task {task.name}."
        )
    items = [_item(row, task, where) for where, row in json_rows(path)]
    if not items:
        raise InputError(f"{path} has no rows; expected one JSON object per line.")
    if limit is not None and limit < len(items):
        items = random.Random(seed).sample(items, limit)
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{path}: some rows have the same id; make ids unique, or remove them.")
    return items


def _item(row: Mapping[str, JSON], task: Task, where: str) -> Item:
    given = row.get("id")
    name = given if isinstance(given, str) and given else where.rsplit("/", 1)[-1]
    return _choice(row, task, where, name) if task.options_field else _written(row, task, where, name)


def _written(row: Mapping[str, JSON], task: Task, where: str, name: str) -> Item:
    fields = dict(row)
    if "document" in row and "long_but_clean_text" in task.fields and "long_but_clean_text" not in row:
        instruction = row.get("query") or SUMMARY_INSTRUCTION
        fields = {"instruction": instruction, **row, "long_but_clean_text": row["document"]}
    required = [*_names(task.prompt_template), *(["output"] if "output" in row else _names(task.completion_template))]
    for field in required:
        value = fields.get(field)
        if not value or (isinstance(value, str) and not value.strip()) or (field == "output" and value != str(value)):
            raise InputError(
                f"{where}, field {field}: is {value!r}; a row of the task {task.name} needs "
                f"{', '.join(dict.fromkeys(required))}."
            )
    try:
        output = str(fields["output"]) if "output" in row else task.completion(fields)
        return Item(name, task.prompt(fields), output.strip())
    except jinja2.TemplateError as e:
        raise InputError(f"{where}: the templates of the task {task.name} cannot be rendered: {e}.") from e


def _choice(row: Mapping[str, JSON], task: Task, where: str, name: str) -> Item:
    others = [field for field in _names(task.prompt_template) if field != task.options_field]
    if missing := [field for field in [*others, task.options_field] if field not in row]:
        raise InputError(f"{where}: has the fields {', '.join(row)}; {', '.join(missing)} missing.")
    for field in others:
        text = row[field]
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}, field {field}: is {text!r}, expected a string that is not empty.")
    options = _options(row[task.options_field], f"{where}, field {task.options_field}")
    answer = _answer(row, task.answer_field, len(options), where)
    fields = {**row, **{field: str(row[field]).strip() for field in others}}
    lettered: JSON = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    shown = {**fields, task.options_field: lettered, task.answer_field: LETTERS[answer]}
    try:
        bare = task.prompt({**fields, task.options_field: [], task.answer_field: ""})
        return Item(name, task.prompt(shown), task.completion(shown), bare, options, answer)
    except jinja2.TemplateError as e:
        raise InputError(f"{where}: the templates of the task {task.name} cannot be rendered: {e}.") from e


def _names(template: str) -> list[str]:
    """Return the fields that a template uses, sorted."""
    return sorted(jinja2.meta.find_undeclared_variables(jinja2.Environment().parse(template)))


def _options(options: JSON, where: str) -> tuple[str, ...]:
    if not isinstance(options, list) or not all(isinstance(o, str) and o.strip() for o in options):
        raise InputError(f"{where}: is {options!r}, expected a list of strings that are not empty.")
    texts = [str(option).strip() for option in options]
    if not 2 <= len(texts) <= len(LETTERS):
        raise InputError(f"{where}: has {len(texts)} options, expected 2 to {len(LETTERS)}.")
    if all(re.match(rf"{letter}[.)] +\S", text) for letter, text in zip(LETTERS, texts, strict=False)):
        texts = [text[2:].strip() for text in texts]
    return tuple(texts)


def _answer(row: Mapping[str, JSON], field: str, count: int, where: str) -> int:
    """Return the index of the right option: `answer_index` if present, else that of the letter in the task's field."""
    name = "answer_index" if "answer_index" in row else field
    if name not in row:
        raise InputError(f"{where}: has the fields {', '.join(row)}; answer_index or {field} is missing.")
    given, letters = row[name], list(LETTERS[:count])
    index = given if name == "answer_index" else letters.index(str(given)) if given in letters else None
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        expected = f"0 to {count - 1}" if name == "answer_index" else f"A to {letters[-1]}"
        raise InputError(f"{where}, field {name}: is {given!r}, expected {expected}.")
    return index
