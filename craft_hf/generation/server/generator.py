"""A generator that sends prompts to OpenAI-compatible servers, many at a time, and yields answers as they arrive.

API keys come from the environment (see `craft_hf.servers.api_keys`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from craft_hf.base import (
    JSON,
    Answer,
    GeneratorError,
    InputError,
    Prompt,
    cache_folder,
    fingerprint,
    write_file,
)
from craft_hf.generation.generator import (
    CONCURRENCY,
    MAX_CONCURRENCY,
    MAX_RETRIES,
    TIMEOUT_S,
    Sampling,
    ignore_answer,
    send_all,
)
from craft_hf.generation.server.completion import CompletionSettings, PromptRequest, complete
from craft_hf.generation.server.endpoints import ChatEndpoint
from craft_hf.generation.server.responses import ADVICE
from craft_hf.servers import (
    Client,
    ConcurrencyLimit,
    Connection,
    ConnectionPool,
    Failure,
    check_api_keys,
    iterate_in_background,
    list_models,
    parse_urls,
    redact,
)
from craft_hf.tasks import answer_reader

MODELS_GRACE_S = 2.0
"""Seconds that the other servers get to list their models once one has."""


@dataclass(eq=False)
class ServerGenerator:
    """A model served by OpenAI-compatible chat-completions servers; implements `generate.Generator`.

    Several servers of the same model share the prompts; one that fails is not used until it answers again, and is
    tried after pauses that grow. An answer that is not valid under the schema is asked for again, at most `MAX_REASKS`
    times, and counts the tokens of all its tries.

    Args:
        url: "http://host:8000", or with its path, as in "https://host/v1"; without a path, /v1 is meant. Several are
            separated by commas.
        model: the model's name at the servers; None asks the servers, which must then have exactly one in common.
        concurrency: requests that may be in flight at a time, 1 to `MAX_CONCURRENCY`; as many answers may wait to be
            taken. Each server's own `ConcurrencyLimit` rises to it as long as that raises throughput.
        timeout_s: seconds that one request may take, >= 0.001; also the longest Retry-After that is obeyed.
        max_retries: how often a failed request is sent again to a server, >= 0.
        backoff_s: longest pause before the first retry in seconds, >= 0; doubles with each retry, up to 30.

    Raises:
        InputError: a URL is malformed or holds a password, a number is out of range, or an API key holds characters
            that an HTTP header cannot.
        MissingExtra: aiohttp is not installed.
    """

    url: str
    model: str | None = None
    concurrency: int = CONCURRENCY
    timeout_s: float = TIMEOUT_S
    max_retries: int = MAX_RETRIES
    backoff_s: float = 0.5
    _endpoints: list[ChatEndpoint] = field(init=False, repr=False)
    _listed: Sequence[list[Mapping[str, Any]] | Failure | None] | None = field(default=None, init=False, repr=False)
    _behind: list[JSON] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        urls = parse_urls(self.url, "generator")
        self.url = ",".join(urls)
        if not 1 <= self.concurrency <= MAX_CONCURRENCY:
            raise InputError(f"concurrency is {self.concurrency}, expected a whole number from 1 to {MAX_CONCURRENCY}.")
        for name, least in (("timeout_s", 1e-3), ("max_retries", 0), ("backoff_s", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, expected {least:g} or more.")
        self._endpoints = [ChatEndpoint(url, ConcurrencyLimit(self.concurrency)) for url in urls]
        check_api_keys()
        for url in urls:
            Client(url, self.timeout_s, ADVICE)  # says now what is missing for it

    @property
    def identity(self) -> Mapping[str, JSON]:
        """The model's name, of a path only its last part, and a hash of what the servers say is behind that name.

        That is `root` of /v1/models, as vLLM and SGLang give it; where no server says it, the addresses: one name at
        two addresses may be two models. What a restart changes is no part of it. A server that does not say it now is
        what it was when it said it last.

        Raises:
            GeneratorError: no model was named, and no server can be asked.
            InputError: no model was named, and the servers have no model or several models in common.
        """
        name = self._model_name()
        known = {"model": name, "revision": "", "weights": "server", "root": fingerprint(self._roots(name))}
        if not name.startswith(("/", ".", "~")) and "\\" not in name:
            return known
        return known | {"model": re.split(r"[/\\]", name.rstrip("/\\"))[-1], "revision": fingerprint(name)}

    def _roots(self, name: str) -> list[JSON]:
        """Return what is behind a model's name: its roots, or the servers' addresses."""
        if self._behind is None:
            found = [
                _root(endpoint.url, name, response)
                for endpoint, response in zip(self._endpoints, self._responses(), strict=True)
            ]
            self._behind = [*sorted({*filter(None, found)} or {endpoint.url for endpoint in self._endpoints})]
        return self._behind

    def generate(
        self,
        prompts: Sequence[Prompt],
        schema: Mapping[str, JSON],
        sampling: Sampling,
        should_send: Callable[[Prompt], bool] = send_all,
        on_answer: Callable[[Prompt, Answer], None] = ignore_answer,
        may_repeat: Callable[[Prompt], bool] = send_all,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt that `should_send` accepts once, each as soon as its answer arrives.

        A prompt for which there is no answer gets one that is none (`Answer.is_answer`): it is too long, the server's
        filter stops it, or each request for it fails while the server answers others. Closing the iterator cancels the
        requests in flight. An error does so too, and is raised after the answers that arrived before it.

        A prompt that was sent and failed is left without an answer where `may_repeat` says no to sending it again.

        Raises:
            GeneratorError: no server is left that can be reached and gives usable answers, or the quota is exhausted.
            InputError: no model was named, and the servers have no model or several models in common.
        """
        if not prompts:
            return
        settings = CompletionSettings(self._model_name(), schema, sampling, answer_reader(schema))

        async def work(put: Callable[[tuple[Prompt, Answer]], None], slots: asyncio.Semaphore) -> None:
            errors: list[GeneratorError] = []
            in_work = asyncio.Semaphore(self.concurrency)

            async def answer_one(prompt: Prompt) -> None:
                try:
                    answer = await complete(pool, settings, PromptRequest(prompt), should_send, may_repeat)
                except GeneratorError as e:  # what is in flight is paid for: it may come in before the run ends
                    errors.append(e)
                    pool.stop()
                    answer = None
                finally:
                    in_work.release()
                if answer is None:
                    slots.release()
                else:
                    on_answer(prompt, answer)
                    put((prompt, answer))

            try:
                async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                    connections = [
                        Connection(endpoint, await stack.enter_async_context(self._client(endpoint)))
                        for endpoint in self._endpoints
                    ]
                    pool = ConnectionPool(connections, self.max_retries, self.backoff_s)
                    for prompt in prompts:
                        await slots.acquire()
                        await in_work.acquire()
                        if errors:
                            break
                        group.create_task(answer_one(prompt))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
            if errors:
                raise errors[0]

        yield from iterate_in_background(work, 2 * self.concurrency)

    def answered(self, url: str) -> int:
        """Return how many requests the server at a URL has answered."""
        return sum(endpoint.answered for endpoint in self._endpoints if endpoint.url == url)

    def _client(self, endpoint: ChatEndpoint) -> Client:
        return Client(endpoint.url, self.timeout_s, ADVICE)

    def _model_name(self) -> str:
        """The model that was named, or the only one that the servers have in common; they are asked once."""
        if not self.model:
            self.model = self._common_model(self._responses())
        return self.model

    def _responses(self) -> Sequence[list[Mapping[str, Any]] | Failure | None]:
        """What each server says of its models, in the order of the servers; None of one that takes long."""
        if self._listed is None:

            async def work(put: Callable[[list[list[Mapping[str, Any]] | Failure | None]], None], _: Any) -> None:
                tasks = [asyncio.create_task(self._list_models(endpoint)) for endpoint in self._endpoints]
                try:
                    for first in asyncio.as_completed(tasks):
                        if not isinstance(await first, Failure):
                            break
                    await asyncio.wait(tasks, timeout=MODELS_GRACE_S)
                    put([task.result() if task.done() else None for task in tasks])
                finally:
                    for task in tasks:
                        task.cancel()

            (self._listed,) = iterate_in_background(work, 1)
        return self._listed

    async def _list_models(self, endpoint: ChatEndpoint) -> list[Mapping[str, Any]] | Failure:
        """The models that a server lists; a retryable failure is retried where no model was named."""
        async with self._client(endpoint) as client:
            response = await list_models(client, 0 if self.model else self.max_retries, self.backoff_s)
        if isinstance(response, Failure) and response.status >= 404:
            return replace(response, advice=response.advice + " Or pass generator_model=.")
        return response

    def _failures(self, responses: Sequence[list[Mapping[str, Any]] | Failure | None]) -> list[str]:
        """The messages of servers that could not be asked."""
        pairs = zip(self._endpoints, responses, strict=True)
        return [found.message(endpoint.url) for endpoint, found in pairs if isinstance(found, Failure)]

    def _common_model(self, responses: Sequence[list[Mapping[str, Any]] | Failure | None]) -> str:
        """The one model that all servers that have responded list."""
        lists = {
            endpoint.url: [str(model["id"]) for model in found]
            for endpoint, found in zip(self._endpoints, responses, strict=True)
            if isinstance(found, list)
        }
        if not lists:
            raise GeneratorError(" ".join(self._failures(responses)))
        common = [name for name in next(iter(lists.values())) if all(name in names for names in lists.values())]
        if len(common) == 1:
            return common[0]
        listed = "; ".join(
            f"{url} lists {len(names)} models ({redact(', '.join(names[:10]), 2000)})" for url, names in lists.items()
        )
        if len(lists) > 1 and not common:
            raise InputError(f"{listed}: they have none in common, but all servers must serve the same model.")
        raise InputError(f"{listed}; pass generator_model= to choose.")


def _root(url: str, name: str, response: Sequence[Mapping[str, Any]] | Failure | None) -> str:
    """Return what a server says is behind a model's name, now or the last time that it said it; "" if it never did."""
    memory = cache_folder() / "servers" / f"{fingerprint([url, name])}.json"
    if isinstance(response, Sequence):
        root = next((str(model.get("root") or "") for model in response if model["id"] == name), "")
        with contextlib.suppress(OSError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_file(memory, json.dumps(root).encode())
        return root
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads(memory.read_bytes()))
    return ""
