"""Which parameters of a request a server takes: those that it refuses are left out, or asked for in another way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from craft_hf.base import JSON
from craft_hf.generation.generator import Sampling
from craft_hf.generation.server.structured_output import LIMITS, JsonMode, response_format
from craft_hf.servers import Failure
from craft_hf.tasks import without_keywords

MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"
"""Names of the limit of an answer's tokens: the usual one, and that of OpenAI's reasoning models."""

TEXT_LIMITS = "limits of texts in response_format"
"""Name of what only a part of the servers can compile of a schema: lengths, patterns and formats of texts."""

_NAMED = {
    TEXT_LIMITS: r"\b(m(in|ax)Length|pattern)\b|\bgrammar\b",
    "response_format": r"response_format|json_schema|json_object|structured.output|guided.",
    "top_k": r"\btop[_-]k\b",
    "seed": r"\bseed\b",
    MAX_TOKENS: r"\bmax_completion_tokens\b",
    "top_p": r"\btop[_-]p\b",
    "temperature": r"\btemperature\b",
}
"""What a server that refuses a parameter calls it. The order is that in which they are given up: an answer is checked
against the schema in any case, and a server that refuses two parameters together keeps the last one. Of a server that
refuses max_tokens only the advice to take the other name counts: many errors mention the limit."""

_TRIALS = ("top_k", "seed", MAX_TOKENS, TEXT_LIMITS, "response_format", "top_p", "temperature")
"""The order in which a server that says nothing is asked without: what is no part of OpenAI's API first."""

_CONSEQUENCES = {
    TEXT_LIMITS: "answers are checked against them, and others asked for again",
    "response_format": "answers are checked against the schema, and invalid ones asked for again",
    "top_k": "it samples from all tokens that top_p leaves",
    "seed": "its answers cannot be repeated",
    "top_p": "it samples from all tokens that top_k leaves",
    "temperature": "it samples at its own temperature",
    MAX_TOKENS: "the limit is sent as max_completion_tokens",
}

_JSON_MODES = {
    JsonMode.PLAIN_SCHEMA: TEXT_LIMITS,
    JsonMode.JSON_OBJECT: "response_format of type json_schema",
    JsonMode.NONE: "response_format",
}
"""What is left out in each mode but the first."""


@dataclass(frozen=True)
class Dialect:
    """How a server is asked.

    Attributes:
        without: parameters that are not sent.
        json_mode: how it is asked for JSON.
        limit: what the limit of an answer's tokens is called.
    """

    without: frozenset[str] = frozenset()
    json_mode: JsonMode = JsonMode.JSON_SCHEMA
    limit: str = MAX_TOKENS

    def parameters(self, schema: Mapping[str, JSON], sampling: Sampling) -> dict[str, Any]:
        """Return the parameters of a request besides model, messages and seed."""
        wanted = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            self.limit: sampling.max_new_tokens,
            "response_format": response_format(self.json_mode, schema),
        }
        return {name: value for name, value in wanted.items() if value is not None and name not in self.without}

    @property
    def left_out(self) -> str:
        """The parameters that are not sent, or less strictly, separated by commas; "" for none."""
        return ",".join(sorted({*self.without, *([_JSON_MODES[self.json_mode]] if self.json_mode else [])}))

    def step(self, name: str) -> Dialect | None:
        """Return how to ask without a parameter, or less strictly; None where that is done already."""
        if name == TEXT_LIMITS:
            return replace(self, json_mode=JsonMode.PLAIN_SCHEMA) if self.json_mode == JsonMode.JSON_SCHEMA else None
        if name == "response_format":
            less = JsonMode.NONE if self.json_mode == JsonMode.JSON_OBJECT else JsonMode.JSON_OBJECT
            return replace(self, json_mode=less) if self.json_mode < JsonMode.NONE else None
        if name == MAX_TOKENS:
            return replace(self, limit=MAX_COMPLETION_TOKENS) if self.limit == MAX_TOKENS else None
        return replace(self, without=self.without | {name}) if name not in self.without else None

    def refused(self, failure: Failure) -> Dialect | None:
        """Return how to ask without what the server names as unsupported; None if it names nothing that was sent."""
        # llama-cpp-python's server reports an unsupported parameter as an internal error.
        words = failure.server_words
        if not (failure.status in (400, 422) or (failure.status == 500 and "validation error" in words)):
            return None
        named = (self.step(name) for name, pattern in _NAMED.items() if re.search(pattern, words))
        return next(filter(None, named), None)

    def simpler(self, schema: Mapping[str, JSON]) -> Iterator[Dialect]:
        """Yield ways to ask for less, for a server that does not say what it refuses: each alone, then all together."""
        for name in _TRIALS:
            step = self.step(name)
            if name == TEXT_LIMITS and without_keywords(schema, LIMITS) == schema:
                continue
            while step is not None:
                yield step
                step = step.step(name) if name == "response_format" else None
        sampling = self.without | {"seed", "temperature", "top_k", "top_p"}
        yield replace(self, without=sampling)
        yield replace(self, without=sampling, json_mode=JsonMode.NONE)

    def difference(self, other: Dialect) -> str:
        """Say what another dialect leaves out that this one sends, and what that means."""
        names = [
            *sorted(other.without - self.without),
            *([_JSON_MODES[other.json_mode]] if other.json_mode != self.json_mode else []),
            *([MAX_TOKENS] if other.limit != self.limit else []),
        ]
        return "; ".join(f"{name} ({_CONSEQUENCES.get(name, _CONSEQUENCES['response_format'])})" for name in names)
