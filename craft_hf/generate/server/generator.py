"""A generator behind OpenAI-compatible addresses: many requests in flight, answers as they arrive.

In: prompts, addresses, a key from the environment. Out: (prompt, answer) pairs.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from craft_hf.base import JSON, Answer, GeneratorError, InputError, Prompt, fingerprint, require
from craft_hf.generate.generator import Sampling, everything
from craft_hf.generate.server.asking import Call, ask
from craft_hf.generate.server.background import in_background
from craft_hf.generate.server.endpoints import Endpoint, addresses
from craft_hf.generate.server.keys import check_keys, key_for, scrubbed
from craft_hf.generate.server.limit import Limit
from craft_hf.generate.server.pool import Line, Pool, Request, backoff
from craft_hf.generate.server.replies import Fault, attempt, read_models
from craft_hf.generate.server.structured import Checker

MOST_IN_FLIGHT = 1000
"""Highest `concurrency`; beyond it, a process runs out of sockets before a server runs out of room."""

STRAGGLERS_S = 2.0
"""Seconds that the other servers get to list their models once one has."""


@dataclass(eq=False)
class ServerGenerator:
    """A model behind any OpenAI-compatible chat-completions addresses; implements `generate.Generator`.

    Several servers of the same model share the prompts; one that goes away is left alone, and tried again after pauses
    that grow. An answer that is no JSON of the schema, from a server that does not see to it, is asked for again, twice
    at most, and counts the tokens of all its tries.

    Args:
        url: "http://host:8000", or with its path, as in "https://host/v1"; without a path, /v1 is meant. Several are
            separated by commas.
        model: the model's name at the servers; None asks them, who must then have exactly one in common.
        concurrency: requests that may be in flight, or answered and not yet taken, at a time, 1 to
            `MOST_IN_FLIGHT`. Each server's own limit (`limit.Limit`) rises to it as long as that helps.
        timeout_s: seconds that one request may take, >= 0.001; also the longest Retry-After that is waited for.
        max_retries: how often a request that failed is sent again to a server, >= 0.
        backoff_s: seconds that are waited at most before the first of these, >= 0; doubles each time, up to 30.

    Raises:
        InputError: an address that is none or holds a password, a number out of range, a key that no header can hold.
        MissingExtra: the openai package is not installed.
    """

    url: str
    model: str | None = None
    concurrency: int = 64
    timeout_s: float = 120.0
    max_retries: int = 4
    backoff_s: float = 0.5
    _endpoints: list[Endpoint] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        urls = addresses(self.url)
        self.url = ",".join(urls)
        if not 1 <= self.concurrency <= MOST_IN_FLIGHT:
            raise InputError(f"concurrency is {self.concurrency}, expected a whole number from 1 to {MOST_IN_FLIGHT}.")
        for name, least in (("timeout_s", 1e-3), ("max_retries", 0), ("backoff_s", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, expected {least:g} or more.")
        self._endpoints = [Endpoint(url, Limit(self.concurrency)) for url in urls]
        check_keys()
        require("openai", "server")

    @property
    def identity(self) -> Mapping[str, JSON]:
        """The model's name; of a name that is a path only the end, with a hash of the whole as revision.

        Raises:
            GeneratorError: no model was named, and no server can be asked.
            InputError: no model was named, and the servers have none or several in common.
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
        wanted: Callable[[Prompt], bool] = everything,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt that is wanted once, each as soon as it is finished.

        Closing the iterator cancels what is in flight.

        A prompt that the server calls too long comes back with finish_reason "prompt_too_long". When a request fails
        for good, the answers that have arrived are given first, and the other requests are cancelled.

        Raises:
            GeneratorError: no server is left that can be reached and answers with what is an answer.
            InputError: no model was named, and the servers have none or several in common.
        """
        if not prompts:
            return
        call = Call(self._model_name(), schema, sampling, Checker(schema), self.timeout_s)

        async def work(put: Callable[[tuple[Prompt, Answer]], None], slots: asyncio.Semaphore) -> None:
            async def one(prompt: Prompt) -> None:
                answer = await ask(pool, call, Request(prompt), wanted)
                if answer is None:
                    slots.release()
                else:
                    put((prompt, answer))

            try:
                async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                    lines = [Line(e, await stack.enter_async_context(self._client(e))) for e in self._endpoints]
                    pool = Pool(lines, self.max_retries, self.backoff_s)
                    for prompt in prompts:
                        await slots.acquire()
                        group.create_task(one(prompt))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None

        yield from in_background(work, self.concurrency)

    def _client(self, endpoint: Endpoint) -> Any:
        make, key = require("openai", "server").AsyncOpenAI, key_for(endpoint.url)
        return make(api_key=key, base_url=endpoint.url, timeout=self.timeout_s, max_retries=0)

    def _model_name(self) -> str:
        """The model that was named, or the only one that the servers have in common; asked once."""
        if not self.model:

            async def work(put: Callable[[list[list[str] | Fault | None]], None], _: asyncio.Semaphore) -> None:
                tasks = [asyncio.create_task(self._listed(endpoint)) for endpoint in self._endpoints]
                try:
                    for first in asyncio.as_completed(tasks):
                        if not isinstance(await first, Fault):
                            break
                    await asyncio.wait(tasks, timeout=STRAGGLERS_S)
                    put([task.result() if task.done() else None for task in tasks])
                finally:
                    for task in tasks:
                        task.cancel()

            (found,) = in_background(work, 1)
            self.model = self._common(found)
        return self.model

    async def _listed(self, endpoint: Endpoint) -> list[str] | Fault:
        """The models that a server lists, asked again while its fault may pass."""
        async with self._client(endpoint) as client:
            tries = 0
            while True:
                found, tries = (
                    await attempt(client.models.with_raw_response.list, read_models, self.timeout_s),
                    tries + 1,
                )
                if not isinstance(found, Fault):
                    return found
                if not found.passing or tries > self.max_retries:
                    hint = " Or pass generator_model=." if found.status >= 404 else ""
                    return replace(found, advice=found.advice + hint, tries=tries)
                await asyncio.sleep(max(found.retry_after_s, backoff(self.backoff_s, tries)))

    def _common(self, found: Sequence[list[str] | Fault | None]) -> str:
        """The one model that all servers have that have answered."""
        at = [endpoint.url for endpoint in self._endpoints]
        lists = {url: names for url, names in zip(at, found, strict=True) if isinstance(names, list)}
        if not lists:
            faults = [f.told(url) for url, f in zip(at, found, strict=True) if isinstance(f, Fault)]
            raise GeneratorError(" ".join(faults))
        common = [name for name in next(iter(lists.values())) if all(name in names for names in lists.values())]
        if len(common) == 1:
            return common[0]
        told = "; ".join(
            f"{url} lists {len(names)} models ({scrubbed(', '.join(names[:10]), 2000)})" for url, names in lists.items()
        )
        if len(lists) > 1 and not common:
            raise InputError(f"{told}: they have none in common, but all servers must serve the same model.")
        raise InputError(f"{told}; pass generator_model= to choose.")
