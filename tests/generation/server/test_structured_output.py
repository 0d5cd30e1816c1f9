"""Tests of how JSON is asked for, checked and asked for again, alone and against a real HTTP server on loopback."""

from __future__ import annotations

import json
import logging

import pytest

from craft_hf.base.records import Answer
from craft_hf.generation.generator import Sampling
from tests.openai_server import ANSWER, FakeServer, error, ok, serving
from tests.server_client import SCHEMA, answers, clean, generator, prompts

_clean = clean

WORDS = "Sure! Here is your question."


def test_json_modes_are_tried_strictest_first(caplog: pytest.LogCaptureFixture) -> None:
    """A refused json_schema is followed by json_object with the schema; what is taken stays."""
    with serving(FakeServer(refuses=["json_schema"])) as fake, caplog.at_level(logging.WARNING):
        assert len(answers(fake, 3, concurrency=1)) == 3
    forms = [r["response_format"] for r in fake.requests]
    assert [form["type"] for form in forms] == ["json_schema", *["json_object"] * 3]
    assert forms[1]["schema"] == forms[1]["value"] == SCHEMA
    assert "refuses response_format of type json_schema" in caplog.text


def test_a_refusal_may_look_like_an_internal_error() -> None:
    """llama-cpp-python's server says 500 of a form that it does not know; another 500 refuses nothing."""
    said = "1 validation error:\n {'type': 'literal_error', 'loc': ('body', 'response_format', 'type')}"
    with serving(FakeServer([error(500, "response_format broke me"), error(500, said)])) as fake:
        assert len(answers(fake)) == 1
    forms = [r["response_format"]["type"] for r in fake.requests]
    assert forms == ["json_schema", "json_schema", "json_object"]


def test_a_server_without_json_modes_gets_no_response_format() -> None:
    """After two refusals the parameter is not sent any more."""
    with serving(FakeServer(refuses=["response_format"])) as fake:
        g = generator(fake.url, concurrency=1)
        for _ in range(2):
            assert len(list(g.generate(prompts(3), SCHEMA, Sampling()))) == 3
    forms = [r.get("response_format", {}).get("type") for r in fake.requests]
    assert forms == ["json_schema", "json_object", *[None] * 6]


def test_a_bad_answer_is_asked_for_again_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    """The next request holds the bad answer, what is wrong, and the schema, has another seed; tokens add up."""
    with serving(FakeServer([ok(WORDS, cached=2), ok(f"```json\n{ANSWER}\n```", cached=4)])) as fake:
        assert answers(fake) == [Answer(f"```json\n{ANSWER}\n```", "stop", 14, 6, 6)]
    first, second = fake.requests
    assert len(first["messages"]) == 1
    assert first["seed"] != second["seed"]
    asked, bad, wish = second["messages"]
    assert asked == first["messages"][0]
    assert bad == {"role": "assistant", "content": WORDS}
    assert wish["role"] == "user"
    assert "it holds no JSON object" in wish["content"]
    assert json.dumps(SCHEMA) in wish["content"]
    assert caplog.text.count("does not constrain answers to the schema") == 1


def test_a_bad_answer_is_asked_for_twice_at_most() -> None:
    """After three tries the last answer is given as it is, with the tokens of all."""
    replies = [ok("one"), ok("two"), ok('{"question": 3}')]
    with serving(FakeServer(replies)) as fake:
        assert answers(fake) == [Answer('{"question": 3}', "stop", 21, 9)]
        assert len(fake.requests) == 3
        assert [len(r["messages"]) for r in fake.requests] == [1, 3, 3]
        assert len({r["seed"] for r in fake.requests}) == 3


def test_a_bad_answer_changes_no_other_prompt() -> None:
    """What a prompt is first asked depends on nothing that came before it."""
    with serving(FakeServer([ok(WORDS), ok(WORDS)])) as fake:
        list(generator(fake.url, concurrency=1).generate(prompts(3), SCHEMA, Sampling()))
    asked = [r["messages"] for r in fake.requests]
    assert [turns for turns in asked if len(turns) == 1] == [[turn] for p in prompts(3) for turn in p.messages]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_that_was_cut_is_not_asked_for_again(reason: str) -> None:
    """It says nothing of whether the server sees to the schema, and would be cut again."""
    with serving(FakeServer([ok('{"question": "Q', reason)])) as fake:
        first = answers(fake, 2, concurrency=1)[0]
        assert (first.text, first.finish_reason) == ('{"question": "Q', reason)
        assert len(fake.requests) == 2
        assert fake.requests[1]["messages"] == [{"role": "user", "content": "ask 1"}]


@pytest.mark.parametrize(
    "fault", [error(400, "This model's maximum context length is 9 tokens"), error(400, "roles must alternate")]
)
def test_a_server_that_refuses_the_second_try_leaves_the_first(fault: object) -> None:
    """What was paid for is given, though it is bad; the run goes on."""
    with serving(FakeServer([ok(WORDS), fault])) as fake:  # type: ignore[list-item]
        assert answers(fake) == [Answer(WORDS, "stop", 7, 3)]


def test_a_fault_between_tries_forgets_nothing() -> None:
    """A second try that hits a fault is sent again as it was."""
    with serving(FakeServer([ok(WORDS), error(500, "x"), ok()])) as fake:
        assert answers(fake) == [Answer(ANSWER, "stop", 14, 6)]
    assert fake.requests[1]["messages"] == fake.requests[2]["messages"]
