"""The openai package's client of a server, and which models that has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from craft_hf.base import require
from craft_hf.servers.api_keys import api_key_for
from craft_hf.servers.connection_pool import backoff
from craft_hf.servers.responses import Failure, send_request


def open_client(url: str, timeout_s: float) -> Any:
    """Return an asynchronous client, an asynchronous context manager, which sends a request once.

    Args:
        url: of the server's API, up to /v1.
        timeout_s: seconds that a request may take.

    Raises:
        MissingExtra: the openai package is not installed.
    """
    make = require("openai", "server").AsyncOpenAI
    return make(api_key=api_key_for(url), base_url=url, timeout=timeout_s, max_retries=0)


async def list_models(
    client: Any, timeout_s: float, max_retries: int, backoff_s: float, advice: Mapping[int, str]
) -> list[str] | Failure:
    """Return the names of a server's models; a retryable failure is retried.

    Args:
        client: see `open_client`.
        timeout_s: seconds that a request may take.
        max_retries: how often a failed request is sent again.
        backoff_s: longest pause before the first retry in seconds, see `backoff`.
        advice: see `send_request`.
    """
    attempts = 0
    while True:
        response = await send_request(client.models.with_raw_response.list, parse_models, timeout_s, advice)
        attempts += 1
        if not isinstance(response, Failure):
            return response
        if not response.retryable or attempts > max_retries:
            return replace(response, attempts=attempts)
        await asyncio.sleep(max(response.retry_after_s, backoff(backoff_s, attempts)))


def parse_models(body: Any) -> list[str]:
    """Parse a list of models to their names.

    Raises:
        KeyError, TypeError: it is not a list of models.
    """
    return [str(model["id"]) for model in body["data"]]
