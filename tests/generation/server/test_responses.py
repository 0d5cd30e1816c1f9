"""Chat completions as servers really send them: answers, reasons why there is none, and faults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from craft_hf.base.records import CUT, FILTERED, REFUSED, Answer
from craft_hf.generation.server.responses import parse_answer
from craft_hf.servers.responses import Failure
from tests.openai_server import ANSWER

TEXT = {"type": "text", "text": "a"}


def body(message: dict[str, Any], finish_reason: str | None = "stop", **choice: Any) -> dict[str, Any]:
    """A chat completion with one choice."""
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason, **choice}]}


def call(arguments: object) -> dict[str, Any]:
    """A message with a tool call in place of a text."""
    return {"content": None, "tool_calls": [{"type": "function", "function": {"name": "s", "arguments": arguments}}]}


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": ANSWER}, ANSWER, ""),
        ({"content": None}, "", ""),
        ({}, "", ""),
        ({"content": [{"type": "text", "text": ANSWER}]}, ANSWER, ""),
        ({"content": [TEXT, {"type": "image_url"}, {"type": "output_text", "text": "b"}]}, "ab", ""),
        ({"content": ["a", "b"]}, "ab", ""),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, TEXT]}, "a", "hm"),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}]}, "a", "hm"),
        ({"content": "a", "reasoning_content": "hm"}, "a", "hm"),
        ({"content": None, "reasoning": ANSWER}, "", ANSWER),
        ({"content": "a", "reasoning_content": "hm", "reasoning": "hm"}, "a", "hm"),
        (call(ANSWER), ANSWER, ""),
        (call({"question": "Q?"}), ANSWER, ""),
        ({"content": "", "function_call": {"name": "s", "arguments": ANSWER}}, ANSWER, ""),
        ({**call("{}"), "content": "a"}, "a", ""),
    ],
)  # fmt: skip
def test_the_text_is_found_wherever_it_stands(message: dict[str, Any], text: str, reasoning: str) -> None:
    """Parts, tool calls and fields of reasoning are told apart."""
    assert parse_answer(body(message)) == Answer(text, "stop", reasoning=reasoning)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "stop"), ("length", CUT), ("max_tokens", CUT), ("MAX_TOKENS", CUT), ("model_length", CUT),
        ("content_filter", FILTERED), ("sensitive", FILTERED), ("SAFETY", FILTERED), ("RECITATION", FILTERED),
        ("guardrail_intervened", FILTERED), ("end_turn", "end_turn"), ("tool_calls", "tool_calls"), (None, "unknown"),
    ],
)  # fmt: skip
def test_every_finish_reason_is_one_of_ours(said: str | None, reason: str) -> None:
    """What is filtered is no answer; what is cut is one that is not read; others are read."""
    found = parse_answer(body({"content": ANSWER}, said))
    assert isinstance(found, Answer)
    assert (found.finish_reason, found.is_answer) == (reason, reason != FILTERED)


def test_a_refusal_has_its_words() -> None:
    """It is an answer that is not asked for again."""
    assert parse_answer(body({"content": None, "refusal": "I cannot."})) == Answer("I cannot.", REFUSED)


@pytest.mark.parametrize(
    "sent",
    [
        *(body({"content": ""}, reason) for reason in ("error", "abort", "cancelled", "network_error", "ERROR")),
        body({"content": ""}, "error", error={"code": 502, "message": "upstream"}),
        body({"content": "half an ans"}, None, error={"message": "upstream", "code": "overloaded"}),
    ],
)
def test_what_a_fault_ended_is_asked_for_again(sent: dict[str, Any]) -> None:
    """It came under status 200, and is no answer all the same."""
    found = parse_answer(sent)
    assert isinstance(found, Failure)
    assert found.retryable


@pytest.mark.parametrize(
    "sent", [{}, [], {"choices": []}, {"choices": [{}]}, body({"content": 5}), body({"content": {}})]
)
def test_what_is_no_completion_is_none(sent: Any) -> None:
    """Whoever calls it makes a failure of the exception."""
    with pytest.raises((AttributeError, IndexError, KeyError, TypeError)):
        parse_answer(json.loads(json.dumps(sent)))
