"""What a server said, as an answer or as a fault: a body or an error comes in, a value comes out, nothing is raised.

Faults are values, and not exceptions, so that no traceback shows what a server echoes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from craft_hf.base import Answer, require
from craft_hf.generate.server.keys import KEYS, scrubbed

T = TypeVar("T")

_ADVICE = {
    401: f"set {KEYS[0]} to a key that this server takes.",
    403: f"set {KEYS[0]} to a key that may do this.",
    404: "is this the /v1 address of an OpenAI-compatible server, and does it serve the model (generator_model=)?",
    429: "lower concurrency=, or raise max_retries=.",
}
# How OpenAI, vLLM, SGLang, llama.cpp and its Python server, TGI, Mistral and Anthropic say that a prompt does not fit.
_TOO_LONG = re.compile(
    r"(?i)context_length_exceeded|exceed_context_size|context (length|size|window)|maximum model length|is too long"
    r"|tokens`? +must be <=|must have less than \d+ tokens|too large for model|max_tokens must be at least 1, got -",
)
# What a server may refuse and a run can do without: answers are checked against the schema, the journal keeps them.
_DISPENSABLE = re.compile(
    r"(?P<response_format>response_format|json_schema|json_object|structured.output|guided.)|(?P<top_k>\btop[_-]k\b)"
    r"|(?P<seed>\bseed\b)"
)


@dataclass(frozen=True)
class Fault:
    """What came instead of an answer.

    `status` is that of HTTP, 0 where there was none; `passing` whether asking again can help; `busy` whether the server
    has too much to do; `gone` whether there was no connection; `retry_after_s` for how long it wants to be left alone;
    `tries` how often it was asked.
    """

    what: str
    advice: str
    body: str = ""
    status: int = 0
    passing: bool = True
    busy: bool = False
    gone: bool = False
    retry_after_s: float = 0.0
    tries: int = 1

    @property
    def _said(self) -> str:
        """The body without the request, which some servers echo, with the document's words."""
        return re.split(r"""['"]input['"]\s*:""", self.body)[0]

    @property
    def is_too_long(self) -> bool:
        """Whether the prompt does not fit into the model's context."""
        return self.status in (400, 413, 422, 500) and bool(_TOO_LONG.search(self._said))

    def refused(self, options: Collection[str]) -> str | None:
        """Return which of the options the server names as what it does not take."""
        found = (at.lastgroup for at in _DISPENSABLE.finditer(self._said) if at.lastgroup in options)
        # llama-cpp-python's server calls what it does not take an internal error.
        refuses = self.status in (400, 422) or (self.status == 500 and "validation error" in self._said)
        return next(found, None) if refuses else None

    def told(self, url: str) -> str:
        """Return a message for the user, without keys."""
        body = f": {scrubbed(self.body)}" if self.body else ""
        return f"{url} gave {scrubbed(self.what)}{body} (tries: {self.tries}); {self.advice}"


async def attempt(call: Callable[[], Awaitable[Any]], read: Callable[[Any], T], timeout_s: float) -> T | Fault:
    """Send one request; return what `read` finds in the JSON body, or the fault.

    Args:
        call: sends it with the openai package, and returns its raw response.
        read: takes the decoded body; a KeyError, TypeError or the like says that it is no answer.
        timeout_s: seconds for the whole of it; also the longest Retry-After that is believed.
    """
    openai = require("openai", "server")
    try:
        async with asyncio.timeout(timeout_s):
            response = (await call()).http_response
    except (openai.APITimeoutError, TimeoutError):
        return Fault(f"no answer within {timeout_s:g} s", "raise timeout_s=, or lower concurrency=.", busy=True)
    except openai.APIConnectionError as e:
        cause: BaseException = e
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper
        said = str(cause) or type(cause).__name__
        if type(e.__cause__).__name__ == "ConnectError":  # of httpx, under whatever name openai imports it
            return Fault(f"no connection ({said})", "is the server running at this address?", gone=True)
        return Fault(f"a connection that broke ({said})", "look into the log of the server, or of a proxy.")
    except openai.APIStatusError as e:
        wait_s = min(_retry_after_s(e.response.headers.get("retry-after", "")), timeout_s)
        return _status_fault(e.response.status_code, e.response.text, wait_s)
    text = response.text
    if "text/html" in response.headers.get("content-type", "") or text.lstrip()[:5].lower() in ("<!doc", "<html"):
        return Fault("an HTML page", "is this really the /v1 address of an OpenAI-compatible server?", text)
    try:
        body = json.loads(text)
        if "error" in body and isinstance(body["error"], dict) and isinstance(body["error"].get("code"), int):
            return _status_fault(body["error"]["code"], text)  # routers send errors under status 200
        return read(body)
    except json.JSONDecodeError:
        return Fault("JSON that is cut or broken", "look into the log of the server, or of a proxy.", text)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return Fault("JSON without an answer", "look into the server's log.", text)


def read_answer(body: Any) -> Answer:
    """Read a chat completion: its first choice, its usage.

    A refusal comes back with finish_reason "refusal"; a null content (nothing but reasoning) is an empty text.

    Raises:
        IndexError, KeyError, TypeError, ValueError: it is none.
    """
    choice, usage = body["choices"][0], body.get("usage") or {}
    message = choice["message"]
    text = "" + (message.get("content") or "")  # a TypeError, if it is no text
    reason = str(choice.get("finish_reason") or "unknown")
    if not text and isinstance(refusal := message.get("refusal"), str) and refusal:
        text, reason = refusal, "refusal"
    details = usage.get("prompt_tokens_details") or {}
    tokens = [usage.get("prompt_tokens"), usage.get("completion_tokens"), details.get("cached_tokens")]
    return Answer(text, reason, *(int(count or 0) for count in tokens))


def read_models(body: Any) -> list[str]:
    """Read the names in a list of models.

    Raises:
        KeyError, TypeError: it is none.
    """
    return [str(model["id"]) for model in body["data"]]


def _status_fault(status: int, body: str, retry_after_s: float = 0.0) -> Fault:
    """What an HTTP error status means."""
    passing = status in (408, 409, 429) or status >= 500
    advice = _ADVICE.get(status, "look into the server's log." if passing else "mend what it names.")
    return Fault(
        f"status {status}", advice, body, status, passing, busy=status in (429, 503), retry_after_s=retry_after_s
    )


def _retry_after_s(header: str) -> float:
    """Seconds of a Retry-After, which is a number or an HTTP date (RFC 9110, section 10.2.3); 0 for neither."""
    if re.fullmatch(r"\d+(\.\d+)?", header):
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
