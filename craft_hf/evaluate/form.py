"""Is an answer in the task's format? A text comes in, the fields that the completion template made it of go out.

The template is turned round: rendered with marks in place of values, what stands between the marks becomes a regular
expression. Of "- {mark}" and "- {mark}" on two lines comes any number of lines that begin with "- ".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import jinja2
import jsonschema

from craft_hf.base import JSON, InputError
from craft_hf.quality import WellFormedCheck
from craft_hf.tasks import Task

_MARK = re.compile("\0(\\w+)\\.(\\d)\0")


class Form:
    """Reads a task's completions back, and checks their fields by the task's schema and rules.

    Args:
        task: its completion template shows each field once: as it is, or, for a list, one entry after the other.

    Raises:
        InputError: the template is of another kind.
    """

    def __init__(self, task: Task) -> None:
        properties = task.schema["properties"]
        assert isinstance(properties, Mapping)
        lists = {k for k, v in properties.items() if isinstance(v, Mapping) and v.get("type") == "array"}
        marked: dict[str, JSON] = {
            name: [f"\0{name}.0\0", f"\0{name}.1\0"] if name in lists else f"\0{name}.0\0" for name in task.fields
        }
        try:
            rendered = task.completion(marked)
        except jinja2.TemplateError as e:
            raise InputError(f"the completion template of {task.name} cannot be read back: {e}.") from e
        try:
            self._pattern, self._separators = _pattern(rendered, lists)
        except re.error as e:  # a field that stands twice
            raise InputError(f"the completion template of {task.name} cannot be read back: {e}.") from e
        names = set(self._pattern.groupindex) & set(properties)
        self._schema = jsonschema.Draft202012Validator(
            {"type": "object", "properties": {name: properties[name] for name in names}}
        )
        self._rules = WellFormedCheck(
            replace(
                task,
                min_chars={k: v for k, v in task.min_chars.items() if k in names},
                ends={k: v for k, v in task.ends.items() if k in names},
                forbids={k: v for k, v in task.forbids.items() if k in names},
                options_field="",
            )
        )
        for shot in task.few_shots:
            if not names or self.read(task.completion(shot.sample)) != {name: shot.sample[name] for name in names}:
                raise InputError(f"the completion template of {task.name} cannot be read back: see few-shot {shot.id}.")

    def read(self, text: str) -> Mapping[str, JSON] | None:
        """Return the fields that a text is made of, or None if the template cannot have made it."""
        found = self._pattern.fullmatch("\n".join(line.rstrip() for line in text.strip().splitlines()))
        if found is None:
            return None
        fields: dict[str, JSON] = dict(found.groupdict())
        for name, separator in self._separators.items():
            fields[name] = list(separator.split(found[name]))
        return fields

    def problem(self, text: str) -> str:
        """Say why an answer is not in the format; "" if it is."""
        fields = self.read(text)
        if fields is None:
            return "not as the completion template writes it"
        error = min(self._schema.iter_errors(fields), key=lambda e: list(map(str, e.path)), default=None)
        if error is not None:
            return f"{'.'.join(map(str, error.path))}: against the schema ({error.validator})"
        return self._rules.check(fields).reason


def _pattern(rendered: str, lists: set[str]) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
    """Return the expression that reads a whole text, with a group for each field, and what separates lists' entries."""
    parts = _MARK.split(rendered)
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
    """The expression of a text of the template, in which a number, as of a step, may be any other."""
    return re.sub(r"\d+", r"\\d+", re.escape(text))
