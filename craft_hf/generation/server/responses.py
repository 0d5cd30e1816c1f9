"""What of a server's responses concerns prompts: their answers, and why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from craft_hf.base import CUT, FILTERED, REFUSED, Answer
from craft_hf.servers import Failure, error_failure

ADVICE = {
    0: "raise timeout_s=, or lower concurrency=.",
    404: "is this the /v1 address of an OpenAI-compatible server, and does it serve the model (generator_model=)?",
    429: "lower concurrency=, or raise max_retries=.",
}
"""What the user can do about an HTTP status, and for 0 about a request that takes too long."""

_FINISH_REASONS = {
    CUT: ("length", "max_tokens", "model_length", "max_output_tokens", "max_completion_tokens"),
    FILTERED: (
        "content_filter", "content_filtered", "sensitive", "safety", "recitation", "prohibited_content", "blocklist",
        "spii", "guardrail_intervened", "guardrails",
    ),
}  # fmt: skip
"""Ours, and what OpenAI, Anthropic, Mistral, Google, Amazon, Zhipu and Cohere say for it."""

_CACHED = ("prompt_tokens_details", "cached_tokens")

_FAULTS = (
    "abort", "aborted", "cancelled", "canceled", "error", "failed", "insufficient_system_resource",
    "malformed_function_call", "network_error", "server_error", "timeout",
)  # fmt: skip
"""Finish reasons of answers that a fault ended; they are asked for again."""


def parse_answer(body: Any) -> Answer | Failure:
    """Parse a chat completion: its first choice and its usage.

    The text is the content, of which only parts of type "text" count; where that is blank, the arguments of tool
    calls, or a refusal. An answer that a fault ended is a failure, although it came under status 200.

    Raises:
        AttributeError, IndexError, KeyError, TypeError, ValueError: it is not a chat completion.
    """
    choice = body["choices"][0]
    if choice.get("error"):
        return error_failure(choice["error"], json.dumps(choice), ADVICE)
    said = str(choice.get("finish_reason") or "unknown").lower()
    if said in _FAULTS:
        return Failure(f"an answer that ended with finish_reason {said!r}", "see the server's log.", json.dumps(choice))
    reason = next((ours for ours, theirs in _FINISH_REASONS.items() if said in theirs), said)
    message = choice["message"]
    text, reasoning = _content(message.get("content"))
    for name in ("reasoning_content", "reasoning"):
        if isinstance(found := message.get(name), str) and found not in reasoning:
            reasoning = "\n".join(filter(None, [reasoning, found]))
    if not text.strip():
        if called := _arguments(message):
            text = called
        elif isinstance(refusal := message.get("refusal"), str) and refusal:
            text, reason = refusal, REFUSED
    usage = body.get("usage")
    read, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    error = f"stopped by the server's filter (finish_reason {said!r})" if reason == FILTERED else ""
    return Answer(text, reason, read, written, _count(usage, *_CACHED), reasoning, error=error)


def _count(usage: Any, *names: str) -> int:
    """Return a count of tokens; 0 where a server says none, or something else."""
    for name in names:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return int(usage) if isinstance(usage, int | float) and 0 < usage < 2**53 else 0


def _content(content: Any) -> tuple[str, str]:
    """Return the text of a message's content, and the reasoning in it."""
    if not isinstance(content, list):
        return "" if content is None else "" + content, ""  # a TypeError if it is no string
    texts, thoughts = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif part.get("type") in ("text", "output_text"):
            texts.append("" + part["text"])
        elif isinstance(thought := part.get("thinking"), str | list):
            thoughts.append(_content(thought)[0])
    return "".join(texts), "\n".join(thoughts)


def _arguments(message: Mapping[str, Any]) -> str:
    """Return the arguments of a message's tool calls, each a JSON object in a line of its own; "" for none."""
    calls = [call["function"] for call in message.get("tool_calls") or []]
    calls += [call] if (call := message.get("function_call")) else []
    found = [call["arguments"] for call in calls]
    return "\n".join(given if isinstance(given, str) else json.dumps(given) for given in found)
