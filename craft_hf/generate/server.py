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
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from craft_hf.errors import GeneratorError, InputError
from craft_hf.extras import require
from craft_hf.generate import Sampling
from craft_hf.records import JSON, Answer, Prompt, fingerprint

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
    r"(?i)context_length_exceeded|exceed_context_size|context (length|size|window)|maximum model length|is too long"
    r"|tokens`? +must be <=|must have less than \d+ tokens|too large for model|max_tokens must be at least 1, got -",
)
# What a server may refuse and a run can do without: the quality checks see to the schema, the journal to repetition.
_DISPENSABLE = re.compile(
    r"(?P<response_format>response_format|json_schema|structured.output|guided.)|(?P<top_k>\btop[_-]k\b)|(?P<seed>\bseed\b)"
)
_URL = re.compile(r"(?i)(https?://(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?)(/[^\s?#]*)?")


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


@dataclass(eq=False)
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

    url: str
    model: str | None = None
    concurrency: int = 16
    timeout_s: float = 120.0
    max_retries: int = 4
    backoff_s: float = 0.5
    _refused: set[str] = field(default_factory=set, init=False, repr=False)  # parameters that this server has refused

    def __post_init__(self) -> None:
        self.url = _normalised(self.url)
        if not (1 <= self.concurrency <= 1000 and self.timeout_s > 0 and self.max_retries >= 0 and self.backoff_s >= 0):
            raise InputError(f"{self}: expected concurrency 1..1000, timeout_s > 0, max_retries and backoff_s >= 0.")
        for name, key in _keys().items():
            if not (key.isascii() and key.isprintable()):
                raise InputError(f"{name} holds characters that no HTTP header can; expected printable ASCII.")
        require("openai", "server")

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

        yield from _in_background(work, self.concurrency)

    def _model_name(self) -> str:
        """The model that was named, or the only one that the server lists; asked once."""
        if not self.model:

            async def work(put: Callable[[list[str]], None], _: asyncio.Semaphore) -> None:
                async with self._client() as client:
                    found = await self._request(
                        client.models.with_raw_response.list, lambda b: [m["id"] for m in b["data"]]
                    )
                if isinstance(found, _Fault):
                    hint = " Or pass generator_model=." if found.status >= 404 else ""
                    raise self._error(replace(found, advice=found.advice + hint))
                put(found)

            (names,) = _in_background(work, 1)
            if len(names) != 1:
                listed = _scrubbed(", ".join(map(str, names[:10])), 2000)
                raise InputError(f"{self.url} lists {len(names)} models ({listed}); pass generator_model= to choose.")
            self.model = str(names[0])
        return self.model

    def _client(self) -> Any:
        make, key = require("openai", "server").AsyncOpenAI, next(iter(_keys().values()), "none")
        return make(api_key=key, base_url=self.url, timeout=self.timeout_s, max_retries=0)

    async def _answer(
        self, client: Any, model: str, prompt: Prompt, schema: Mapping[str, JSON], sampling: Sampling
    ) -> Answer:
        """One prompt's answer; what the server refuses by name is left out from then on."""
        # Half of a surrogate pair, as cut web pages hold, cannot be sent: it goes as a question mark.
        turns = [{k: v.encode(errors="replace").decode() for k, v in turn.items()} for turn in prompt.messages]
        wanted = {"name": "sample", "schema": schema, "strict": True}
        options: dict[str, Any] = {
            "response_format": {"type": "json_schema", "json_schema": wanted},
            "top_k": sampling.top_k,
            "seed": int(fingerprint([prompt.key, sampling.seed]), 16) % 2**31,
        }
        fixed = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_new_tokens}
        send = partial(client.chat.completions.with_raw_response.create, model=model, messages=turns, **fixed)
        while True:
            options = {name: value for name, value in options.items() if name not in self._refused}
            got = await self._request(partial(send, extra_body=options), _read_answer)
            if isinstance(got, Answer):
                return got
            said = re.split(r"""['"]input['"]\s*:""", got.body)[0]  # some echo the request, with the document's words
            if got.status in (400, 413, 422, 500) and _TOO_LONG.search(said):
                return Answer("", "prompt_too_long")
            refused = next((at.lastgroup for at in _DISPENSABLE.finditer(said) if at.lastgroup in options), None)
            if got.status not in (400, 422) or refused is None:
                raise self._error(got)
            if refused not in self._refused:
                _log.warning("%s refuses %s, going on without it: %s", self.url, refused, _scrubbed(got.body))
            self._refused.add(refused)

    async def _request(self, call: Callable[[], Awaitable[Any]], read: Callable[[Any], T]) -> T | _Fault:
        """Send until `read` finds in the JSON body what was asked for, or the fault is for good."""
        tries = 0
        while True:
            got, tries = await self._attempt(call, read), tries + 1
            if not isinstance(got, _Fault):
                return got
            if not got.retry or tries > self.max_retries:
                return replace(got, tries=tries)
            backoff_s = min(self.backoff_s * 2 ** (tries - 1), 30) * random.uniform(0.5, 1)
            wait_s = max(backoff_s, min(got.retry_after_s, self.timeout_s))
            _log.info("%s gave %s; asking again in %.1f s", self.url, _scrubbed(got.what), wait_s)
            await asyncio.sleep(wait_s)

    async def _attempt(self, call: Callable[[], Awaitable[Any]], read: Callable[[Any], T]) -> T | _Fault:
        openai = require("openai", "server")
        try:
            async with asyncio.timeout(self.timeout_s):
                response = (await call()).http_response
        except (openai.APITimeoutError, TimeoutError):
            return _Fault(f"no answer within {self.timeout_s:g} s", "raise timeout_s=, or lower concurrency=.")
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
            return read(body)
        except json.JSONDecodeError:
            return _Fault("JSON that is cut or broken", "look into the log of the server, or of a proxy.", text)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return _Fault("JSON without an answer", "look into the server's log.", text)

    def _error(self, fault: _Fault) -> GeneratorError:
        body = f": {_scrubbed(fault.body)}" if fault.body else ""
        return GeneratorError(f"{self.url} gave {_scrubbed(fault.what)}{body} (tries: {fault.tries}); {fault.advice}")


