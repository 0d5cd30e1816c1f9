"""Tasks as data: reads and checks a folder with `task.yaml` and `few_shots.jsonl`."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path

import jinja2.sandbox
import yaml

from craft_hf.base import JSON, FewShot, InputError, fingerprint
from craft_hf.tasks.few_shots import read_few_shots, require_enough
from craft_hf.tasks.multiple_choice import MultipleChoice, multiple_choice_of
from craft_hf.tasks.sample import normalized

FOLDER = Path(__file__).parent / "shipped"
NAMES = tuple(sorted(p.parent.name for p in FOLDER.glob("*/task.yaml")))
QUERY_PARTS = ("text", "prompt", "completion")
METRICS = ("accuracy", "win_rate")

COLUMNS = (
    "is_few_shot", "document_id", "sample_id", "document", "source", "title", "url", "license", "similarity",
    "retrieved_by", "prompt_few_shots", "prompt_hash", "generator", "finish_reason", "checks", "prompt", "completion",
)  # fmt: skip
"""Columns that the rows of every dataset have beside the task's fields: no field may have such a name."""

_JINJA = jinja2.sandbox.ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    finalize=lambda value: "" if value is None else value,
)


@dataclass(frozen=True)
class Task:
    """What to make of a document: instruction, shape of a sample, rules, and the few-shots that show it.

    `instructions` are alternatives of which each document gets one (csqa asks half for questions and half for
    statements). `instruction_of` is a Jinja template over a sample's fields that says which of them, counted from 1,
    asks for that sample: a few-shot is then shown with the instruction that fits it, else with the document's.
    `schema` is the JSON Schema of a sample. `query` names the parts of a few-shot that are embedded to
    retrieve documents, from "text", "prompt" and "completion". `prompt_template` and `completion_template` are Jinja
    templates over a sample's fields that give the two halves of a fine-tuning example. `min_chars` is the least length
    of a field in characters, `ends` the characters with one of which a field must end, and `forbids` what it must not
    hold: a name for each regular expression. `options_field` and `answer_field` name the parts of a multiple-choice
    sample. `grounded` names the fields that the document must support, each with the least share of its content words
    that must stand there (the answer field stands for the right option's text), and `own_words` those that must not be
    lifted from it. `test_sets` are the benchmarks that no sample may be taken from. `rubric` says what a judge is to
    score where there are no options to answer by. `categories` are the Hub's task categories. `checks_source` is the
    text of checks.py in the task's folder, which holds its own quality checks, "" without one, and `checks_file` where
    it is.
    """

    name: str
    description: str
    instructions: tuple[str, ...]
    schema: Mapping[str, JSON]
    prompt_template: str
    completion_template: str
    max_new_tokens: int
    few_shots: tuple[FewShot, ...]
    instruction_of: str = ""
    query: tuple[str, ...] = QUERY_PARTS
    metric: str = "accuracy"
    min_chars: Mapping[str, int] = field(default_factory=dict)
    ends: Mapping[str, str] = field(default_factory=dict)
    forbids: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options_field: str = ""
    answer_field: str = ""
    grounded: Mapping[str, float] = field(default_factory=dict)
    own_words: tuple[str, ...] = ()
    test_sets: tuple[str, ...] = ()
    rubric: str = ""
    categories: tuple[str, ...] = ()
    language: str = "en"
    checks_source: str = ""
    checks_file: str = ""

    def prompt(self, sample: Mapping[str, JSON]) -> str:
        """Return what the fine-tuned model will be asked, for one sample; an optional field without a value is None."""
        return self._render(self.prompt_template, sample)

    def completion(self, sample: Mapping[str, JSON]) -> str:
        """Return what the fine-tuned model should answer, for one sample; see `prompt`."""
        return self._render(self.completion_template, sample)

    def instruction(self, sample: Mapping[str, JSON]) -> str | None:
        """Return the instruction that asks for a sample, or None where the task does not tell them apart.

        Raises:
            InputError: `instruction_of` gives something else than the number of an instruction.
        """
        if not self.instruction_of:
            return None
        number = self._render(self.instruction_of, sample)
        if number not in map(str, range(1, len(self.instructions) + 1)):
            raise InputError(f"instruction_of gives {number!r}, expected a number from 1 to {len(self.instructions)}.")
        return self.instructions[int(number) - 1]

    def _render(self, template: str, sample: Mapping[str, JSON]) -> str:
        optional = {name: None for name in self.fields if name not in self.required}
        return _template(template).render(**{**optional, **sample}).strip()

    def sample(self, values: Mapping[str, JSON]) -> dict[str, JSON]:
        """Return the sample in a row of a dataset, or in what else holds its fields, in its one form.

        See `normalized`; other columns are left out.
        """
        return normalized({name: values[name] for name in self.fields if name in values}, self.schema)

    def answer_name(self, sample: Mapping[str, JSON]) -> str:
        """Return a sample's answer as it is counted: the right option's label, or else the answer itself."""
        return self.multiple_choice.name_of(sample) if self.multiple_choice else str(sample.get(self.answer_field))

    def query_text(self, few_shot: FewShot) -> str:
        """Return the text that stands for a few-shot in retrieval: by default the whole of it, as in the paper."""
        parts = {
            "text": few_shot.text,
            "prompt": self.prompt(few_shot.sample),
            "completion": self.completion(few_shot.sample),
        }
        return "\n".join(parts[name] for name in self.query)

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


@cache
def _template(text: str) -> jinja2.Template:
    """A compiled template; compiling takes longer than using it."""
    return _JINJA.from_string(text)


