"""JSON from a server that may not know how to hold a model to a schema: ask for it, check what came, ask again.

In: a schema, and the text of an answer. Out: the request's `response_format`, the JSON object in the text, and the
turns that ask for a better one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema

from craft_hf.base import JSON

REASKS = 2
"""How often an answer that is no valid JSON is asked for again."""

RUNGS = 3
"""Forms of asking for JSON, from the strictest to none at all; see `response_format`."""

_THOUGHT = re.compile(r"(?s)\A.*</think(?:ing)?>")


def response_format(rung: int, schema: Mapping[str, JSON]) -> dict[str, Any] | None:
    """Return the form of asking for JSON of a rung of the ladder, which goes down where a server refuses.

    0 is OpenAI's form, which vLLM, SGLang and llama.cpp take as well; 1 that of llama-cpp-python ("schema") and TGI
    ("value"); 2 is none.
    """
    if rung == 0:
        return {"type": "json_schema", "json_schema": {"name": "sample", "schema": schema, "strict": True}}
    return {"type": "json_object", "schema": schema, "value": schema} if rung == 1 else None


def asked_again(
    turns: Sequence[dict[str, str]], text: str, reason: str, schema: Mapping[str, JSON]
) -> list[dict[str, str]]:
    """Append a bad answer, what is wrong with it, and the schema; what stands before, servers have in their cache."""
    wish = (
        f"This answer is not usable: {reason}. Answer again, with one JSON object and nothing else. It must be valid "
        f"under this JSON Schema:\n{json.dumps(schema)}"
    )
    return [*turns, {"role": "assistant", "content": text or "{}"}, {"role": "user", "content": wish}]


class Checker:
    """Finds the JSON object in an answer and says what is wrong with it.

    Args:
        schema: a JSON Schema of an object.
    """

    def __init__(self, schema: Mapping[str, JSON]) -> None:
        self._validator = jsonschema.Draft202012Validator(schema)
        self._decoder = json.JSONDecoder()

    def check(self, text: str) -> tuple[str, str]:
        """Return the text of the JSON object in an answer, and what is wrong with it, "" for nothing.

        Reasoning before it, a Markdown fence and words around it are taken off. Of several objects the first valid one
        counts, else the first. Where there is none, the text comes back without the reasoning.
        """
        text = text.strip()
        if not text.startswith("{"):
            text = _THOUGHT.sub("", text, count=1).strip()
        first, found, at = "", "", text.find("{")
        while at >= 0:
            try:
                value, end = self._decoder.raw_decode(text, at)
            except (ValueError, RecursionError):
                first = first or "it holds no complete JSON object"
                end = at + 1
            else:
                wrong = self._wrong(value)
                if not wrong:
                    return text[at:end], ""
                if not first:
                    first, found = wrong, text[at:end]
            at = text.find("{", end)
        return found or text, first or "it holds no JSON object"

    def _wrong(self, value: Any) -> str:
        error = min(self._validator.iter_errors(value), key=lambda e: list(map(str, e.path)), default=None)
        if error is None:
            return ""
        where = ".".join(map(str, error.path)) or "the object"
        return f"{where}: {error.message[:200]}"
