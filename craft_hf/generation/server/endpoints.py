"""The URLs that serve a model, and what a run has learned of the server behind each."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from craft_hf.base import JSON, InputError
from craft_hf.generation.generator import Sampling
from craft_hf.generation.server.api_keys import API_KEY_VARIABLES, redact
from craft_hf.generation.server.concurrency_limit import ConcurrencyLimit
from craft_hf.generation.server.responses import Failure
from craft_hf.generation.server.structured_output import JsonMode, response_format

_log = logging.getLogger(__name__)
_URL = re.compile(r"(?i)(https?://(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?)(/[^\s?#,]*)?")


@dataclass(eq=False)
class Endpoint:
    """One URL, and what a run has learned of the server behind it.

    Attributes:
        url: where its API is, up to /v1.
        limit: how many requests it may have in flight.
        unsupported: optional parameters that it has refused, which are not sent any more.
        json_mode: the strictest way to ask for JSON that it has not refused.
        follows_schema: False once a finished answer was not valid under the schema.
        few_shots: the few-shots (a tuple of their ids a prompt) whose prompts are sent here by preference, because its
            prefix cache may hold them.
    """

    url: str
    limit: ConcurrencyLimit
    unsupported: set[str] = field(default_factory=set)
    json_mode: JsonMode = JsonMode.JSON_SCHEMA
    follows_schema: bool = True
    few_shots: set[tuple[str, ...]] = field(default_factory=set)

    def options(self, schema: Mapping[str, JSON], sampling: Sampling, seed: int) -> dict[str, Any]:
        """Return the optional parameters of a request, without those that the server has refused."""
        options = {"response_format": response_format(self.json_mode, schema), "top_k": sampling.top_k, "seed": seed}
        return {name: value for name, value in options.items() if value is not None and name not in self.unsupported}

    def learn_unsupported(self, failure: Failure, sent: Mapping[str, Any], schema: Mapping[str, JSON]) -> bool:
        """Drop a parameter that the server refuses by name; tell whether the request is worth another try without it.

        Args:
            failure: the server's response.
            sent: the `options` of the request.
            schema: the schema of the request.
        """
        name = failure.unsupported_option(sent)
        if name is None:
            return False
        if name != "response_format":
            is_news = name not in self.unsupported
            self.unsupported.add(name)
        elif is_news := sent[name] == response_format(self.json_mode, schema):
            self.json_mode = JsonMode(min(self.json_mode + 1, JsonMode.NONE))
        if is_news:
            what = name if name != "response_format" else f"{name} of type {sent[name]['type']}"
            _log.warning("%s refuses %s, going on without it: %s", self.url, what, redact(failure.body))
        return True

    def warn_invalid_answer(self) -> None:
        """Take note that a finished answer was not valid under the schema; the first one is logged."""
        if self.follows_schema:
            _log.warning("%s does not constrain answers to the schema: invalid ones are asked for again.", self.url)
        self.follows_schema = False


def parse_urls(text: str) -> list[str]:
    """Split and normalise URLs, each up to /v1; no message shows what stands before an @ or after a ?.

    Args:
        text: "http://host:8000", "https://host/v1", or several of them, separated by commas.

    Raises:
        InputError: one of them is not a URL, holds a password or a query, or is given twice.
    """
    if "@" in text:
        raise InputError(
            f"the generator URL holds a user or password (before @); expected none: set {API_KEY_VARIABLES[0]}."
        )
    urls = []
    for part in text.split(","):
        match = _URL.fullmatch(part.strip())
        if not match:
            shown = re.split(r"[?#]", part)[0]
            raise InputError(
                f"{shown!r} is not a generator URL; expected http://host:port/v1 or https://..., without query, or "
                "several, separated by commas."
            )
        urls.append(str(match[1]) + ((match[2] or "").rstrip("/").removesuffix("/chat/completions") or "/v1"))
    if duplicate := next((url for url in urls if urls.count(url) > 1), None):
        raise InputError(f"the generator URL names {duplicate} twice; name each server once.")
    return urls
