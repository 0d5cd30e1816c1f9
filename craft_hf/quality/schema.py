"""Is the answer whole, is it JSON, and does it follow the task's schema?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import jsonschema

from craft_hf.base import JSON, Answer, Verdict

_SURROGATE = re.compile("[\ud800-\udfff]")


class SchemaCheck:
    """Parses an answer and checks it against a JSON Schema."""

    def __init__(self, schema: Mapping[str, JSON]) -> None:
        self._validator = jsonschema.Draft202012Validator(schema)

    def check(self, answer: Answer) -> tuple[Mapping[str, JSON], Verdict]:
        """Return the sample's fields and the verdict; an answer cut by the token limit is named so."""
        if answer.finish_reason == "prompt_too_long":
            return {}, Verdict("context", False, "prompt too long for the model's context", float(answer.prompt_tokens))
        if answer.finish_reason == "length":
            return {}, Verdict("schema", False, "cut by the limit of new tokens", float(answer.completion_tokens))
        if answer.finish_reason == "overlong":
            reason = "given up: a text longer than the schema allows"
            return {}, Verdict("schema", False, reason, float(answer.completion_tokens))
        try:
            fields = json.loads(_unfenced(answer.text))
        except (ValueError, RecursionError):
            return {}, Verdict("schema", False, "no valid JSON")
        if not isinstance(fields, dict):
            return {}, Verdict("schema", False, "no JSON object")
        if reason := _unwritable(fields):
            return {}, Verdict("schema", False, reason)
        error = min(self._validator.iter_errors(fields), key=lambda e: list(map(str, e.path)), default=None)
        if error is not None:
            where = ".".join(map(str, error.path)) or "sample"
            return fields, Verdict("schema", False, f"{where}: against the schema ({error.validator})")
        return fields, Verdict("schema", True)


def _unwritable(value: JSON) -> str:
    """Say why no dataset can hold a value that is valid JSON; "" if it can."""
    if isinstance(value, str):
        return "" if value.isascii() or not _SURROGATE.search(value) else "half a character (a lone surrogate)"
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**63 else "a whole number beyond 64 bits"
    if isinstance(value, Mapping):
        return next(filter(None, map(_unwritable, [*value.keys(), *value.values()])), "")
    return next(filter(None, map(_unwritable, value)), "") if isinstance(value, list) else ""


def _unfenced(text: str) -> str:
    """Take the JSON out of a Markdown code fence, which models without constrained decoding like to put around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text.split("\n", 1)[1].removesuffix("```")
    return text
