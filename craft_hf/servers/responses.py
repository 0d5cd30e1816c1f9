"""What a server sent back: its responses are parsed to answers, and every error becomes a `Failure`.

Failures are values, not exceptions, so that no traceback shows what a server echoes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from craft_hf.base import require
from craft_hf.servers.api_keys import API_KEY_VARIABLES, redact

T = TypeVar("T")

_ADVICE = {
    401: f"set {API_KEY_VARIABLES[0]} to a key that this server takes.",
    403: f"set {API_KEY_VARIABLES[0]} to a key that may do this.",
}
_SEE_LOG = "see the server's log."
_SEE_PROXY_LOG = "see the log of the server, or of a proxy in between."
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

    def message(self, url: str) -> str:
        """Return a message for the user, without API keys."""
        body = f": {redact(self.body)}" if self.body else ""
        return f"{url}: {redact(self.summary)}{body} (attempts: {self.attempts}); {self.advice}"


async def send_request(
    call: Callable[[], Awaitable[Any]], parse: Callable[[Any], T | Failure], timeout_s: float, advice: Mapping[int, str]
) -> T | Failure:
    """Send one request; return what `parse` makes of the JSON body, or why there is none.

    Args:
        call: sends it with the openai package, and returns its raw response.
        parse: called with the decoded body; returns a Failure that says what is wrong with it, or raises a KeyError,
            TypeError or the like if it is not what was asked for at all.
        timeout_s: seconds for the whole request; also the longest Retry-After that is obeyed.
        advice: what the user can do about an HTTP status, and for 0 about a request that takes too long.
    """
    openai = require("openai", "server")
    try:
        async with asyncio.timeout(timeout_s):
            response = (await call()).http_response
    except (openai.APITimeoutError, TimeoutError):
        return Failure(f"no answer within {timeout_s:g} s", advice.get(0, _SEE_LOG), overloaded=True)
    except openai.APIConnectionError as e:
        root: BaseException = e
        while cause := root.__cause__ or root.__context__:
            root = cause
        reason = str(root) or type(root).__name__
        if type(e.__cause__).__name__ == "ConnectError":  # of httpx, under whatever name openai imports it
            return Failure(f"no connection ({reason})", "is the server running at this address?", unreachable=True)
        return Failure(f"the connection broke ({reason})", _SEE_PROXY_LOG)
    except openai.APIStatusError as e:
        wait_s = min(_retry_after_s(e.response.headers.get("retry-after", "")), timeout_s)
        return _status_failure(e.response.status_code, e.response.text, advice, wait_s)
    text = response.text
    if "text/html" in response.headers.get("content-type", "") or text.lstrip()[:5].lower() in ("<!doc", "<html"):
        return Failure("an HTML page", "is this really the /v1 address of an OpenAI-compatible server?", text)
    try:
        body = json.loads(text)
        if "error" in body and isinstance(body["error"], dict) and isinstance(body["error"].get("code"), int):
            return _status_failure(body["error"]["code"], text, advice)  # routers send errors under status 200
        return parse(body)
    except json.JSONDecodeError:
        return Failure("cut or broken JSON", _SEE_PROXY_LOG, text)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return Failure("JSON without an answer", _SEE_LOG, text)


def _status_failure(status: int, body: str, advice: Mapping[int, str], retry_after_s: float = 0.0) -> Failure:
    """Return the failure that an HTTP error status stands for."""
    retryable = status in (408, 409, 429) or status >= 500
    otherwise = _SEE_LOG if retryable else "the request is wrong: change what the server names."
    return Failure(
        f"HTTP status {status}",
        {**_ADVICE, **advice}.get(status, otherwise),
        body,
        status,
        retryable,
        overloaded=status in (429, 503),
        retry_after_s=retry_after_s,
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
