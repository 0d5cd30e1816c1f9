"""The addresses that serve a model: a comma-separated text comes in, what is known of each of them goes out."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from craft_hf.base import JSON, InputError
from craft_hf.generate.generator import Sampling
from craft_hf.generate.server.keys import KEYS, scrubbed
from craft_hf.generate.server.limit import Limit
from craft_hf.generate.server.replies import Fault
from craft_hf.generate.server.structured import RUNGS, response_format

_log = logging.getLogger(__name__)
_URL = re.compile(r"(?i)(https?://(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?)(/[^\s?#,]*)?")


@dataclass(eq=False)
class Endpoint:
    """One address, and what a run has learned of the server behind it.

    `refused` names the parameters that it does not take, `rung` is the form of asking for JSON that it does take (see
    `structured.response_format`), `obeys` tells whether every finished answer was valid JSON so far, and `few_shots`
    are the tuples of few-shots that are best sent here, because its prefix cache may hold them.
    """

    url: str
    limit: Limit
    refused: set[str] = field(default_factory=set)
    rung: int = 0
    obeys: bool = True
    few_shots: set[tuple[str, ...]] = field(default_factory=set)

    def options(self, schema: Mapping[str, JSON], sampling: Sampling, seed: int) -> dict[str, Any]:
        """Return the parameters of a request that this server has not refused and that a run can do without."""
        wanted = {"response_format": response_format(self.rung, schema), "top_k": sampling.top_k, "seed": seed}
        return {name: value for name, value in wanted.items() if value is not None and name not in self.refused}

    def learn(self, fault: Fault, sent: Mapping[str, Any], schema: Mapping[str, JSON]) -> bool:
        """Take note of a parameter that the server refuses; tell whether asking without it is worth a try.

        Args:
            fault: what the server said.
            sent: the `options` that it was sent.
            schema: the schema that it was sent.
        """
        name = fault.refused(sent)
        if name is None:
            return False
        if name != "response_format":
            is_news = name not in self.refused
            self.refused.add(name)
        elif is_news := sent[name] == response_format(self.rung, schema):
            self.rung = min(self.rung + 1, RUNGS - 1)
        if is_news:
            what = name if name != "response_format" else f"{name} of type {sent[name]['type']}"
            _log.warning("%s refuses %s, going on without it: %s", self.url, what, scrubbed(fault.body))
        return True

    def disobeyed(self) -> None:
        """Take note that a finished answer was no valid JSON."""
        if self.obeys:
            _log.warning("%s does not hold answers to the schema: those that break it are asked for again.", self.url)
        self.obeys = False


def addresses(text: str) -> list[str]:
    """Split and normalise addresses, each up to /v1; no message shows what stands before an @ or after a ?.

    Args:
        text: "http://host:8000", "https://host/v1", or several of them, separated by commas.

    Raises:
        InputError: one of them is no address, or holds a password or a query, or comes twice.
    """
    if "@" in text:
        raise InputError(f"the generator URL holds a user or password (before @); expected none: set {KEYS[0]}.")
    urls = []
    for part in text.split(","):
        good = _URL.fullmatch(part.strip())
        if not good:
            shown = re.split(r"[?#]", part)[0]
            raise InputError(
                f"{shown!r} is no generator URL; expected http://host:port/v1 or https://..., without query, or "
                "several, separated by commas."
            )
        urls.append(str(good[1]) + ((good[2] or "").rstrip("/").removesuffix("/chat/completions") or "/v1"))
    if twice := next((url for url in urls if urls.count(url) > 1), None):
        raise InputError(f"the generator URL names {twice} twice; name each server once.")
    return urls
