"""JSON answers from servers, whether or not they constrain a model to a schema.

The request asks for JSON in the strictest mode that the server accepts; the answer is parsed and checked against the
schema; an invalid answer is asked for again, with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import jsonschema

from craft_hf.base import JSON
from craft_hf.tasks import DECODER

MAX_REASKS = 2
"""How often an answer that is not valid JSON of the schema is asked for again."""

_REASONING = re.compile(r"(?s)\A.*</think(?:ing)?>")


class JsonMode(IntEnum):
    """Ways to ask a server for JSON, strictest first; a server that refuses one is sent the next."""

    JSON_SCHEMA = 0
    """OpenAI's form, which vLLM, SGLang and llama.cpp accept as well."""
    JSON_OBJECT = 1
    """With the schema as llama-cpp-python ("schema") and TGI ("value") take it."""
    NONE = 2
    """No response_format."""


def response_format(mode: JsonMode, schema: Mapping[str, JSON]) -> dict[str, Any] | None:
    """Return the request's `response_format` in a mode; None for `JsonMode.NONE`."""
    if mode == JsonMode.JSON_SCHEMA:
        return {"type": "json_schema", "json_schema": {"name": "sample", "schema": schema, "strict": True}}
    return {"type": "json_object", "schema": schema, "value": schema} if mode == JsonMode.JSON_OBJECT else None


def reask_messages(
    messages: Sequence[dict[str, str]], text: str, reason: str, schema: Mapping[str, JSON]
) -> list[dict[str, str]]:
    """Append an invalid answer, and a turn that asks for a valid one.

    The new turns come last so that the server finds all earlier ones in its prefix cache.

    Args:
        messages: the conversation that was answered.
        text: the invalid answer.
        reason: why it is invalid.
        schema: JSON Schema of an answer.
    """
    request = (
        f"This answer is not usable: {reason}. Answer again, with one JSON object and nothing else. It must be valid "
        f"under this JSON Schema:\n{json.dumps(schema)}"
    )
    return [*messages, {"role": "assistant", "content": text or "{}"}, {"role": "user", "content": request}]


class AnswerParser:
    """Finds the JSON object in an answer and validates it.

    Args:
        schema: a JSON Schema of an object.
    """

    def __init__(self, schema: Mapping[str, JSON]) -> None:
        self._validator = jsonschema.Draft202012Validator(schema)

    def parse(self, text: str) -> tuple[str, str]:
        """Return the text of the JSON object in an answer, and why it is invalid ("" if it is valid).

        Reasoning, a Markdown fence and words around the object are removed. Of several objects the first valid one is
        returned, else the first one. An answer without an object is returned whole, without the reasoning.
        """
        text = text.strip()
        if not text.startswith("{"):
            text = _REASONING.sub("", text, count=1).strip()
        first_error, first_object, start = "", "", text.find("{")
        while start >= 0:
            try:
                value, end = DECODER.raw_decode(text, start)
            except ValueError as e:
                broken = isinstance(e, json.JSONDecodeError)
                first_error = first_error or ("it holds no complete JSON object" if broken else str(e))
                end = start + 1
            else:
                error = self._error(value)
                if not error:
                    return text[start:end], ""
                if not first_error:
                    first_error, first_object = error, text[start:end]
            start = text.find("{", end)
        return first_object or text, first_error or "it holds no JSON object"

    def _error(self, value: Any) -> str:
        error = min(self._validator.iter_errors(value), key=lambda e: list(map(str, e.path)), default=None)
        if error is None:
            return ""
        where = ".".join(map(str, error.path)) or "the object"
        return f"{where}: {error.message[:200]}"