def _status_fault(status: int, body: str, retry_after: str) -> _Fault:
    """What an HTTP error status means; a Retry-After that is a date is left to the backoff."""
    retry = status in (408, 409, 429) or status >= 500
    advice = _ADVICE.get(status, "look into the server's log." if retry else "mend what it names.")
    wait_s = float(retry_after) if re.fullmatch(r"\d+(\.\d+)?", retry_after) else 0.0
    return _Fault(f"status {status}", advice, body, status, retry, wait_s)


def _read_answer(body: Any) -> Answer:
    """The first choice; a null content (a refusal, or nothing but reasoning) is an empty answer."""
    choice, usage = body["choices"][0], body.get("usage") or {}
    text = "" + (choice["message"].get("content") or "")  # a TypeError, if it is no text
    tokens = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
    return Answer(text, str(choice.get("finish_reason") or "unknown"), *tokens)


def _normalised(url: str) -> str:
    """The address up to /v1; no message shows what stands before an @ or after a question mark."""
    if "@" in url:
        raise InputError(f"the generator URL holds a user or password (before @); expected none: set {_KEYS[0]}.")
    if good := _URL.fullmatch(url.strip()):
        return str(good[1]) + ((good[2] or "").rstrip("/").removesuffix("/chat/completions") or "/v1")
    shown = re.split(r"[?#]", url)[0]
    raise InputError(f"{shown!r} is no generator URL; expected http://host:port/v1 or https://..., without query.")


def _keys() -> dict[str, str]:
    """The keys that the environment holds, by the names of their variables, the one to send first."""
    return {name: key for name in _KEYS if (key := os.environ.get(name, "").strip())}


def _scrubbed(text: str, shown: int = 200) -> str:
    """The first `shown` characters, on one line, without the keys."""
    for name, key in _keys().items():
        text = text.replace(key, f"<{name}>")
    return " ".join(text.split())[:shown]


def _in_background(
    work: Callable[[Callable[[T], None], asyncio.Semaphore], Coroutine[Any, Any, None]], slots: int
) -> Iterator[T]:
    """Run `work` in an event loop of its own thread and yield what it puts; both end with the iteration.

    A thread, because the caller may have a running loop (a notebook), and may be busy between two answers. To take an
    item frees one of the `slots`.
    """
    arrived: queue.SimpleQueue[T | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    free = asyncio.Semaphore(slots)
    task = loop.create_task(work(arrived.put, free))
    task.add_done_callback(lambda _: arrived.put(None))
    ended = asyncio.wait([task])  # raises nothing, whatever ends the task
    thread = threading.Thread(target=loop.run_until_complete, args=(ended,), name="craft_hf server", daemon=True)
    thread.start()
    try:
        while (item := arrived.get()) is not None:
            loop.call_soon_threadsafe(free.release)
            yield item
        task.result()  # raises what ended the work
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
