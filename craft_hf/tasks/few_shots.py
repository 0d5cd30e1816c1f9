"""Reads few-shot files, in the project's format or that of the CRAFT authors."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from craft_hf.base import JSON, FewShot, InputError
from craft_hf.tasks.multiple_choice import (
    NUMBER,
    MultipleChoice,
    first_number,
    leading_option,
    options_of,
    split_options,
)
from craft_hf.tasks.sample import normalized, parse_json, unwritable, without_most

LEAST = 3
"""A prompt shows three few-shots, so a task needs at least as many."""

_BULLET = re.compile(r"^\s*(?:[-*•]\s+|\d+[.)]\s+)")


def read_few_shots(
    path: Path, task: str, schema: Mapping[str, JSON], choices: MultipleChoice | None = None
) -> tuple[FewShot, ...]:
    """Read a few-shot file and check every sample against the task's schema, its upper lengths aside.

    Args:
        path: a JSONL file; a line is {"text", "sample", "source", "license"} or {"Text", "Instruction", "Output"}.
        task: the task's name, the stem of the ids of few-shots that have none.
        schema: the JSON Schema of a sample.
        choices: how samples hold options and answer, if they do.

    Raises:
        InputError: the file is missing, or a line is broken; the message names the line and the field.
    """
    import jsonschema

    if not path.is_file():
        raise InputError(f"there is no few-shot file {path}; expected JSONL with text and sample on each line.")
    relaxed = without_most(schema)
    assert isinstance(relaxed, Mapping)
    validator = jsonschema.Draft202012Validator(relaxed)
    shots: list[FewShot] = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise InputError(f"{path} is not UTF-8 text ({e}); convert it.") from e
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            data = parse_json(line)
        except ValueError as e:
            raise InputError(f"{where}: not valid JSON ({e}).") from e
        if not isinstance(data, dict):
            raise InputError(f"{where}: holds {type(data).__name__}, expected an object with text and sample.")
        data = normalized(data, {})
        if "Text" in data:
            data = _from_authors(data, where, schema, choices)
        shot = _few_shot(data, where, f"{task}-{len(shots) + 1:02d}", schema)
        if reason := unwritable(vars(shot)):
            raise InputError(f"{where}: holds {reason}, which no dataset can; remove it.")
        try:
            errors = sorted(validator.iter_errors(shot.sample), key=lambda e: list(map(str, e.path)))
        except RecursionError:
            raise InputError(f"{where}: a $ref of the schema leads back to itself without end; remove it.") from None
        if errors:
            at = ".".join(map(str, errors[0].path)) or "sample"
            raise InputError(f"{where}, field {at}: {errors[0].message[:300]}")
        if choices and (options := choices.read(shot.sample)).right is None:
            given = shot.sample.get(choices.answer_field)
            expected = choices.expected(options)
            raise InputError(f"{where}, field {choices.answer_field}: {given!r} is none of the options; {expected}.")
        shots.append(shot)
    if len({s.id for s in shots}) < len(shots):
        raise InputError(f"{path}: two few-shots share an id; give each its own, or leave the ids out.")
    if choices and first_number(schema, choices.answer_field) is None:
        _require_first(shots, path, choices)
    return tuple(shots)


def _require_first(shots: Sequence[FewShot], path: Path, choices: MultipleChoice) -> None:
    """Raise InputError if answers are numbers of options, and nothing says whether 0 or 1 is the first."""
    numbers = {str(s.sample[choices.answer_field]) for s in shots if choices.read(s.sample).kind == NUMBER}
    if numbers and "0" not in numbers:
        raise InputError(
            f"{path}: {choices.answer_field} gives the number of the right option ({', '.join(sorted(numbers))}), but "
            "not whether 0 or 1 is the first; write `minimum: 0` or `minimum: 1` for it in the schema."
        )


def require_enough(shots: tuple[FewShot, ...], path: Path) -> None:
    """Raise InputError unless there are enough few-shots to fill a prompt."""
    if len(shots) < LEAST:
        raise InputError(f"{path} holds {len(shots)} few-shots, expected at least {LEAST} (CRAFT uses 8 to 32).")


def _few_shot(data: Mapping[str, JSON], where: str, default_id: str, schema: Mapping[str, JSON]) -> FewShot:
    """Check a line's own fields; the sample's are given their one form, as the model is to write them."""
    for key, kind in (("text", str), ("sample", dict)):
        if not isinstance(data.get(key), kind):
            raise InputError(f"{where}, field {key}: is {data.get(key)!r}, expected {kind.__name__}.")
    known = {"id", "text", "sample", "source", "license"}
    if unknown := sorted(set(data) - known):
        raise InputError(f"{where}: unknown field {unknown[0]!r}; known fields: {', '.join(sorted(known))}.")
    text, sample = data["text"], data["sample"]
    assert isinstance(text, str)
    assert isinstance(sample, dict)
    rest = {k: str(data.get(k) or "") for k in ("source", "license")}
    return FewShot(str(data.get("id") or default_id), text, normalized(sample, schema), **rest)


def _from_authors(
    data: Mapping[str, JSON], where: str, schema: Mapping[str, JSON], choices: MultipleChoice | None
) -> dict[str, JSON]:
    """Turn a line of the authors' format into ours.

    Their `Instruction` holds question and labelled options, or the request; their `Output` the label, the recipe
    with "Ingredients:" and "Steps:", or the summary (notes: CRAFT's public few-shot files).
    """
    for key in ("Text", "Instruction", "Output"):
        if not isinstance(data.get(key), str):
            raise InputError(f"{where}, field {key}: is {data.get(key)!r}, expected a string.")
    text, instruction, output = (str(data[k]).strip() for k in ("Text", "Instruction", "Output"))
    properties = schema["properties"]
    assert isinstance(properties, Mapping)
    sample: dict[str, JSON]
    if choices:
        question, options = split_options(instruction)
        first = next(name for name in properties if name not in (choices.options_field, choices.answer_field))
        read = options_of(options)
        options = _as_schema_wants(read.texts, properties.get(choices.options_field)) or options
        labels = options_of(options).labels
        place = leading_option(output, read.labels)
        place = leading_option(output, read.texts) if place is None else place
        answer = output if place is None else labels[place]
        sample = {first: question, choices.options_field: options, choices.answer_field: answer}
    elif {"ingredients", "steps"} <= set(properties):
        sample = {"instruction": instruction, **_recipe(output, where)}
    elif {"summary", "long_but_clean_text"} <= set(properties):
        request, _, body = instruction.partition("\n\n")
        sample = {"instruction": request, "long_but_clean_text": body.strip() or text, "summary": output}
    else:
        names = list(properties)
        if len(names) != 2:
            raise InputError(
                f"{where}: Text, Instruction, Output fit a task of two fields, or a multiple-choice, recipe or summary "
                f"task; this one has {', '.join(names)}. Write the line as text and sample instead."
            )
        sample = dict(zip(names, (instruction, output), strict=True))
    return {"text": text, "sample": sample, "source": data.get("source", ""), "license": data.get("license", "")}


def _as_schema_wants(texts: Sequence[str], schema: JSON) -> list[str]:
    """Return options with the labels that a schema wants, as "A. "; none where it wants no such labels."""
    import jsonschema

    labelled = [f"{letter}. {text}" for letter, text in zip(string.ascii_uppercase, texts, strict=False)]
    relaxed = without_most(schema)
    if not isinstance(relaxed, Mapping):
        return []
    validator = jsonschema.Draft202012Validator(relaxed)
    return labelled if validator.is_valid(labelled) and not validator.is_valid(list(texts)) else []


def _recipe(output: str, where: str) -> dict[str, JSON]:
    """Split "Ingredients: ... Steps: ..." into two lists; a step's heading and its lines become one item."""
    found = re.search(
        r"^[^\n]*ingredients:?[ \t]*$(?P<ingredients>.*?)"
        r"^[^\n]*(?:steps|directions|preparation|instructions):?[ \t]*$(?P<steps>.*)",
        output,
        re.IGNORECASE | re.MULTILINE | re.DOTALL,
    )
    if not found:
        raise InputError(f"{where}, field Output: expected a line 'Ingredients:' and after it a line 'Steps:'.")
    ingredients = [_BULLET.sub("", line).strip() for line in found["ingredients"].split("\n") if line.strip()]
    steps: list[str] = []
    for line in filter(str.strip, found["steps"].split("\n")):
        if re.match(r"\s*\d+[.)]\s+", line) or not steps:
            steps.append(_BULLET.sub("", line).strip())
        else:
            steps[-1] += " " + _BULLET.sub("", line).strip()
    return {"ingredients": list(ingredients), "steps": list(steps)}
