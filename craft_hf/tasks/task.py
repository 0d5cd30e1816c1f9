"""Tasks as data: reads and checks a folder with `task.yaml` and `few_shots.jsonl`."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_hf.base import JSON, FewShot, InputError, chat_message, fingerprint
from craft_hf.tasks.columns import COLUMNS, columns_of
from craft_hf.tasks.few_shots import read_few_shots, require_enough
from craft_hf.tasks.grammar import check_patterns
from craft_hf.tasks.multiple_choice import MultipleChoice, multiple_choice_of
from craft_hf.tasks.sample import normalized, without_most

if TYPE_CHECKING:
    import jinja2

FOLDER = Path(__file__).parent / "shipped"
NAMES = tuple(sorted(p.parent.name for p in FOLDER.glob("*/task.yaml")))
QUERY_PARTS = ("text", "prompt", "completion")

QUERY_BY_PARTS, QUERY_AS_WHOLE = QUERY_FORMS = ("parts", "whole")
"""How the parts of a few-shot make a query: with the same weight, or as one text, of which a model reads the head."""

METRICS = ("accuracy", "win_rate")


@dataclass(frozen=True)
class Key:
    """What is known of a key of task.yaml besides its name and default.

    Args:
        shape: "text", "texts" (one text stands for a list of one), "whole" (a whole number of at least 1), "mapping",
            or for a mapping from fields of the sample "texts by field", "whole by field", "shares by field" (numbers
            from 0 to 1) and "patterns by field" (names of regular expressions, and these).
        choices: the texts that are allowed.
        names_fields: whether its texts, or the keys of its mapping, are fields of the sample.
        is_template: whether it is a Jinja template over a sample's fields.
        is_rule: whether `craft-hf tasks show` lists it among the rules.
    """

    shape: str = "text"
    choices: Sequence[str] = ()
    names_fields: bool = False
    is_template: bool = False
    is_rule: bool = False

    def checked(self, name: str, value: object) -> Any:
        """Return the value as the task holds it.

        Args:
            name: of the key, for messages.
            value: as task.yaml has it.

        Raises:
            InputError: it has another shape.
        """
        if self.shape == "texts":
            if not isinstance(value, str | list):
                raise InputError(f"{name} is {value!r}, expected a text or a list of texts.")
            value = (value,) if isinstance(value, str) else tuple(value)
            _require(name, value, str, "a text")
            self._check_choices(name, value, "one or more")
            return value
        if self.shape == "whole":
            _require(name, [value], int, "a whole number")
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}, expected a whole number above 0.")
            return value
        if self.shape == "text":
            _require(name, [value], str, "a text")
            self._check_choices(name, [str(value)], "one")
            if self.is_template:
                _check_template(name, str(value))
            return value
        _require(name, [value], Mapping, "a mapping")
        assert isinstance(value, Mapping)
        parts = list(value.values())
        if self.shape in _PARTS:
            _require(name, value.keys(), str, "the name of a field")
            _require(name, parts, *_PARTS[self.shape])
        if self.shape == "shares by field" and (outside := [share for share in parts if not 0 <= share <= 1]):
            raise InputError(f"{name} has {outside[0]!r}, expected shares from 0 to 1.")
        if self.shape == "patterns by field":
            for pattern in (pattern for named in parts for pattern in named.values()):
                _check_pattern(name, pattern)
        return value

    def _check_choices(self, name: str, texts: Sequence[str], several: str) -> None:
        if self.choices and (wrong := [text for text in texts if text not in self.choices]):
            raise InputError(f"{name} is {wrong[0]!r}, expected {several} of {', '.join(self.choices)}.")

    def fields_of(self, value: Any) -> list[str]:
        """Return the fields of the sample that a value names."""
        return [name for name in ([value] if isinstance(value, str) else value) if name] if self.names_fields else []


_PARTS: Mapping[str, tuple[Any, str]] = {
    "texts by field": (str, "a text"),
    "whole by field": (int, "a whole number"),
    "shares by field": ((int, float), "a number"),
    "patterns by field": (Mapping, "a mapping"),
}


def _check_template(name: str, text: str) -> None:
    import jinja2

    try:
        _template(text)
    except (jinja2.TemplateError, RecursionError) as e:
        raise InputError(f"{name} is a broken template: {e} in {text!r}") from e


def _check_pattern(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, TypeError, OverflowError, RecursionError) as e:
        raise InputError(f"{name} has {pattern!r}, which is no regular expression: {e}") from e


def _require(name: str, values: Iterable[object], kind: type | tuple[type, ...], words: str) -> None:
    """Raise InputError for a value of another kind; true and false are no numbers."""
    if wrong := [value for value in values if isinstance(value, bool) or not isinstance(value, kind)]:
        raise InputError(f"{name}: {wrong[0]!r} stands where {words} is expected; compare with bioqa's.")


def _key(shape: str = "text", default: Any = MISSING, **more: Any) -> Any:
    metadata = {"key": Key(shape, **more)}
    if default == {}:
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to make of a document: instruction, shape of a sample, rules, and the few-shots that show it.

    The fields declared by `_key` are the keys of task.yaml; `craft-hf tasks new` writes one that explains each.

    `instructions` are alternatives of which each document gets one (csqa asks half for questions and half for
    statements). `instruction_of` is a Jinja template over a sample's fields that says which of them, counted from 1,
    asks for that sample: a few-shot is then shown with the instruction that fits it, else with the document's.
    `schema` is the JSON Schema of a sample. `query` names the parts of a few-shot that are embedded to
    retrieve documents, from "text", "prompt" and "completion". `prompt_template` and `completion_template` are Jinja
    templates over a sample's fields that give the two halves of a fine-tuning example. `min_chars` is the least length
    of a field in characters, `ends` the characters with one of which a field must end, and `forbids` what it must not
    hold: a name for each regular expression. `prose` names fields of plain sentences, which hold no markup,
    address, menu or words about the task, `cleaned` long texts that hold no rests of the page that they are from,
    and `standalone` questions that lean on no text, author or case which their reader does not have.
    `options_field` and `answer_field` name the parts of a multiple-choice sample. `grounded` names the fields that
    the document must support, each with the least share of its content words that must stand there (the answer
    field stands for the right option's text), and `own_words` those that must not be lifted from it. `test_sets`
    are the benchmarks that no sample may be taken from. `rubric` says what a judge is to score where there are no
    options to answer by. `categories` are the Hub's task categories. `checks_source` is the text of checks.py in
    the task's folder, which holds its own quality checks, "" without one, and `checks_file` where it is.
    """

    name: str = _key()
    instructions: tuple[str, ...] = _key("texts")
    schema: Mapping[str, JSON] = _key("mapping")
    prompt_template: str = _key(is_template=True)
    completion_template: str = _key(is_template=True)
    max_new_tokens: int = _key("whole")
    few_shots: tuple[FewShot, ...]
    description: str = _key(default="")
    instruction_of: str = _key(default="", is_template=True)
    query: tuple[str, ...] = _key("texts", QUERY_PARTS, choices=QUERY_PARTS)
    metric: str = _key(default=METRICS[0], choices=METRICS)
    min_chars: Mapping[str, int] = _key("whole by field", {}, names_fields=True, is_rule=True)
    ends: Mapping[str, str] = _key("texts by field", {}, names_fields=True, is_rule=True)
    forbids: Mapping[str, Mapping[str, str]] = _key("patterns by field", {}, names_fields=True, is_rule=True)
    prose: tuple[str, ...] = _key("texts", (), names_fields=True, is_rule=True)
    cleaned: tuple[str, ...] = _key("texts", (), names_fields=True, is_rule=True)
    standalone: tuple[str, ...] = _key("texts", (), names_fields=True, is_rule=True)
    options_field: str = _key(default="", names_fields=True, is_rule=True)
    answer_field: str = _key(default="", names_fields=True, is_rule=True)
    grounded: Mapping[str, float] = _key("shares by field", {}, names_fields=True, is_rule=True)
    own_words: tuple[str, ...] = _key("texts", (), names_fields=True, is_rule=True)
    test_sets: tuple[str, ...] = _key("texts", (), is_rule=True)
    rubric: str = _key(default="")
    categories: tuple[str, ...] = _key("texts", ())
    language: str = _key(default="en")
    checks_source: str = ""
    checks_file: str = ""

    def prompt(self, sample: Mapping[str, JSON]) -> str:
        """Return what the fine-tuned model will be asked, for one sample; an optional field without a value is None.

        Raises:
            jinja2.TemplateError: the template does not fit the sample.
        """
        return self._render(self.prompt_template, sample)

    def completion(self, sample: Mapping[str, JSON]) -> str:
        """Return what the fine-tuned model should answer, for one sample; see `prompt`."""
        return self._render(self.completion_template, sample)

    def instruction(self, sample: Mapping[str, JSON]) -> str | None:
        """Return the instruction that asks for a sample, or None where the task does not tell them apart.

        Raises:
            InputError: `instruction_of` gives something else than the number of an instruction.
            jinja2.TemplateError: the template does not fit the sample.
        """
        if not self.instruction_of:
            return None
        number = self._render(self.instruction_of, sample)
        if number not in map(str, range(1, len(self.instructions) + 1)):
            raise InputError(f"instruction_of gives {number!r}, expected a number from 1 to {len(self.instructions)}.")
        return self.instructions[int(number) - 1]

    def _render(self, template: str, sample: Mapping[str, JSON]) -> str:
        import jinja2

        optional = {name: None for name in self.fields if name not in self.required}
        try:
            return _template(template).render(**{**optional, **sample}).strip()
        except jinja2.TemplateError:
            raise
        except Exception as e:  # whatever an expression in it raises
            raise jinja2.TemplateRuntimeError(f"{type(e).__name__}: {e}") from e

    def sample(self, values: Mapping[str, JSON]) -> dict[str, JSON]:
        """Return the sample in a row of a dataset, or in what else holds its fields, in its one form.

        See `normalized`; other columns are left out.
        """
        return normalized({name: values[name] for name in self.fields if name in values}, self.schema)

    def conversation(self, sample: Mapping[str, JSON]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        """Return prompt and completion of a sample as turns, in whose texts chat markers are broken up.

        Raises:
            jinja2.TemplateError: see `prompt`.
        """
        return [chat_message("user", self.prompt(sample))], [chat_message("assistant", self.completion(sample))]

    def sample_id(self, document_id: str, sample: Mapping[str, JSON]) -> str:
        """Return what stands for a sample wherever it comes up: its document and what it says.

        The order of options, which changes with what else is kept, and their labels make no difference.
        """
        said, choices = dict(sample), self.multiple_choice
        if choices and choices.options_field in said:
            options = choices.read(said)
            answer = said.get(choices.answer_field) if options.right is None else [options.right_text]
            said |= {choices.options_field: sorted(options.texts), choices.answer_field: answer}
        return fingerprint([document_id, said])

    def answer_name(self, sample: Mapping[str, JSON]) -> str:
        """Return a sample's answer as it is counted: the right option's label, or else the answer itself."""
        return self.multiple_choice.name_of(sample) if self.multiple_choice else str(sample.get(self.answer_field))

    def query_parts(self, few_shot: FewShot) -> list[str]:
        """Return the texts that stand for a few-shot in retrieval: by default all of it, as in the paper."""
        parts = {
            "text": few_shot.text,
            "prompt": self.prompt(few_shot.sample),
            "completion": self.completion(few_shot.sample),
        }
        return [parts[name] for name in self.query]

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of a sample's fields, in the order in which the model writes them."""
        properties = self.schema["properties"]
        assert isinstance(properties, Mapping)
        return tuple(properties)

    @cached_property
    def required(self) -> frozenset[str]:
        """Names of the fields that every sample has; of the others, absent and null are the same."""
        required = self.schema.get("required")
        return frozenset(map(str, required)) if isinstance(required, list | tuple) else frozenset()

    @cached_property
    def multiple_choice(self) -> MultipleChoice | None:
        """How samples hold options and answer, None for a task without."""
        return multiple_choice_of(self.schema, self.options_field, self.answer_field)

    @cached_property
    def of_people(self) -> Task:
        """The task as few-shots are held to it: without the lengths and last characters that only models miss."""
        schema = without_most(self.schema)
        assert isinstance(schema, Mapping)
        return replace(self, schema=schema, min_chars={}, ends={})

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything in the task that decides which rows come out, few-shots included."""
        plain = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("few_shots", "description", "checks_file")
        }
        return fingerprint(
            {**plain, "schema": json.dumps(self.schema), "few_shots": [f.__dict__ for f in self.few_shots]}
        )


TASK_KEYS: Mapping[str, Key] = {f.name: f.metadata["key"] for f in fields(Task) if "key" in f.metadata}
"""The keys of task.yaml."""


@cache
def _jinja() -> jinja2.Environment:
    import jinja2.sandbox

    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: "" if value is None else value,
    )


@cache
def _template(text: str) -> jinja2.Template:
    """A compiled template; compiling takes longer than using it."""
    return _jinja().from_string(text)


def load_task(name_or_path: str, few_shots: str | None = None) -> Task:
    """Load a task that craft_hf ships by its name, or a user's own by the path of its folder.

    Args:
        name_or_path: one of `NAMES`, or a folder that holds `task.yaml` and `few_shots.jsonl`.
        few_shots: a JSONL file to use in place of the task's own few-shots, in the project's format (text, sample) or
            in that of the CRAFT authors (Text, Instruction, Output).

    Raises:
        InputError: no such task, `task.yaml` is broken or incomplete, or a few-shot does not follow the schema.
    """
    import jinja2

    folder = FOLDER / name_or_path if name_or_path in NAMES else Path(name_or_path)
    if not (folder / "task.yaml").is_file():
        raise InputError(_unknown(name_or_path, folder))
    task = _parse(folder / "task.yaml")
    path = Path(few_shots) if few_shots else folder / "few_shots.jsonl"
    shots = read_few_shots(path, task.name, task.schema, task.multiple_choice)
    require_enough(shots, path)
    for shot in shots:
        try:
            task.prompt(shot.sample), task.completion(shot.sample), task.instruction(shot.sample)
        except (jinja2.TemplateError, InputError) as e:
            raise InputError(f"{folder / 'task.yaml'}: a template does not fit few-shot {shot.id}: {e}") from e
    checks = folder / "checks.py"
    if not checks.exists():
        return replace(task, few_shots=shots)
    try:
        source = checks.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{checks} cannot be read: {e}; expected Python with the task's own checks.") from e
    return replace(task, few_shots=shots, checks_source=source, checks_file=str(checks))


def _unknown(name: str, folder: Path) -> str:
    if folder.is_dir():
        return f"the task folder {folder} holds no task.yaml; see craft_hf/tasks/shipped/bioqa for a complete one."
    near = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return (
        f"there is no task {name!r}.{hint} Tasks: {', '.join(NAMES)}; "
        "or pass the path of a folder with task.yaml and few_shots.jsonl."
    )


def _parse(path: Path) -> Task:
    """Read and check `task.yaml`; the few-shots come after it."""
    from craft_hf.base import load_yaml

    try:
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8"))  # as samples are
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"{path} cannot be read: {e}; expected a text in UTF-8.") from e
    data, lines = load_yaml(text, path)
    if not isinstance(data, dict):
        raise InputError(f"{path} holds {type(data).__name__}, expected a mapping with name, instructions, schema, ...")
    if unknown := [name for name in data if name not in TASK_KEYS]:
        raise InputError(f"{path}: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(TASK_KEYS))}.")
    required = [f.name for f in fields(Task) if f.name in TASK_KEYS and f.default is f.default_factory is MISSING]
    if missing := sorted(set(required) - set(data)):
        raise InputError(
            f"{path}: missing {', '.join(missing)}; see craft_hf/tasks/shipped/bioqa/task.yaml for an example."
        )
    for name, value in data.items():
        try:
            data[name] = TASK_KEYS[name].checked(name, value)
        except InputError as e:
            raise InputError(f"{path}, line {lines[name]}: {e}") from e
    task = Task(**data, few_shots=())
    _check(task, path)
    return task


def _check(task: Task, path: Path) -> None:
    """Raise InputError for what no key alone can tell."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", task.name):
        raise InputError(
            f"{path}: name {task.name!r} must be letters, digits, '_' and '-' (it becomes a folder's name)."
        )
    import jsonschema

    try:
        problem = (
            "" if json.loads(json.dumps(task.schema, allow_nan=False)) == task.schema else "a name in it is no text"
        )
    except (TypeError, ValueError) as e:
        problem = str(e)
    if problem:
        raise InputError(
            f"{path}: schema is no JSON: {problem}; quote what YAML takes for something else ('2020-01-01', 'yes')."
        )
    try:
        jsonschema.Draft202012Validator.check_schema(task.schema)
    except jsonschema.SchemaError as e:
        raise InputError(f"{path}: schema is not a valid JSON Schema: {e.message}") from e
    _check_references(task.schema, path)
    check_patterns(task.schema, lambda what: InputError(f"{path}: {what}."))
    properties = task.schema.get("properties")
    if task.schema.get("type") != "object" or not isinstance(properties, Mapping) or not properties:
        raise InputError(f"{path}: schema must have type: object and a non-empty properties mapping.")
    if taken := [name for name in properties if name in COLUMNS]:
        raise InputError(
            f"{path}: field {taken[0]!r} has the name of a column that every row has beside the task's fields; rename "
            f"it in schema, templates, rules and few-shots (taken are {', '.join(COLUMNS)})."
        )
    try:
        columns_of(task.schema)
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
    if not task.instructions or not all(instruction.strip() for instruction in task.instructions):
        raise InputError(f"{path}: instructions must be a text, or a list of texts of which each document gets one.")
    if not task.query:
        raise InputError(f"{path}: query is empty, expected one or more of {', '.join(QUERY_PARTS)}.")
    for name in (name for key, known in TASK_KEYS.items() for name in known.fields_of(getattr(task, key))):
        if name not in properties:
            raise InputError(f"{path}: field {name!r} is not in the schema; its fields: {', '.join(properties)}.")
    for name in filter(None, (task.options_field, task.answer_field)):
        if name not in task.required:
            raise InputError(f"{path}: field {name!r} must be listed under required in the schema.")


def _check_references(schema: Mapping[str, JSON], path: Path) -> None:
    """Raise InputError for a $ref that leads to nothing in the schema; what is elsewhere is not fetched."""
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    whole = DRAFT202012.create_resource(schema)
    parts = [(whole, Registry().resolver_with_root(whole))]
    for part, resolver in parts:
        found = part.contents if isinstance(part.contents, Mapping) else {}
        for reference in (found[key] for key in ("$ref", "$dynamicRef") if key in found):
            try:
                resolver.lookup(reference)
            except Unresolvable as e:
                raise InputError(
                    f"{path}: schema refers to {reference!r}, which it does not hold; write it under $defs "
                    "(`$ref: '#/$defs/name'`), or in place of the reference."
                ) from e
        parts += [(inner, resolver.in_subresource(inner)) for inner in part.subresources()]
