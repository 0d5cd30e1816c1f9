"""What engines are asked to hold answers to: a task's JSON Schema, with patterns that mean the same in all of them.

JSON Schema's `pattern` may match anywhere in a text, and knows nothing of how the text is written. Engines make a
grammar of it that is matched with the whole text as it stands in the JSON: an unanchored pattern leaves one character,
and "." runs over the quotation mark that ends the text (llama.cpp). So patterns are anchored, and what stands for any
character leaves out the two that JSON escapes. What an engine cannot hold, the check of finished answers sees to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from craft_hf.base import JSON

_VALUES = ("enum", "const", "default", "examples")
"""Keywords that hold values, and no schemas."""

_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
"""Keywords that hold schemas by names, which may be those of keywords."""

_ANY = r'[^"\\\n]'
_NOT = {r"\S": r'[^\s"\\]', r"\W": r'[^\w"\\]', r"\D": r'[^\d"\\]'}
_PART = re.compile(r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?:|\(\?.?.?|.", re.DOTALL)
_IN_CLASS = re.compile(r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.|.", re.DOTALL)
_UNSUPPORTED = {
    "a look-around": re.compile(r"\(\?<?[=!]"),
    "a named group, an inline flag or the like": re.compile(r"\(\?[^:]|\(\?$"),
    "a word boundary": re.compile(r"\\[bBAZz]"),
    "a Unicode class": re.compile(r"\\[pP]"),
    "a reference to a group": re.compile(r"\\[1-9]"),
}
_ESCAPED_IN_JSON = re.compile(r'["\\\x00-\x1f]')


class _NotWritable(ValueError):
    """A pattern that matches what JSON escapes, or of which no grammar for whole texts can be made."""


def map_schemas(schema: JSON, change: Callable[[Mapping[str, JSON]], JSON]) -> JSON:
    """Return a JSON Schema in which each schema, also those inside of others, is what a function makes of it.

    A property that is called like a keyword is none, and values, such as those of enum, are no schemas.
    """
    if isinstance(schema, Mapping):
        return change(
            {
                name: {key: map_schemas(part, change) for key, part in value.items()}
                if name in _SCHEMAS and isinstance(value, Mapping)
                else value
                if name in _VALUES
                else map_schemas(value, change)
                for name, value in schema.items()
            }
        )
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        return [map_schemas(part, change) for part in schema]
    return schema


def engine_schema(schema: JSON) -> JSON:
    """Return a JSON Schema whose patterns are `engine_pattern`'s, at any depth; those that cannot be written are left
    out: the check of finished answers sees to them.
    """
    return map_schemas(schema, _with_engine_pattern)


def _with_engine_pattern(schema: Mapping[str, JSON]) -> JSON:
    if not isinstance(pattern := schema.get("pattern"), str):
        return schema
    try:
        return {**schema, "pattern": engine_pattern(pattern)}
    except ValueError:
        return {name: value for name, value in schema.items() if name != "pattern"}


def without_keywords(schema: JSON, keywords: Sequence[str]) -> JSON:
    """Return a JSON Schema without some keywords, at any depth; a property that is called like one of them stays."""
    return map_schemas(schema, lambda part: {name: value for name, value in part.items() if name not in keywords})


def engine_pattern(pattern: str) -> str:
    """Return a pattern that matches whole texts, as they stand in JSON, where the given one matches somewhere in them.

    Raises:
        ValueError: it holds what no engine's grammar can, such as a look-ahead; or it names what JSON escapes, or has
            an anchor inside of a group.
    """
    branches: list[list[str]] = [[]]
    depth = 0
    for part in _parts(pattern):
        depth += part.startswith("(") - (part == ")")
        if part == "|" and not depth:
            branches.append([])
        else:
            branches[-1].append(part)
    anchored = [_anchored(branch) for branch in branches]
    return f"^{anchored[0]}$" if len(anchored) == 1 else f"^(?:{'|'.join(anchored)})$"


def _parts(pattern: str) -> list[str]:
    """Split a pattern into characters, escapes, classes and brackets.

    Raises:
        ValueError: one of them is what no grammar can.
    """
    parts = _PART.findall(pattern)
    for part in parts:
        for what, regex in _UNSUPPORTED.items():
            if regex.match(part):
                raise ValueError(f"{what} ({part})")
    return parts


def _anchored(parts: Sequence[str]) -> str:
    """Return one alternative, without anchors, for whole texts."""
    start, end = parts[:1] == ["^"], parts[-1:] == ["$"]
    inner = parts[start : len(parts) - end]
    if "^" in inner or "$" in inner:
        raise _NotWritable("an anchor inside of the pattern")
    written = "".join(map(_excluding_escapes, inner))
    return ("" if start else f"{_ANY}*") + written + ("" if end else f"{_ANY}*")


def _excluding_escapes(part: str) -> str:
    """Return a part of a pattern that matches neither quotation marks nor backslashes."""
    if part == ".":
        return _ANY
    if part in _NOT:
        return _NOT[part]
    if part.startswith("["):
        return _class(part)
    if _ESCAPED_IN_JSON.fullmatch(part) or part in (r"\"", "\\\\", r"\n", r"\r", r"\t", r"\f", r"\v", r"\0"):
        raise _NotWritable(f"{part} is escaped in JSON")
    return part


def _class(part: str) -> str:
    """Return a class of characters without those that JSON escapes."""
    negated = part.startswith("[^")
    inner = _IN_CLASS.findall(part[2:-1] if negated else part[1:-1])
    if inner[:1] == ["]"]:
        inner[0] = r"\]"
    if inner[-1:] == ["-"]:
        inner[-1] = r"\-"
    if negated:
        return "[^" + "".join(inner) + '"' + "\\\\]"
    if re.search(part, '"') or re.search(part, "\\"):
        raise _NotWritable(f"{part} holds what is escaped in JSON")
    return "[" + "".join(inner) + "]"


def check_patterns(schema: JSON, fault: Callable[[str], Exception]) -> None:
    """Refuse patterns that no engine can hold an answer to.

    Args:
        schema: JSON Schema.
        fault: makes the error to raise of what is wrong.
    """

    def check(part: Mapping[str, JSON]) -> JSON:
        try:
            _parts(pattern if isinstance(pattern := part.get("pattern"), str) else "")
        except ValueError as e:
            raise fault(
                f"the pattern {pattern!r} holds {e}, which no grammar for constrained decoding can; write it without, "
                "or leave it to a check of the task (see docs/checks.md)"
            ) from None
        return part

    map_schemas(schema, check)
