"""What of a server's responses concerns prompts: their answers, and what can be done about a failure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from craft_hf.base import Answer
from craft_hf.servers import Failure

ADVICE = {
    0: "raise timeout_s=, or lower concurrency=.",
    404: "is this the /v1 address of an OpenAI-compatible server, and does it serve the model (generator_model=)?",
    429: "lower concurrency=, or raise max_retries=.",
}
"""What the user can do about an HTTP status, and for 0 about a request that takes too long."""

# Parameters that a run can do without: answers are checked against the schema, and kept in the journal.
_OPTIONAL = re.compile(
    r"(?P<response_format>response_format|json_schema|json_object|structured.output|guided.)|(?P<top_k>\btop[_-]k\b)"
    r"|(?P<seed>\bseed\b)"
)


def unsupported_option(failure: Failure, options: Collection[str]) -> str | None:
    """Return which of the request's options the server names as unsupported; None if it names none."""
    names = (m.lastgroup for m in _OPTIONAL.finditer(failure.server_words) if m.lastgroup in options)
    # llama-cpp-python's server reports an unsupported option as an internal error.
    refuses = failure.status in (400, 422) or (failure.status == 500 and "validation error" in failure.server_words)
    return next(names, None) if refuses else None


def parse_answer(body: Any) -> Answer:
    """Parse a chat completion: its first choice and its usage.

    A refusal gets finish_reason "refusal"; a null content (nothing but reasoning) becomes an empty text.

    Raises:
        IndexError, KeyError, TypeError, ValueError: it is not a chat completion.
    """
    choice, usage = body["choices"][0], body.get("usage") or {}
    message = choice["message"]
    text = "" + (message.get("content") or "")  # a TypeError if it is not a string
    reason = str(choice.get("finish_reason") or "unknown")
    if not text and isinstance(refusal := message.get("refusal"), str) and refusal:
        text, reason = refusal, "refusal"
    details = usage.get("prompt_tokens_details") or {}
    tokens = [usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens")]
    return Answer(text, reason, *(int(count or 0) for count in tokens))
