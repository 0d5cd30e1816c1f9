"""A generator behind an OpenAI-compatible address: many requests in flight, answers as they arrive.

In: prompts, an address, a key from the environment. Out: (prompt, answer) pairs. The key is read when it is sent,
kept nowhere, and cut out of whatever a server echoes; faults travel as values, so no traceback shows an echo either.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import random
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from craft_hf.errors import GeneratorError, InputError
from craft_hf.extras import require
from craft_hf.generate import Sampling
from craft_hf.records import JSON, Answer, Prompt, fingerprint

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
_log = logging.getLogger(__name__)
_KEYS = ("CRAFT_HF_API_KEY", "OPENAI_API_KEY")
_ADVICE = {
    401: f"set {_KEYS[0]} to a key that this server takes.",
    403: f"set {_KEYS[0]} to a key that may do this.",
    404: "is this the /v1 address of an OpenAI-compatible server, and does it serve the model (generator_model=)?",
    429: "lower concurrency=, or raise max_retries=.",
}
# How OpenAI, vLLM, SGLang, llama.cpp and its Python server, TGI, Mistral and Anthropic say that a prompt does not fit.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)|maximum model length|is too long"
    r"|tokens`? +must be <=|must have less than \d+ tokens|too large for model|max_tokens must be at least 1, got -",
    re.IGNORECASE,
)
# What a server may refuse and a run can do without: the quality checks see to the schema, the journal to repetition.
_DISPENSABLE = {
    "response_format": re.compile(r"response_format|json_schema|structured.outputs?|guided_json"),
    "top_k": re.compile(r"\btop[_-]k\b"),
    "seed": re.compile(r"\bseed\b"),
}


@dataclass(frozen=True)
class _Fault:
    """What came instead of an answer, what to do about it, whether asking again can help, how often it was asked."""

    what: str
    advice: str
    body: str = ""
    status: int = 0
    retry: bool = True
    retry_after_s: float = 0.0
    tries: int = 1


class ServerGenerator:
    """A model behind any OpenAI-compatible chat-completions address; implements `generate.Generator`.

    Args:
        url: "http://host:8000", or with its path, as in "https://host/v1"; without a path, /v1 is meant.
        model: the model's name at the server; None asks the server, which must then serve exactly one.
        concurrency: requests that may be in flight, or answered and not yet taken, at a time, 1..1000.
        timeout_s: seconds that one request may take, > 0; also the longest Retry-After that is waited for.
        max_retries: how often a request that failed is sent again, >= 0.
        backoff_s: seconds before the first of these, >= 0; doubles each time, up to 30, with jitter.

    Raises:
        InputError: an address that is none or holds a password, a number out of range, a key that no header can hold.
        MissingExtra: the openai package is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        concurrency: int = 16,
        timeout_s: float = 120.0,
        max_retries: int = 4,
        backoff_s: float = 0.5,
    ) -> None:
        if not (1 <= concurrency <= 1000 and timeout_s > 0 and max_retries >= 0 and backoff_s >= 0):
            raise InputError(
                f"{concurrency=}, {timeout_s=}, {max_retries=}, {backoff_s=}: expected concurrency 1 to 1000, "
                "timeout_s above 0 seconds, max_retries and backoff_s 0 or more."
            )
        require("openai", "server")
        _api_key()  # a key that cannot be sent shows now, not after the retrieval
        self._url, self._model = _normalised(url), model or None
        self._concurrency, self._timeout_s = concurrency, timeout_s
        self._max_retries, self._backoff_s = max_retries, backoff_s
        self._refused: set[str] = set()  # parameters that this server has refused

    def __repr__(self) -> str:
        return f"ServerGenerator({self._url!r}, model={self._model!r}, concurrency={self._concurrency})"

    @property
    def identity(self) -> Mapping[str, JSON]:
        """The model's name; of a name that is a path only the end, with a hash of the whole as revision.

        Raises:
            GeneratorError: no model was named, and the server cannot be asked.
            InputError: no model was named, and the server lists none or several.
        """
        name = self._model_name()
        if not name.startswith(("/", ".", "~")) and "\\" not in name:
            return {"model": name, "revision": "", "weights": "server"}
        return {"model": re.split(r"[/\\]", name.rstrip("/\\"))[-1], "revision": fingerprint(name), "weights": "server"}

    def generate(
        self, prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt once, each as soon as it is finished; closing the iterator cancels what is in flight.

        A prompt that the server calls too long comes back with finish_reason "prompt_too_long". When a request fails
        for good, the answers that have arrived are given first, and the other requests are cancelled.

        Raises:
            GeneratorError: the server cannot be reached, refuses, or answers with what is no answer.
            InputError: no model was named, and the server lists none or several.
        """
        if not prompts:
            return
        model = self._model_name()

        async def work(put: Callable[[tuple[Prompt, Answer]], None], slots: asyncio.Semaphore) -> None:
            async def one(prompt: Prompt) -> None:
                put((prompt, await self._answer(client, model, prompt, schema, sampling)))

            try:
                async with self._client() as client, asyncio.TaskGroup() as group:
                    for prompt in prompts:
                        await slots.acquire()
                        group.create_task(one(prompt))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None

        yield from _in_background(work, self._concurrency)

    def _model_name(self) -> str:
        """The model that was named, or the only one that the server lists; asked once."""
        if self._model is None:

            async def work(put: Callable[[list[str]], None], _: asyncio.Semaphore) -> None:
                async with self._client() as client:
                    found = await self._request(
                        client.models.with_raw_response.list, lambda body: [str(model["id"]) for model in body["data"]]
                    )
                if isinstance(found, _Fault):
                    raise self._error(found)
                put(found)

            (names,) = _in_background(work, 1)
            if len(names) != 1:
                more = f" and {len(names) - 10} more" if len(names) > 10 else ""
                listed = f"{len(names)} models ({', '.join(names[:10])}{more})" if names else "no model"
                raise InputError(f"{self._url} lists {_scrubbed(listed)}; expected one: pass generator_model=.")
            self._model = names[0]
        return self._model

    def _client(self) -> AsyncOpenAI:
        client: AsyncOpenAI = require("openai", "server").AsyncOpenAI(
            api_key=_api_key(), base_url=self._url, timeout=self._timeout_s, max_retries=0
        )
        return client

    async def _answer(
        self, client: AsyncOpenAI, model: str, prompt: Prompt, schema: Mapping[str, JSON], sampling: Sampling
    ) -> Answer:
        """One prompt's answer; what the server refuses by name is left out from then on."""
        wanted = {"name": "sample", "schema": schema, "strict": True}
        options: dict[str, Any] = {
            "response_format": {"type": "json_schema", "json_schema": wanted},
            "top_k": sampling.top_k,
            "seed": int(fingerprint([prompt.key, sampling.seed]), 16) % 2**31,
        }
        while True:
            options = {name: value for name, value in options.items() if name not in self._refused}
            body: Any = {"model": model, "messages": [dict(turn) for turn in prompt.messages], "extra_body": options}
            body |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
            body |= {"max_tokens": sampling.max_new_tokens}
            got = await self._request(partial(client.chat.completions.with_raw_response.create, **body), _read_answer)
            if isinstance(got, Answer):
                return got
            said = re.split(r"""['"]input['"]\s*:""", got.body)[0]  # some echo the request, with the document's words
            if got.status in (400, 413, 422, 500) and _TOO_LONG.search(said):
                return Answer("", "prompt_too_long")
            places = {at.start(): name for name in options if (at := _DISPENSABLE[name].search(said))}
            if got.status not in (400, 422) or not places:
                raise self._error(got)
            refused = places[min(places)]  # the one that it names first
            if refused not in self._refused:
                self._refused.add(refused)
                _log.warning("%s refuses %s, going on without it: %s", self._url, refused, _scrubbed(got.body))

    async def _request(self, call: Callable[[], Awaitable[Any]], read: Callable[[Any], T | None]) -> T | _Fault:
        """Send until `read` finds in the JSON body what was asked for, or the fault is for good."""
        tries = 0
        while True:
            got, tries = await self._attempt(call, read), tries + 1
            if not isinstance(got, _Fault):
                return got
            if not got.retry or tries > self._max_retries:
                return replace(got, tries=tries)
            wait_s = min(self._backoff_s * 2 ** (tries - 1), 30) * random.uniform(0.5, 1)
            wait_s = max(wait_s, min(got.retry_after_s, self._timeout_s))
            _log.info("%s gave %s; asking again in %.1f s", self._url, _scrubbed(got.what), wait_s)
            await asyncio.sleep(wait_s)

    async def _attempt(self, call: Callable[[], Awaitable[Any]], read: Callable[[Any], T | None]) -> T | _Fault:
        """Send once, and say what came."""
        openai = require("openai", "server")
        try:
            async with asyncio.timeout(self._timeout_s):
                response = (await call()).http_response
        except (openai.APITimeoutError, TimeoutError):
            return _Fault(f"no answer within {self._timeout_s:g} s", "raise timeout_s=, or lower concurrency=.")
        except openai.APIConnectionError as e:
            cause: BaseException = e
            while deeper := cause.__cause__ or cause.__context__:
                cause = deeper
            return _Fault(f"no connection ({cause or type(cause).__name__})", "is the server running at this address?")
        except openai.APIStatusError as e:
            return _status_fault(e.response.status_code, e.response.text, e.response.headers.get("retry-after", ""))
        text = response.text
        if "text/html" in response.headers.get("content-type", "") or text.lstrip()[:5].lower() in ("<!doc", "<html"):
            return _Fault("an HTML page", "is this really the /v1 address of an OpenAI-compatible server?", text)
        try:
            body = json.loads(text)
            if "error" in body and isinstance(body["error"], dict) and isinstance(body["error"].get("code"), int):
                return _status_fault(body["error"]["code"], text, "")  # routers send errors under status 200
            found = read(body)
        except json.JSONDecodeError:
            return _Fault("JSON that is cut or broken", "look into the log of the server, or of a proxy.", text)
        except (AttributeError, IndexError, KeyError, TypeError):
            found = None
        return found if found is not None else _Fault("JSON without an answer", "look into the server's log.", text)

    def _error(self, fault: _Fault) -> GeneratorError:
        body = f": {_scrubbed(fault.body)}" if fault.body else ""
        tries = "once" if fault.tries == 1 else f"{fault.tries} times"
        return GeneratorError(f"{self._url} gave {_scrubbed(fault.what)}{body} (asked {tries}); {fault.advice}")


def _status_fault(status: int, body: str, retry_after: str) -> _Fault:
    """What an HTTP error status means; a Retry-After that is a date is left to the backoff."""
    retry = status in (408, 409, 429) or status >= 500
    advice = _ADVICE.get(status, "look into the server's log." if retry else "mend what it names.")
    wait_s = float(retry_after) if re.fullmatch(r"\d+(\.\d+)?", retry_after) else 0.0
    return _Fault(f"status {status}", advice, body, status, retry, wait_s)


def _read_answer(body: Mapping[str, Any]) -> Answer | None:
    """The first choice; a null content (a refusal, or nothing but reasoning) is an empty answer."""
    choice, usage = body["choices"][0], body.get("usage") or {}
    text = choice["message"].get("content") or ""
    tokens = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    return Answer(text, choice.get("finish_reason") or "unknown", *tokens) if isinstance(text, str) else None


def _normalised(url: str) -> str:
    """The address up to /v1; no message shows what stands before an @ or after a question mark."""
    if "@" in url:
        raise InputError(f"the generator URL holds a user or password (before @); expected none: set {_KEYS[0]}.")
    shown = re.split(r"[?#]", url.strip())[0]
    try:
        parts = urlsplit(shown)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that does not close, a port that is no number
        good = False
    if not good or shown != url.strip():
        raise InputError(
            f"{shown!r} is no generator URL; expected http://host:port/v1 or https://..., without a query."
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/chat/completions') or '/v1'}"


def _api_key() -> str:
    """The key from the environment, or a word that a server without keys ignores."""
    name, key = next(((n, k) for n in _KEYS if (k := os.environ.get(n, "").strip())), ("", "none"))
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"{name} holds characters that no HTTP header can; expected printable ASCII.")
    return key


def _scrubbed(text: str) -> str:
    """The first 200 characters, on one line, without the keys."""
    for name in _KEYS:
        if key := os.environ.get(name, "").strip():
            text = text.replace(key, f"<{name}>")
    return " ".join(text.split())[:200]


def _in_background(
    work: Callable[[Callable[[T], None], asyncio.Semaphore], Coroutine[Any, Any, None]], slots: int
) -> Iterator[T]:
    """Run `work` in a thread's event loop and yield what it puts; to take an item frees a slot.

    A thread, because the caller may have a running loop (a notebook) and be busy between two answers. Whatever ends
    the iteration, `work` is cancelled and its thread ends.
    """
    arrived: queue.SimpleQueue[T | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    free = asyncio.Semaphore(slots)
    task = loop.create_task(work(arrived.put, free))

    def run() -> None:
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()
        arrived.put(None)

    thread = threading.Thread(target=run, name="craft_hf server", daemon=True)
    thread.start()
    try:
        while (item := arrived.get()) is not None:
            with suppress(RuntimeError):  # the loop has ended: nothing waits for a slot any more
                loop.call_soon_threadsafe(free.release)
            yield item
        task.result()  # raises what ended the work
    finally:
        with suppress(RuntimeError):  # the loop has ended: nothing is left to cancel
            loop.call_soon_threadsafe(task.cancel)
        thread.join()
