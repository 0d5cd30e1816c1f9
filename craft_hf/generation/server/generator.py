"""A generator that sends prompts to OpenAI-compatible servers, many at a time, and yields answers as they arrive.

API keys come from the environment (see `craft_hf.servers.api_keys`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from craft_hf.base import JSON, Answer, GeneratorError, InputError, Prompt, fingerprint
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
from craft_hf.tasks import AnswerReader

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
        concurrency: requests that may be in flight, or answered and not yet taken, at a time, 1 to
            `MAX_CONCURRENCY`. Each server's own `ConcurrencyLimit` rises to it as long as that raises throughput.
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
        """The model's name; of a path only its last part, with a hash of the whole path as revision.

        Raises:
            GeneratorError: no model was named, and no server can be asked.
            InputError: no model was named, and the servers have no model or several models in common.
        """
        name = self._model_name()
        if not name.startswith(("/", ".", "~")) and "\\" not in name:
            return {"model": name, "revision": "", "weights": "server"}
        return {"model": re.split(r"[/\\]", name.rstrip("/\\"))[-1], "revision": fingerprint(name), "weights": "server"}

    def generate(
        self,
        prompts: Sequence[Prompt],
        schema: Mapping[str, JSON],
        sampling: Sampling,
        should_send: Callable[[Prompt], bool] = send_all,
        on_answer: Callable[[Prompt, Answer], None] = ignore_answer,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt that `should_send` accepts once, each as soon as its answer arrives.

        A prompt for which there is no answer gets one that is none (`Answer.is_answer`): it is too long, the server's
        filter stops it, or each request for it fails while the server answers others. Closing the iterator cancels the
        requests in flight. An error does so too, and is raised after the answers that arrived before it.

        Raises:
            GeneratorError: no server is left that can be reached and gives usable answers, or the quota is exhausted.
            InputError: no model was named, and the servers have no model or several models in common.
        """
        if not prompts:
            return
        settings = CompletionSettings(self._model_name(), schema, sampling, AnswerReader(schema))

        async def work(put: Callable[[tuple[Prompt, Answer]], None], slots: asyncio.Semaphore) -> None:
            async def answer_one(prompt: Prompt) -> None:
                answer = await complete(pool, settings, PromptRequest(prompt), should_send)
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
                        group.create_task(answer_one(prompt))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None

        yield from iterate_in_background(work, self.concurrency)

    def _client(self, endpoint: ChatEndpoint) -> Client:
        return Client(endpoint.url, self.timeout_s, ADVICE)

    def _model_name(self) -> str:
        """The model that was named, or the only one that the servers have in common; they are asked once."""
        if not self.model:

            async def work(put: Callable[[list[list[str] | Failure | None]], None], _: asyncio.Semaphore) -> None:
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

            (responses,) = iterate_in_background(work, 1)
            self.model = self._common_model(responses)
        return self.model

    async def _list_models(self, endpoint: ChatEndpoint) -> list[str] | Failure:
        """The models that a server lists; a retryable failure is retried."""
        async with self._client(endpoint) as client:
            response = await list_models(client, self.max_retries, self.backoff_s)
        if not isinstance(response, Failure):
            return [str(model["id"]) for model in response]
        if response.status >= 404:
            return replace(response, advice=response.advice + " Or pass generator_model=.")
        return response

    def _common_model(self, responses: Sequence[list[str] | Failure | None]) -> str:
        """The one model that all servers that have responded list."""
        by_url = dict(zip((endpoint.url for endpoint in self._endpoints), responses, strict=True))
        lists = {url: names for url, names in by_url.items() if isinstance(names, list)}
        if not lists:
            messages = [failure.message(url) for url, failure in by_url.items() if isinstance(failure, Failure)]
            raise GeneratorError(" ".join(messages))
        common = [name for name in next(iter(lists.values())) if all(name in names for names in lists.values())]
        if len(common) == 1:
            return common[0]
        listed = "; ".join(
            f"{url} lists {len(names)} models ({redact(', '.join(names[:10]), 2000)})" for url, names in lists.items()
        )
        if len(lists) > 1 and not common:
            raise InputError(f"{listed}: they have none in common, but all servers must serve the same model.")
        raise InputError(f"{listed}; pass generator_model= to choose.")
