"""Reading of answers: a table of what models and servers send."""

from __future__ import annotations

import time

import pytest

from craft_hf.base.records import Answer
from craft_hf.tasks.answers import AnswerReader

SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "hint": {"type": "string"}},
    "required": ["question"],
}
FINAL, DRAFT = '{"question": "Final?"}', '{"question": "Draft?"}'
READER = AnswerReader(SCHEMA)


def read(text: str, reasoning: str = "") -> tuple[object, str, bool]:
    """Return the question that is read from an answer, the problem, and whether it was repaired."""
    found = READER.read(Answer(text, "stop", reasoning=reasoning))
    return found.fields.get("question"), found.problem, found.is_repaired


@pytest.mark.parametrize(
    "text",
    [
        FINAL,
        f"  {FINAL}\n",
        f"```json\n{FINAL}\n```",
        f"```\n{FINAL}```",
        f"Sure, {{here}} it is:\n{FINAL}\nIs it {{good}}?",
        f"{DRAFT} or rather {FINAL}",
        f'{FINAL} or rather {{"question": 5}}',
        f"```json\n{DRAFT}\n```\nBetter:\n```json\n{FINAL}\n```",
        f"[{FINAL}]",
        '"{\\"question\\": \\"Final?\\"}"',
        *(
            f"{opening}hm {DRAFT}{closing}{FINAL}"
            for opening, closing in [
                ("<think>", "</think>\n\n"),
                ("<THINK>", "</THINK>"),
                ("<thinking>", "</thinking>"),
                ("<reasoning>", "</reasoning>"),
                ('<thought effort="low">', "</thought>"),
                ("<seed:think>", "</seed:think>"),
                ("[THINK]", "[/THINK]"),
                ("◁think▷", "◁/think▷"),
                ("<|begin_of_thought|>", "<|end_of_thought|>"),
                ("<|START_THINKING|>", "<|END_THINKING|>"),
                ("<unused94>thought\n", "<unused95>"),
                ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
                ("<|channel|>analysis<|message|>", "<|channel|>final <|constrain|>json<|message|>"),
                ("analysisWe want", "assistantfinal"),
                ("", "</think>"),  # the beginning stood in the prompt
                ("", "[/THINK]"),
                ("<think>one</think>", "</think>"),
                ("<think><think>", "</think> hm </think>"),
            ]
        ),
    ],
)
def test_the_sample_is_found_and_no_draft(text: str) -> None:
    """Reasoning, fences and words around it are left out; of several objects the last valid one counts."""
    assert read(text) == ("Final?", "", False)


@pytest.mark.parametrize(
    "text",
    [
        '{"question": "Final?",}',
        "{'question': 'Final?'}",
        '{question: "Final?"}',
        '{"question": "Final?" "hint": "x"}',
        'Here: {"question": "Final?",}\n```\n',
        '{"sample": {"question": "Final?"}}',
        '<tool_call>{"name": "sample", "arguments": {"question": "Final?"}}</tool_call>',
        f"<think>{DRAFT}</think>{{'question': 'Final?'}}",
    ],
)
def test_nearly_json_is_repaired_and_that_is_told(text: str) -> None:
    """Commas, quotation marks and one more object around it are mended, where no letter changes."""
    assert read(text) == ("Final?", "", True)


def test_line_breaks_and_quotation_marks_in_a_text_stay() -> None:
    """What was forgotten to be escaped is read as it stands."""
    assert read('{"question": "Why\nnot?\t"}') == ("Why\nnot?\t", "", True)
    assert read('{"question": "Who said "no" to them?", "hint": "x"}') == ('Who said "no" to them?', "", True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("Sure! Here is your question.", "no valid JSON"),
        ("[1]", "no JSON object"),
        ('{"question": "cut he', "no valid JSON"),
        ('{"question": "cut he} ', "no valid JSON"),
        ('{"question": "Q", "hint": NaN}', "no valid JSON"),
        ('{"question": 1e999}', "no valid JSON"),
        ('{"question": "Q" // a remark that would be lost\n}', "no valid JSON"),
        ("{" * 100_000, "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        (f"<think>{DRAFT}", "reasoning that does not end"),
        (f"[THINK]{DRAFT}", "reasoning that does not end"),
        (f"<|channel|>analysis<|message|>{DRAFT}", "reasoning that does not end"),
        (f"<think>{DRAFT}</think>", "nothing but reasoning"),
        (f"{DRAFT}</think>", "nothing but reasoning"),
        (f"<think>{DRAFT}</think>No.", "no valid JSON"),
        ('so {"question": 5}.', "question: against the schema (type)"),
        ('{"a": 1}', "sample: against the schema (required)"),
        ('{"question": 5, "more": {"question": "Q"}}', "question: against the schema (type)"),
        ('{"a": {"question": "Q"}, "b": {"question": "R"}}', "sample: against the schema (required)"),
        ('{"thoughts": {"question": "Draft?"}, "final": null}', "sample: against the schema (required)"),
        ('{"question": "Compute \\\\frac{1}{2} of the number that', "no valid JSON"),
        ('{"question": "It is {a} and then the model was cu', "no valid JSON"),
        ('{"question": "It is {a}', "no valid JSON"),
        ('{"question": "soup", "hint": [{"x": "salt"}, {"x": "wat', "sample: against the schema (required)"),
        ('{"question": "Q", "n": −5}', "no valid JSON"),
        ('{"question": "Q", "n": ~5,}', "no valid JSON"),
        ('{"question": "Q", "n": 5%}', "no valid JSON"),
        ('{ "a" ' * 20_000, "no valid JSON"),
        ('{"question": "' + "x" * 2_000_000, "no valid JSON"),
    ],
)
def test_what_is_no_sample_is_named(text: str, problem: str) -> None:
    """Nothing is invented from cut texts, from reasoning, or from one of several objects."""
    start = time.monotonic()
    assert read(text)[1:] == (problem, False)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("reason", ["length", "overlong"])
def test_a_cut_answer_is_not_read(reason: str) -> None:
    """What stands in it may be a draft."""
    assert READER.read(Answer(FINAL, reason)).problem


def test_a_mark_inside_the_sample_is_text() -> None:
    """A question about the mark is none of reasoning."""
    text = 'Here it is: {"question": "What does </think> mean, and <think>?"}'
    assert read(text) == ("What does </think> mean, and <think>?", "", False)


def test_the_field_of_reasoning_counts_only_if_it_is_the_sample() -> None:
    """Some servers put all that is written under a schema there; a draft in real reasoning is none."""
    assert read("", FINAL) == ("Final?", "", False)
    assert read("  ", f"```json\n{FINAL}\n```") == ("Final?", "", False)
    assert read("", f"I think {DRAFT}") == (None, "nothing but reasoning", False)
    assert read("No.", FINAL) == (None, "no valid JSON", False)


def test_reasoning_is_kept_apart() -> None:
    """It can be read, wherever it stood."""
    assert READER.read(Answer(f"<think> one </think>{FINAL}", "stop")).reasoning == "one"
    assert READER.read(Answer(f"two</think>{FINAL}", "stop", reasoning="one")).reasoning == "one\ntwo"
    assert READER.read(Answer(FINAL, "stop", reasoning="one")).reasoning == "one"
