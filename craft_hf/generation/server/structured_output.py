"""JSON answers from servers, whether or not they constrain a model to a schema: how they are asked for, and again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from craft_hf.base import JSON
from craft_hf.tasks import engine_schema, without_keywords

MAX_REASKS = 2
"""How often an answer that is not valid JSON of the schema is asked for again."""

VAIN_REASKS = 16
"""Prompts for which asking again must have helped never before a server is not asked again any more."""

LIMITS = ("format", "maxLength", "minLength", "pattern")
"""Keywords of texts that some servers cannot compile; our own check of answers looks at them in any case."""


class JsonMode(IntEnum):
    """Ways to ask a server for JSON, strictest first; a server that refuses one is sent the next."""

    JSON_SCHEMA = 0
    """OpenAI's form, which vLLM, SGLang and llama.cpp accept as well."""
    PLAIN_SCHEMA = 1
    """The same without limits on texts, which not every server can compile."""
    JSON_OBJECT = 2
    """With the schema as llama-cpp-python ("schema") and TGI ("value") take it."""
    NONE = 3
    """No response_format."""


def response_format(mode: JsonMode, schema: Mapping[str, JSON]) -> dict[str, Any] | None:
    """Return the request's `response_format` in a mode; None for `JsonMode.NONE`."""
    if mode <= JsonMode.PLAIN_SCHEMA:
        sent = without_keywords(schema, LIMITS) if mode == JsonMode.PLAIN_SCHEMA else engine_schema(schema)
        return {"type": "json_schema", "json_schema": {"name": "sample", "schema": sent, "strict": True}}
    if mode == JsonMode.NONE:
        return None
    plain = without_keywords(schema, LIMITS)
    return {"type": "json_object", "schema": plain, "value": plain}


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
