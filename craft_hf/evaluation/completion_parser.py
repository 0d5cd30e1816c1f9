"""Parsing of a task's completions, which tells whether an answer follows the task's format.

The completion template is rendered with a marker in place of each value, and the result becomes a regular expression
with a group for each marker. A list is rendered with two markers; the text between them, such as a line break and "- ",
separates any number of entries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import jinja2
import jsonschema

from craft_hf.base import JSON, InputError
from craft_hf.quality import broken_rule
from craft_hf.tasks import Task

_MARKER = re.compile("\0(\\w+)\\.(\\d)\0")


class CompletionParser:
    """Parses completions of a task into fields, and checks these against the task's schema and rules.

    Args:
        task: its completion template must render each field once and unchanged, a list entry by entry.

    Raises:
        InputError: the template cannot be inverted, or does not parse the task's own few-shots.
    """

    def __init__(self, task: Task) -> None:
        properties = task.schema["properties"]
        assert isinstance(properties, Mapping)
        lists = {k for k, v in properties.items() if isinstance(v, Mapping) and v.get("type") == "array"}
        with_markers: dict[str, JSON] = {
            name: [f"\0{name}.0\0", f"\0{name}.1\0"] if name in lists else f"\0{name}.0\0" for name in task.fields
        }
        try:
            rendered = task.completion(with_markers)
        except jinja2.TemplateError as e:
            raise InputError(f"the completion template of {task.name} cannot be parsed back into fields: {e}.") from e
        try:
            self._pattern, self._separators = _pattern(rendered, lists)
        except re.error as e:  # a field occurs twice
            raise InputError(f"the completion template of {task.name} cannot be parsed back into fields: {e}.") from e
        names = set(self._pattern.groupindex) & set(properties)
        self._schema = jsonschema.Draft202012Validator(
            {"type": "object", "properties": {name: properties[name] for name in names}}
        )
        self._rules = replace(
            task,
            min_chars={k: v for k, v in task.min_chars.items() if k in names},
            ends={k: v for k, v in task.ends.items() if k in names},
            forbids={k: v for k, v in task.forbids.items() if k in names},
            options_field="",
        )
        for shot in task.few_shots:
            if not names or self.parse(task.completion(shot.sample)) != {name: shot.sample.get(name) for name in names}:
                raise InputError(
                    f"the completion template of {task.name} cannot be parsed back into fields: few-shot {shot.id} "
                    "comes back with other values."
                )

    def parse(self, text: str) -> Mapping[str, JSON] | None:
        """Return the fields of a completion, or None where the text does not match the template."""
        found = self._pattern.fullmatch("\n".join(line.rstrip() for line in text.strip().split("\n")))
        if found is None:
            return None
        fields: dict[str, JSON] = dict(found.groupdict())
        for name, separator in self._separators.items():
            fields[name] = list(separator.split(found[name]))
        return fields

    def problem(self, text: str) -> str:
        """Return why an answer does not follow the task's format, or "" where it does."""
        fields = self.parse(text)
        if fields is None:
            return "does not match the completion template"
        error = min(self._schema.iter_errors(fields), key=lambda e: list(map(str, e.path)), default=None)
        if error is not None:
            return f"{'.'.join(map(str, error.path))}: violates the schema ({error.validator})"
        return broken_rule(self._rules, fields)


def _pattern(rendered: str, lists: set[str]) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
    """Return the pattern of a completion, with a group for each field, and that of the text between list entries."""
    parts = _MARKER.split(rendered)
    literals, names = parts[0::3], parts[1::3]
    pattern, separators = _literal(literals[0]), dict[str, re.Pattern[str]]()
    place = 0
    while place < len(names):
        name = names[place]
        if name in lists and name in names[place + 1 : place + 2]:
            between = _literal(literals[place + 1])
            separators[name] = re.compile(between)
            pattern += f"(?P<{name}>[^\\n]+?(?:{between}[^\\n]+?)*)"
            place += 2
        else:
            pattern += f"(?P<{name}>.+?)"
            place += 1
        pattern += _literal(literals[place])
    return re.compile(pattern, re.DOTALL), separators


def _literal(text: str) -> str:
    """Return the pattern of a literal part of the template, in which any number matches, as in "1." before a step."""
    return re.sub(r"\d+", r"\\d+", re.escape(text))
