"""Evaluation items: the prompts of a reference file with the human answers to them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import jinja2.meta

from craft_hf.base import JSON, InputError
from craft_hf.corpus import json_rows
from craft_hf.tasks import MOST_LETTERS, NUMBER, MultipleChoice, Task, normalized, options_of, unwritable

SUMMARY_INSTRUCTION = "Summarize the following text in one to three sentences."
"""The instruction for a row that has a document and its summary, but no instruction of its own."""


@dataclass(frozen=True)
class Item:
    """One prompt with the human answer to it.

    `prompt` is rendered by the task's template, and `reference` is the human answer. Multiple choice also has `options`
    (without labels), `answer` (index of the right option, from 0), `question` (the prompt without the options) and
    `labels`: for each option the answer that names it, as the task's samples write it.
    """

    id: str
    prompt: str
    reference: str
    question: str = ""
    options: tuple[str, ...] = ()
    answer: int = -1
    labels: tuple[str, ...] = ()


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


def _item(given_row: Mapping[str, JSON], task: Task, where: str) -> Item:
    plain = normalized(given_row, {})
    row = {**plain, **task.sample(plain)}
    given = row.get("id")
    name = given if isinstance(given, str) and given else where.rsplit("/", 1)[-1]
    item = _choice(row, task, where, name) if task.multiple_choice else _written(row, task, where, name)
    if reason := unwritable(asdict(item)):
        raise InputError(f"{where}: holds {reason}, which no dataset can; remove it.")
    return item


def _written(row: Mapping[str, JSON], task: Task, where: str, name: str) -> Item:
    fields = dict(row)
    if "document" in row and "long_but_clean_text" in task.fields and "long_but_clean_text" not in row:
        instruction = row.get("query") or SUMMARY_INSTRUCTION
        fields = {"instruction": instruction, **row, "long_but_clean_text": row["document"]}
    used = [*_names(task.prompt_template), *([] if "output" in row else _names(task.completion_template))]
    required = [*(name for name in used if name in task.required), *(["output"] if "output" in row else [])]
    for field in required:
        value = fields.get(field)
        if _is_blank(value) or (field == "output" and not isinstance(value, str)):
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
    choices = task.multiple_choice
    assert choices
    used = [field for field in _names(task.prompt_template) if field != choices.options_field]
    others = [field for field in used if field in task.required or row.get(field) is not None]
    if missing := [field for field in [*others, choices.options_field] if field not in row]:
        raise InputError(f"{where}: has the fields {', '.join(row)}; {', '.join(missing)} missing.")
    for field in others:
        if _is_blank(row[field]):
            raise InputError(f"{where}, field {field}: is {row[field]!r}, expected a value that is not empty.")
    like = task.few_shots[0].sample
    options = _options(row, choices, like, f"{where}, field {choices.options_field}")
    answer = _answer(row, choices, like, where)
    fields = {**row, **{field: text.strip() for field in others if isinstance(text := row[field], str)}}
    written = [choices.written(options, place, like) for place in range(len(options))]
    labels = tuple(str(each[choices.answer_field]) for each in written)
    shown = {**fields, **written[answer]}
    try:
        bare = task.prompt({**fields, choices.options_field: [], choices.answer_field: ""})
        return Item(name, task.prompt(shown), task.completion(shown), bare, options, answer, labels)
    except jinja2.TemplateError as e:
        raise InputError(f"{where}: the templates of the task {task.name} cannot be rendered: {e}.") from e


def _names(template: str) -> list[str]:
    """Return the fields that a template uses, sorted."""
    return sorted(jinja2.meta.find_undeclared_variables(jinja2.Environment().parse(template)))


def _is_blank(value: JSON) -> bool:
    """Whether a value is missing: 0 and false are values."""
    return value in (None, [], {}) or not str(value).strip()


def _options(row: Mapping[str, JSON], choices: MultipleChoice, like: Mapping[str, JSON], where: str) -> tuple[str, ...]:
    """Return the options without labels, which are labels for certain where the task's own samples have the same."""
    options = row[choices.options_field]
    if not isinstance(options, list) or not all(isinstance(o, str) and o.strip() for o in options):
        raise InputError(f"{where}: is {options!r}, expected a list of strings that are not empty.")
    if not 2 <= len(options) <= MOST_LETTERS:
        raise InputError(f"{where}: has {len(options)} options, expected 2 to {MOST_LETTERS}.")
    labelled, own = options_of(options), choices.read(like).prefixes
    same = all(mine == theirs for mine, theirs in zip(labelled.prefixes, own, strict=False))
    return tuple(text.strip() for text in (labelled if same else choices.read(row)).texts)


def _answer(row: Mapping[str, JSON], choices: MultipleChoice, like: Mapping[str, JSON], where: str) -> int:
    """Return the index of the right option: `answer_index` if present, else as the answer in the task's field names it.

    A number in that field is an index only if the task's own answers (`like` is one of its samples) are numbers, for
    then it is known whether they count from 0.
    """
    name, options = choices.answer_field, choices.read(row)
    if "answer_index" in row:
        name, index, count = "answer_index", row["answer_index"], len(options.texts)
        known = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < count
        index, expected = index if known else None, f"expected 0 to {count - 1}"
    elif name not in row:
        raise InputError(f"{where}: has the fields {', '.join(row)}; answer_index or {name} is missing.")
    else:
        numbered = options.kind == NUMBER and choices.read(like).kind != NUMBER
        index, expected = None if numbered else options.right, choices.expected(options)
    if not isinstance(index, int):
        raise InputError(f"{where}, field {name}: is {row[name]!r}, {expected}.")
    return index