def load_task(name_or_path: str, few_shots: str | None = None) -> Task:
    """Load a task that craft_hf ships by its name, or a user's own by the path of its folder.

    Args:
        name_or_path: one of `NAMES`, or a folder that holds `task.yaml` and `few_shots.jsonl`.
        few_shots: a JSONL file to use in place of the task's own few-shots, in the project's format (text, sample) or
            in that of the CRAFT authors (Text, Instruction, Output).

    Raises:
        InputError: no such task, `task.yaml` is broken or incomplete, or a few-shot does not follow the schema.
    """
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
    try:
        data = yaml.safe_load(unicodedata.normalize("NFC", path.read_text(encoding="utf-8")))  # as samples are
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise InputError(f"{path} is not valid YAML: {e}") from e
    if not isinstance(data, dict):
        raise InputError(f"{path} holds {type(data).__name__}, expected a mapping with name, instructions, schema, ...")
    known = set(Task.__dataclass_fields__) - {"few_shots", "checks_source", "checks_file"}
    required = {f.name for f in fields(Task) if f.default is MISSING and f.default_factory is MISSING}
    if unknown := sorted(set(data) - known):
        raise InputError(f"{path}: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(known))}.")
    if missing := sorted((required & known) - {"description"} - set(data)):
        raise InputError(
            f"{path}: missing {', '.join(missing)}; see craft_hf/tasks/shipped/bioqa/task.yaml for an example."
        )
    for key in ("instructions", "query", "categories", "own_words", "test_sets"):
        if key in data:
            if not isinstance(data[key], str | list):
                raise InputError(f"{path}: {key} is {data[key]!r}, expected a text or a list of texts.")
            data[key] = tuple([data[key]] if isinstance(data[key], str) else data[key])
    task = Task(**{"description": "", **data}, few_shots=())
    _check(task, path)
    return task


def _check_types(task: Task, path: Path) -> None:
    """Raise InputError for a value of another type than expected."""
    texts = (task.prompt_template, task.completion_template, task.options_field, task.answer_field, task.rubric,
             task.instruction_of)  # fmt: skip
    counts = task.min_chars.values() if isinstance(task.min_chars, Mapping) else ()
    ends = task.ends.values() if isinstance(task.ends, Mapping) else ()
    forbids = task.forbids.values() if isinstance(task.forbids, Mapping) else ()
    shares = task.grounded.values() if isinstance(task.grounded, Mapping) else ()
    checks: list[tuple[str, type | tuple[type, ...], list[object]]] = [
        ("a mapping", Mapping, [task.schema, task.min_chars, task.ends, task.grounded, task.forbids, *forbids]),
        ("a text", str, [*texts, *task.own_words, *task.test_sets, *ends]),
        ("a whole number", int, [*counts]),
        ("a number", (int, float), [*shares]),
    ]
    for words, kind, values in checks:
        if wrong := [value for value in values if not isinstance(value, kind)]:
            raise InputError(f"{path}: {wrong[0]!r} stands where {words} is expected; compare with bioqa's.")


def _check(task: Task, path: Path) -> None:
    """Raise InputError for whatever in the task cannot work later."""
    _check_types(task, path)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", str(task.name)):
        raise InputError(
            f"{path}: name {task.name!r} must be letters, digits, '_' and '-' (it becomes a folder's name)."
        )
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(task.schema)
    except jsonschema.SchemaError as e:
        raise InputError(f"{path}: schema is not a valid JSON Schema: {e.message}") from e
    properties = task.schema.get("properties")
    if task.schema.get("type") != "object" or not isinstance(properties, Mapping) or not properties:
        raise InputError(f"{path}: schema must have type: object and a non-empty properties mapping.")
    if taken := [name for name in properties if name in COLUMNS]:
        raise InputError(
            f"{path}: field {taken[0]!r} has the name of a column that every row has beside the task's fields; rename "
            f"it in schema, templates, rules and few-shots (taken are {', '.join(COLUMNS)})."
        )
    if not task.instructions or not all(isinstance(i, str) and i.strip() for i in task.instructions):
        raise InputError(f"{path}: instructions must be a text, or a list of texts of which each document gets one.")
    if not task.query or (bad := sorted(set(task.query) - set(QUERY_PARTS))):
        raise InputError(
            f"{path}: query is {list(task.query)}; expected one or more of {', '.join(QUERY_PARTS)}.{bad!s:.0}"
        )
    if task.metric not in METRICS:
        raise InputError(f"{path}: metric is {task.metric!r}, expected one of {', '.join(METRICS)}.")
    if not isinstance(task.max_new_tokens, int) or task.max_new_tokens < 1:
        raise InputError(f"{path}: max_new_tokens is {task.max_new_tokens!r}, expected a whole number above 0.")
    if outside := [share for share in task.grounded.values() if not 0 <= share <= 1]:
        raise InputError(f"{path}: grounded has {outside[0]!r}, expected shares from 0 to 1.")
    named = [*task.min_chars, *task.ends, *task.forbids, *task.grounded, *task.own_words]
    for name in [*named, *filter(None, (task.options_field, task.answer_field))]:
        if name not in properties:
            raise InputError(f"{path}: field {name!r} is not in the schema; its fields: {', '.join(properties)}.")
    required = task.schema.get("required")
    for name in filter(None, (task.options_field, task.answer_field)):
        if not isinstance(required, list) or name not in required:
            raise InputError(f"{path}: field {name!r} must be listed under required in the schema.")
    for pattern in (pattern for forbidden in task.forbids.values() for pattern in forbidden.values()):
        try:
            re.compile(pattern)
        except (re.error, TypeError) as e:
            raise InputError(f"{path}: forbids has {pattern!r}, which is no regular expression: {e}") from e
    for template in (task.prompt_template, task.completion_template, task.instruction_of):
        try:
            _JINJA.parse(template)
        except jinja2.TemplateSyntaxError as e:
            raise InputError(f"{path}: a template is broken: {e} in {template!r}") from e
