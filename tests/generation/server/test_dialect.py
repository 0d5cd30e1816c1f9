"""Parameters that servers refuse, against a real HTTP server on loopback and as the words of real servers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from craft_hf.base.records import FAILED
from craft_hf.generation.server.dialect import TEXT_LIMITS, Dialect
from craft_hf.generation.server.structured_output import JsonMode, response_format
from craft_hf.servers.responses import Failure
from tests.openai_server import HANG_UP, FakeServer, Reply, error, ok, serving
from tests.server_client import SCHEMA, answers, clean, failure

_clean = clean


class Picky(FakeServer):
    """Refuses what `refuses` returns words for."""

    def __init__(self, refuses: Callable[[dict[str, Any]], str | None]) -> None:
        super().__init__()
        self.words = refuses

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """Refuse with status 400, or answer."""
        with self.lock:
            self.requests.append(body)
        said = self.words(body)
        return error(400, said) if said else ok()


def reasoning_model(body: dict[str, Any]) -> str | None:
    """Speak as OpenAI's API does for its reasoning models."""
    if "max_tokens" in body:
        return (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    if body.get("temperature", 1) != 1:
        return (
            "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) is supported."
        )
    return "Unrecognized request argument supplied: top_k" if "top_k" in body else None


@pytest.mark.parametrize(
    ("words", "left_out", "missing"),
    [
        (reasoning_model, "temperature,top_k", {"max_tokens", "temperature", "top_k"}),
        (
            lambda body: "temperature and top_p together?" if {"temperature", "top_p"} <= {*body} else None,
            "top_p",
            {"top_p"},
        ),
        (
            lambda body: "Invalid schema for response_format 'sample': In context=('properties', 'question'), "
            "'minLength' is not permitted." if "minLength" in json.dumps(body) else None,
            TEXT_LIMITS,
            set(),
        ),
        (lambda body: "no" if "seed" in body else None, "seed", {"seed"}),
        (lambda body: "Bad Request" if "top_p" in body else None, "top_p", {"top_p"}),
        (lambda body: "x" if "response_format" in body else None, "response_format", {"response_format"}),
        (
            lambda body: "extra fields not permitted" if {"seed", "top_k"} & {*body} else None,
            "seed,temperature,top_k,top_p",
            {"seed", "top_k", "top_p", "temperature"},
        ),
    ],
    ids=["reasoning-model", "together", "lengths", "silent-seed", "silent-top-p", "silent-format", "silent-two"],
)  # fmt: skip
def test_what_is_refused_is_left_out_from_then_on(
    words: Callable[[dict[str, Any]], str | None], left_out: str, missing: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By name or not, it costs some requests once, is told, and stands beside each answer."""
    fake = Picky(words)
    schema = {**SCHEMA, "properties": {"question": {"type": "string", "minLength": 1}}}
    with serving(fake), caplog.at_level(logging.WARNING):
        got = answers(fake, 4, schema, concurrency=1)
    parts = [
        set(answer.left_out.replace("response_format of type json_schema", "response_format").split(","))
        for answer in got
    ]
    assert parts == [set(left_out.split(","))] * 4
    assert [words(request) for request in fake.requests[-3:]] == [None] * 3
    everything = {"temperature", "top_p", "top_k", "seed", "response_format", "max_tokens"}
    assert everything - {*fake.requests[-1]} == missing
    assert "going on without it" in caplog.text


def test_a_prompt_that_is_refused_after_others_were_answered_is_not_tried_in_other_ways() -> None:
    """The parameters were taken; it is the prompt's fault, and the others go on."""
    with serving(FakeServer(by_content={"ask 1": error(400, "no")})) as fake:
        got = answers(fake, 3, concurrency=1)
        assert [answer.finish_reason for answer in got] == ["stop", FAILED, "stop"]
        assert len(fake.requests) == 3


def test_a_fault_during_a_trial_decides_nothing() -> None:
    """A busy or broken server says nothing of the parameters: the trial is sent again, and the next is not needed."""
    replies = [error(400, "no"), error(429, "x"), error(500, "x"), HANG_UP]
    with serving(FakeServer(replies)) as fake:
        (answer,) = answers(fake, concurrency=1, max_retries=4)
        asked = [{*request} for request in fake.requests]
    assert answer.left_out == "top_k"
    assert asked[1:] == [asked[0] - {"top_k"}] * 4


def test_a_server_that_refuses_everything_says_why_in_the_end() -> None:
    """No way of asking helps: the run ends with the server's words, and each way was tried once."""
    with serving(FakeServer(always=error(400, "roles must alternate"))) as fake:
        assert "roles must alternate" in failure(fake)
        asked = [json.dumps({**request, "messages": None}, sort_keys=True) for request in fake.requests]
        assert len(asked) == len({*asked}) == 10


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens is too large: 4096. This model supports at most 2048 completion tokens.",
        "roles must alternate user/assistant",
        '{"detail": [{"loc": ["body"], "input": "seed top_k temperature response_format"}]}',
    ],
)
def test_words_that_name_no_parameter_to_leave_out(words: str) -> None:
    """An error that mentions the limit of tokens, or echoes the document, refuses nothing."""
    assert Dialect().refused(Failure("", "", words, 400)) is None


def test_each_step_ends() -> None:
    """No parameter is given up twice."""
    for name in (TEXT_LIMITS, "response_format", "seed", "max_tokens", "temperature"):
        step, steps = Dialect(), 0
        while (following := step.step(name)) is not None:
            step, steps = following, steps + 1
        assert steps == (2 if name == "response_format" else 1)


def test_limits_of_texts_are_taken_out_and_nothing_else() -> None:
    """A property or a value that is called like a keyword stays."""
    schema = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "pattern": "^A", "minLength": 2},
            "format": {"enum": ["pattern"], "default": {"format": 1}},
            "list": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 2},
        },
        "required": ["pattern"],
    }
    sent = response_format(JsonMode.PLAIN_SCHEMA, schema)
    assert sent is not None
    assert sent["json_schema"]["schema"] == {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "format": {"enum": ["pattern"], "default": {"format": 1}},
            "list": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        },
        "required": ["pattern"],
    }
