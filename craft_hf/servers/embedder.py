"""Embeds texts by OpenAI-compatible servers, which were seen to give the vectors of the local model."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from craft_hf.base import EMBEDDED, Activity, Embedder, EmbeddingError, InputError, Vectors
from craft_hf.servers.api_keys import check_api_keys, redact
from craft_hf.servers.background import iterate_in_background
from craft_hf.servers.client import Client, list_models
from craft_hf.servers.concurrency_limit import ConcurrencyLimit
from craft_hf.servers.connection_pool import Connection, ConnectionPool, Endpoint, Request
from craft_hf.servers.responses import Failure
from craft_hf.servers.urls import parse_urls

REQUEST_TEXTS = 32
"""Texts of a request: as many as text-embeddings-inference takes unless told otherwise (--max-client-batch-size)."""

MOST_IN_FLIGHT = 64
"""Most requests that a server gets at a time; `ConcurrencyLimit` finds how many of them are of use."""

LEAST_COSINE = 0.997
"""Least cosine of a server's vector with that of the local model in float32, for each of the `probes`.

It leaves room for a server that computes in bfloat16: see test_bfloat16_changes_little in tests/base/test_embedder.py.
"""

LONGEST_PROBE = 8192
"""Most tokens of a probe; a model that reads more of a text at once is not compared on that."""

_TIMEOUT_S, _MAX_RETRIES, _BACKOFF_S = 120.0, 4, 0.5

_ADVICE = {
    0: "is it overloaded by others?",
    404: "is this the /v1 address of an OpenAI-compatible server that embeds, and does it serve the model "
    "(--embedding-server-model)?",
    429: "let it take more requests, or name more servers.",
}

_SHORT = (
    "Bake.",
    "How do plants make sugar?",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, déjà vu.",
    "Растения превращают свет, воду и углекислый газ в сахар.",
    "植物利用阳光把水和二氧化碳变成糖。",
    "النباتات تحول الضوء والماء إلى سكر.",
    "def area(r):\n    return 3.14159 * r ** 2  # 🙂 x²",
)
_COOK = ("Knead the dough with {n} grams of flour", "let it rise for {n} minutes", "bake it until it is brown")
_SKY = ("Star number {n} shines because hydrogen fuses in its core", "its light takes {n} years to reach the Earth")


@dataclass(eq=False)
class _EmbeddingEndpoint(Endpoint):
    """One URL, and what is learned of the server behind it.

    Attributes:
        model: what the server calls the model.
        encoding_format: how it is asked to write vectors; "base64" is a quarter as long as "float".
    """

    model: str = ""
    encoding_format: str = "base64"


class ServerEmbedder(Embedder):
    """A sentence-transformers model whose vectors OpenAI-compatible servers (`/v1/embeddings`) compute.

    Identity, tokenizer, window and prompt are those of the local model, so that an index does not depend on where it
    was embedded; servers get texts cut to the window, with the prompt before them. At first some texts are embedded
    here, in float32, and by every server, and must agree. Several servers share the texts; one that fails is not used
    until it answers again.

    Args:
        urls: "http://host:8000", or with its path, as in "https://host/v1"; several are separated by commas.
        name: of the local model, see `Embedder`.
        device: where the local model runs; by default on the CPU.
        revision: of the local model, see `Embedder`.
        server_model: the model's name at the servers; by default the only one that each lists, or the one that is
            called like the local model.

    Raises:
        InputError: the local model cannot be loaded, a URL or a name is wrong, or a server gives other vectors.
        EmbeddingError: a server cannot be reached, or its responses are unusable.
        MissingExtra: aiohttp is not installed.
    """

    _is_float32 = True

    def __init__(
        self,
        urls: str,
        name: str = EMBEDDED,
        device: str | None = None,
        revision: str | None = None,
        server_model: str = "",
    ) -> None:
        endpoints = [
            _EmbeddingEndpoint(url, ConcurrencyLimit(MOST_IN_FLIGHT)) for url in parse_urls(urls, "embedding server")
        ]
        check_api_keys()
        super().__init__(name, device or "cpu", revision)
        self._endpoints = endpoints
        with Activity("Comparing the embedding servers with the local model"):
            for endpoint in endpoints:
                endpoint.model = server_model or self._listed_model(endpoint)
            self._check(endpoints)

    @property
    def place(self) -> str:
        """Where it embeds, as "by 2 servers"."""
        return "by 1 server" if len(self._endpoints) == 1 else f"by {len(self._endpoints)} servers"

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        """Embed texts like `Embedder.encode_batches`; batches come as they are answered.

        Raises:
            EmbeddingError: no server is left that can be reached and gives usable vectors.
        """
        try:
            yield from self._from(self._endpoints, texts)
        except EmbeddingError as e:
            raise EmbeddingError(f"{e} What was embedded is kept: run the same command again, it goes on.") from e

    def _from(
        self, endpoints: Sequence[_EmbeddingEndpoint], texts: Sequence[str]
    ) -> Iterator[tuple[list[int], Vectors]]:
        """Let some of the servers embed texts."""
        clean = self._readable(texts)
        prompt = self.prompt
        sent = [prompt + text[:end] for text, end in zip(clean, self.heads(clean), strict=True)]
        rows = sorted(range(len(sent)), key=lambda row: -len(sent[row]))
        batches = [rows[start : start + REQUEST_TEXTS] for start in range(0, len(rows), REQUEST_TEXTS)]
        if not batches:
            return

        async def work(put: Callable[[tuple[list[int], Vectors]], None], slots: asyncio.Semaphore) -> None:
            async def embed(batch: list[int]) -> None:
                put((batch, await self._embed(pool, [sent[row] for row in batch])))

            try:
                async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                    connections = [
                        Connection(e, await stack.enter_async_context(Client(e.url, _TIMEOUT_S, _ADVICE)))
                        for e in endpoints
                    ]
                    pool = ConnectionPool(connections, _MAX_RETRIES, _BACKOFF_S)
                    for batch in batches:
                        await slots.acquire()
                        group.create_task(embed(batch))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None

        yield from iterate_in_background(work, MOST_IN_FLIGHT * len(endpoints))

    async def _embed(self, pool: ConnectionPool[_EmbeddingEndpoint], texts: list[str]) -> Vectors:
        """Send texts until there are their vectors.

        Raises:
            EmbeddingError: a server says that the request is wrong, or no server is left to send it to.
        """
        request = Request()
        parse = partial(parse_embeddings, texts=texts, dimension=self.dimension)
        while (connection := await pool.acquire(request)) is not None:
            endpoint, sent_at = connection.endpoint, time.monotonic()
            asked_for = endpoint.encoding_format
            body = {"model": endpoint.model, "input": texts, "encoding_format": asked_for}
            response = await connection.client.post("/embeddings", body, parse)
            if not isinstance(response, Failure):
                pool.release_answered(connection)
                return response
            if asked_for == "base64" and _refuses_base64(response):
                endpoint.encoding_format = "float"
                pool.release(connection)
            elif response.is_permanent or response.ends_run:
                pool.release_refused(connection, request, response)
            elif response.retryable:
                await asyncio.sleep(pool.release_failed(connection, request, response, sent_at))
            else:
                pool.release(connection)
                if response.is_too_long:
                    response = replace(
                        response,
                        advice=f"the local model reads {self.window} tokens of a text besides special ones, and so "
                        "must the server: start it with a higher limit.",
                    )
                raise EmbeddingError(response.message(endpoint.url))
        raise EmbeddingError(pool.failure_message(request))

    def _listed_model(self, endpoint: _EmbeddingEndpoint) -> str:
        """What a server calls the model; the local name if it lists none, as text-embeddings-inference does."""

        async def work(put: Callable[[list[Mapping[str, Any]] | Failure], None], _: asyncio.Semaphore) -> None:
            async with Client(endpoint.url, _TIMEOUT_S, _ADVICE) as client:
                put(await list_models(client, _MAX_RETRIES, _BACKOFF_S))

        (models,) = iterate_in_background(work, 1)
        if isinstance(models, Failure):
            if models.status in (404, 405, 501):
                return self.model
            raise EmbeddingError(models.message(endpoint.url))
        listed = [str(model["id"]) for model in models]
        if len(listed) > 1:
            listed = [name for name in listed if _last_part(name) == _last_part(self.model)] or listed
        if len(listed) == 1:
            return listed[0]
        names = redact(", ".join(listed[:10]), 2000)
        raise InputError(
            f"{endpoint.url} lists {len(listed)} models ({names}), and which of them is {self.model} cannot be told; "
            "say it with embedding_server_model= (--embedding-server-model)."
        )

    def _check(self, endpoints: Sequence[_EmbeddingEndpoint]) -> None:
        """Compare the vectors of every server with those of the local model.

        Raises:
            InputError: they are others.
        """
        texts = probes(self)
        expected = np.empty((len(texts), self.dimension), dtype=np.float32)
        for rows, vectors in super().encode_batches(texts):
            expected[rows] = vectors
        for endpoint in endpoints:
            found = np.empty_like(expected)
            for rows, vectors in self._from([endpoint], texts):
                found[rows] = vectors
            cosines = (expected * found).sum(axis=1)
            if cosines.min() >= LEAST_COSINE:
                continue
            worst = int(cosines.argmin())
            if cosines[:-1].min() >= LEAST_COSINE:
                why = f"does the server cut texts before the {self.window} tokens that the model reads of them?"
            else:
                why = "does it serve another model, pool in another way, or put a prompt before texts?"
            raise InputError(
                f"{endpoint.url} ({redact(endpoint.model)}) gives other vectors than {self.versioned_name} does here: "
                f"for the text {texts[worst][:40]!r} their cosine is {cosines[worst]:.4f}, expected "
                f"{LEAST_COSINE} or more; {why} Nothing was embedded."
            )


def probes(embedder: Embedder) -> list[str]:
    """Return the texts on which servers are compared with a model: of several scripts, and at last one that fills the
    model's window, whose halves have little in common, so that vectors of a part of it are others.
    """
    size = min(embedder.window or LONGEST_PROBE, LONGEST_PROBE)
    first, second = _sentences(_COOK, size // 2, embedder), _sentences(_SKY, size, embedder)
    return [*_SHORT, first + second]


def _sentences(patterns: tuple[str, ...], tokens: int, embedder: Embedder) -> str:
    """Return text of at least so many tokens, or characters where the model has none."""
    text, number = "", 0
    while len(text) < tokens or (embedder.window and len(next(embedder.token_starts([text]))) < tokens):
        text += "".join(
            f"{pattern.format(n=7 * (number + i))}. " for i, pattern in enumerate(patterns * (1 + tokens // 100))
        )
        number += len(patterns)
    return text


def parse_embeddings(body: Any, texts: Sequence[str], dimension: int) -> Vectors | Failure:
    """Parse the response to a request for embeddings to unit vectors, in the order of the texts.

    Args:
        body: what the server sent; vectors are lists of numbers, or base64 of little-endian float32.
        texts: what it was asked for.
        dimension: of the vectors.

    Returns:
        float32 (texts, dimension), or what is wrong with them.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is not a list of embeddings.
    """
    found = {int(row["index"]): _numbers(row["embedding"]) for row in body["data"]}
    if len(body["data"]) != len(texts) or found.keys() != set(range(len(texts))):
        return Failure(
            f"{len(body['data'])} embeddings, numbered {_few(sorted(found))}, for {len(texts)} texts",
            "is this an OpenAI-compatible server?",
        )
    if (other := next((len(vector) for vector in found.values() if len(vector) != dimension), None)) is not None:
        return Failure(
            f"an embedding of {other} dimensions, expected {dimension}", "does it serve another model?", retryable=False
        )
    vectors = np.stack([found[i] for i in range(len(texts))])
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if len(bad := np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))):
        return Failure(
            f"an embedding with NaN, infinity, or nothing but zeros for the text {texts[bad[0]][:80]!r}",
            "let the server compute in bfloat16 or float32.",
            retryable=False,
        )
    unit: Vectors = vectors / norms
    return unit


def _numbers(embedding: Any) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    return np.array(embedding, dtype=np.float32).reshape(-1)


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")


def _refuses_base64(failure: Failure) -> bool:
    words = failure.server_words
    return failure.status in (400, 422, 500, 501) and ("encoding_format" in words or "base64" in words)


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()
