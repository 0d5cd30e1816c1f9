"""What a server sent back: its responses are parsed to answers, and every error becomes a `Failure`.

Failures are values, not exceptions, so that no traceback shows what a server echoes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from craft_hf.servers.api_keys import API_KEY_VARIABLES, redact

T = TypeVar("T")

_ADVICE = {
    401: f"set {API_KEY_VARIABLES[0]} to a key that this server takes.",
    403: f"set {API_KEY_VARIABLES[0]} to a key that may do this.",
}
_SEE_LOG = "see the server's log."
SEE_PROXY_LOG = "see the log of the server, or of a proxy in between."

BUSY_STATUSES = (429, 503)
"""HTTP statuses of a server that has too much to do; they are never the fault of a request."""

_PERMANENT_STATUSES = (401, 404, 405)
"""HTTP statuses with which a server refuses every request: the key, the address or the model is wrong. A gateway may
send them for one request, too."""

# What an exhausted quota is called, in a field of the error, by OpenAI, Groq, Azure, Google and DeepSeek.
_QUOTA = re.compile(
    r"""(?i)["'](insufficient_quota|quota_exceeded|insufficientquota|billing_hard_limit_reached|billing_not_active"""
    r"""|insufficient_balance|insufficient_credits)["']"""
)
_FILTERED = re.compile(
    r"""(?i)["'](code|type|innererror)["']\s*:\s*["']?(content_filter|content_policy_violation|content_violation"""
    r"""|responsibleaipolicyviolation|moderation|moderation_blocked|data_inspection_failed|1301)\b"""
)
# Of an input that is too long, in the words of OpenAI, vLLM, SGLang, llama.cpp and its Python server, TGI, Mistral and
# Anthropic.
_TOO_LONG = re.compile(
    r"(?i)context_length_exceeded|exceed_context_size|context (length|size|window)|maximum model length|is too long"
    r"|tokens`? +must be <=|must have less than \d+ tokens|too large for model|max_tokens must be at least 1, got -",
)


@dataclass(frozen=True)
class Failure:
    """Why a request got no answer.

    Attributes:
        summary: what happened, in a few words.
        advice: what the user can do about it.
        body: the response's body, "" where there was none.
        status: the HTTP status, 0 where there was none.
        retryable: whether the same request may succeed later.
        overloaded: whether the server has too much to do.
        unreachable: whether no connection could be made.
        is_permanent: whether a server says so of every request: its key, address or model is wrong.
        ends_run: whether nothing can be asked of the server any more, as its quota is exhausted.
        retry_after_s: seconds for which the server wants to get no requests.
        attempts: how often the request was sent.
    """

    summary: str
    advice: str
    body: str = ""
    status: int = 0
    retryable: bool = True
    overloaded: bool = False
    unreachable: bool = False
    is_permanent: bool = False
    ends_run: bool = False
    retry_after_s: float = 0.0
    attempts: int = 1

    @property
    def server_words(self) -> str:
        """The body without the request, which some servers echo: the document may hold any words."""
        return re.split(r"""['"]input['"]\s*:""", self.body)[0]

    @property
    def is_too_long(self) -> bool:
        """Whether the input does not fit into the model's context."""
        return self.status in (400, 413, 422, 500) and bool(_TOO_LONG.search(self.server_words))

    @property
    def is_filtered(self) -> bool:
        """Whether the server's filter stopped the input: the error's code says so, in that of OpenAI, Azure, Zhipu."""
        return self.status in (400, 403, 422, 451) and bool(_FILTERED.search(self.server_words))

    def message(self, url: str) -> str:
        """Return a message for the user, without API keys."""
        body = f": {redact(self.body)}" if self.body else ""
        return f"{url}: {redact(self.summary)}{body} (attempts: {self.attempts}); {self.advice}"


def parse_body(
    text: str, content_type: str, parse: Callable[[Any], T | Failure], advice: Mapping[int, str]
) -> T | Failure:
    """Return what `parse` makes of a body that came under status 200, or why there is nothing in it.

    Routers send status 200 before the model behind them has answered; so an error may stand in the body.
    """
    if "text/html" in content_type or text.lstrip()[:5].lower() in ("<!doc", "<html"):
        return Failure("an HTML page", "is this really the /v1 address of an OpenAI-compatible server?", text)
    try:
        body = json.loads(text)
        if isinstance(body, dict) and body.get("error"):
            return error_failure(body["error"], text, advice)
        return parse(body)
    except json.JSONDecodeError:
        return Failure("cut or broken JSON", SEE_PROXY_LOG, text)
    except (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError):
        return Failure("JSON without an answer", _SEE_LOG, text)


def error_failure(error: Any, text: str, advice: Mapping[int, str]) -> Failure:
    """Return the failure that an error object stands for, which came under status 200.

    Args:
        error: the object, of which "code" may be an HTTP status.
        text: what is shown of it.
        advice: what the user can do about an HTTP status.
    """
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    if isinstance(code, int) and 400 <= code < 600:
        return status_failure(code, text, advice)
    return Failure("an error under status 200", _SEE_LOG, text)


def status_failure(
    status: int, body: str, advice: Mapping[int, str], retry_after: str = "", longest_wait_s: float = 0.0
) -> Failure:
    """Return the failure that an HTTP status stands for.

    Args:
        status: 300 or more.
        body: of the response.
        advice: what the user can do about a status.
        retry_after: the header Retry-After.
        longest_wait_s: seconds for which it is obeyed at most.
    """
    if status == 402 or (status in (403, 429) and _QUOTA.search(body)):
        return Failure(
            f"quota exhausted (HTTP status {status})",
            "raise the quota, and run the same command again: what was answered is kept.",
            body, status, retryable=False, ends_run=True,
        )  # fmt: skip
    retryable = status in (408, 409, 425, 429) or status >= 500
    otherwise = _SEE_LOG if retryable else "the request is wrong: change what the server names."
    return Failure(
        f"HTTP status {status}",
        {**_ADVICE, **advice}.get(status, otherwise),
        body,
        status,
        retryable,
        overloaded=status in BUSY_STATUSES,
        is_permanent=status in _PERMANENT_STATUSES,
        retry_after_s=min(_retry_after_s(retry_after), longest_wait_s),
    )


def _retry_after_s(header: str) -> float:
    """Parse a Retry-After, a number of seconds or an HTTP date (RFC 9110, section 10.2.3); 0 if it is neither."""
    if re.fullmatch(r"\d+(\.\d+)?", header):
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
