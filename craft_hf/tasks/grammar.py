"""What engines are asked to hold answers to: a task's JSON Schema, with patterns that mean the same in all of them.

JSON Schema's `pattern` may match anywhere in a text, and knows nothing of how the text is written. Engines make a
grammar of it that is matched with the whole text as it stands in the JSON: an unanchored pattern leaves one character,
and "." runs over the quotation mark that ends the text (llama.cpp). So patterns are anchored, and what stands for any
character leaves out the two that JSON escapes. What an engine cannot hold, the check of finished answers sees to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeGuard

from craft_hf.base import JSON

_VALUES = ("enum", "const", "default", "examples")
"""Keywords that hold values, and no schemas."""

_ANY = r'[^"\\]'
_NOT = {r"\S": r"\s", r"\W": r"\w", r"\D": r"\d"}
_PART = re.compile(r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[:=!<a-zA-Z]*|.", re.DOTALL)
_UNSUPPORTED = {
    "a look-around": re.compile(r"\(\?<?[=!]"),
    "a named group or an inline flag": re.compile(r"\(\?[^:]"),
    "a word boundary": re.compile(r"\\[bBAZ]"),
    "a Unicode class": re.compile(r"\\[pP]"),
    "a reference to a group": re.compile(r"\\[1-9]"),
}


def engine_schema(schema: JSON) -> JSON:
    """Return a JSON Schema whose patterns are `engine_pattern`'s, at any depth."""
    if isinstance(schema, Mapping):
        return {
            name: engine_pattern(value)
            if name == "pattern" and isinstance(value, str)
            else value
            if name in _VALUES
            else engine_schema(value)
            for name, value in schema.items()
        }
    return [engine_schema(part) for part in schema] if _is_list(schema) else schema


def without_keywords(schema: JSON, keywords: Sequence[str]) -> JSON:
    """Return a JSON Schema without some keywords, at any depth; a property that is called like one of them stays."""
    if isinstance(schema, Mapping):
        kept = {name: value for name, value in schema.items() if name not in keywords}
        return {
            name: {key: without_keywords(part, keywords) for key, part in value.items()}
            if name in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, Mapping)
            else value
            if name in _VALUES
            else without_keywords(value, keywords)
            for name, value in kept.items()
        }
    return [without_keywords(part, keywords) for part in schema] if _is_list(schema) else schema


def engine_pattern(pattern: str) -> str:
    """Return a pattern that matches whole texts, as they stand in JSON, where the given one matches somewhere in them.

    Raises:
        ValueError: it holds what no engine's grammar can, such as a look-ahead.
    """
    branches: list[list[str]] = [[]]
    depth = 0
    for part in _PART.findall(pattern):
        for what, regex in _UNSUPPORTED.items():
            if regex.match(part):
                raise ValueError(f"{what} ({part})")
        depth += part.startswith("(") - (part == ")")
        if part == "|" and not depth:
            branches.append([])
        else:
            branches[-1].append(part)
    anchored = [_anchored(branch) for branch in branches]
    return f"^{anchored[0]}$" if len(anchored) == 1 else f"^(?:{'|'.join(anchored)})$"


def _anchored(parts: Sequence[str]) -> str:
    """Return one alternative, without anchors, for whole texts."""
    start, end = parts[:1] == ["^"], parts[-1:] == ["$"]
    inner = "".join(map(_excluding_escapes, parts[start : len(parts) - end]))
    return ("" if start else f"{_ANY}*") + inner + ("" if end else f"{_ANY}*")


def _excluding_escapes(part: str) -> str:
    """Return a part of a pattern that does not match quotation marks and backslashes unless it names them."""
    if part == ".":
        return _ANY
    if part in _NOT:
        return rf'[^{_NOT[part]}"\\]'
    if part.startswith("[^"):
        inner = part[2:-1]
        missing = ('"' if '"' not in inner else "") + (r"\\" if r"\\" not in inner else "")
        return f"[^{missing}{inner}]"
    return part


def check_patterns(schema: JSON, fault: Callable[[str], Exception]) -> None:
    """Refuse patterns that no engine can hold an answer to.

    Args:
        schema: JSON Schema.
        fault: makes the error to raise of what is wrong.
    """
    for pattern in _patterns(schema):
        try:
            engine_pattern(pattern)
        except ValueError as e:
            raise fault(
                f"the pattern {pattern!r} holds {e}, which no grammar for constrained decoding can; write it without, "
                "or leave it to a check of the task (see docs/checks.md)"
            ) from None


def _patterns(schema: JSON) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name == "pattern" and isinstance(value, str):
                yield value
            elif name not in _VALUES:
                yield from _patterns(value)
    elif _is_list(schema):
        for part in schema:
            yield from _patterns(part)


def _is_list(value: JSON) -> TypeGuard[Sequence[JSON]]:
    return isinstance(value, Sequence) and not isinstance(value, str)
