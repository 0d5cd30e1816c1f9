"""The URLs that serve a chat model, and what a run has learned of the server behind each."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from craft_hf.base import JSON
from craft_hf.generation.generator import Sampling
from craft_hf.generation.server.responses import unsupported_option
from craft_hf.generation.server.structured_output import JsonMode, response_format
from craft_hf.servers import Endpoint, Failure, redact

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class ChatEndpoint(Endpoint):
    """One URL, and what a run has learned of the server behind it.

    Attributes:
        unsupported: optional parameters that it has refused, which are not sent any more.
        json_mode: the strictest way to ask for JSON that it has not refused.
        follows_schema: False once a finished answer was not valid under the schema.
    """

    unsupported: set[str] = field(default_factory=set)
    json_mode: JsonMode = JsonMode.JSON_SCHEMA
    follows_schema: bool = True

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
        name = unsupported_option(failure, sent)
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
