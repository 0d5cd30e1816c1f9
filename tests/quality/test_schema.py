"""Schema and well-formedness: no fault hides behind another's name."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from craft_hf.base.records import Answer, Verdict
from craft_hf.quality.check import GeneratedSample
from craft_hf.quality.context import ContextCheck
from craft_hf.quality.schema import SchemaCheck
from craft_hf.quality.wellformed import WellFormedCheck
from craft_hf.tasks.answers import AnswerReader
from craft_hf.tasks.task import load_task
from tests.quality_samples import BIOQA, GOOD, PLANTS, changed, context, task


def verdict(fields: dict[str, object] | str, finish_reason: str = "stop", of: Any = BIOQA) -> tuple[str, str]:
    """Return check and reason of the verdict on an answer."""
    text = fields if isinstance(fields, str) else json.dumps(fields)
    answer = Answer(text, finish_reason, 10, 20)
    found = AnswerReader(of.schema).read(answer)
    read = GeneratedSample(PLANTS, found.fields, answer, found.problem)
    for check in (ContextCheck, SchemaCheck, WellFormedCheck):
        found = check(context(of)).check(read)
        if not found.keep:
            break
    return found.check, found.reason


@pytest.mark.parametrize(
    ("answer", "finish_reason", "check", "reason"),
    [
        (json.dumps(GOOD)[:40], "length", "schema", "cut by the limit of new tokens"),
        (json.dumps(GOOD)[:40], "overlong", "schema", "given up: a text longer than the schema allows"),
        ("", "prompt_too_long", "context", "prompt too long for the model's context"),
        ("Sure! Here it is", "stop", "schema", "no valid JSON"),
        ("[1, 2]", "stop", "schema", "no JSON object"),
        ("[" * 100_000, "stop", "schema", "no valid JSON"),
        ('{"question": ' + "[" * 800 + "]" * 800 + "}", "stop", "schema", "no valid JSON"),
        ('{"question": "\\ud83d"}', "stop", "schema", "half a character (a lone surrogate)"),
        ('{"options": [1' + "0" * 25 + "]}", "stop", "schema", "a whole number beyond 64 bits"),
        (changed(answer="E"), "stop", "schema", "answer: against the schema (enum)"),
        (changed(options=["A. a"]), "stop", "schema", "options: against the schema (minItems)"),
        (json.dumps({"question": "x"}), "stop", "schema", "sample: against the schema (required)"),
        (changed(question="Which gas?"), "stop", "wellformed", "question: under 16 characters"),
        (changed(question="?????????????????????"), "stop", "wellformed",
         "question: empty, or only repeats punctuation"),
        (changed(options=["A. One", "B. one!", "C. two", "D. three"]), "stop", "wellformed",
         "options: two options say the same"),
        (changed(options=["A. the cell", "B. Cells.", "C. two", "D. three"]), "stop", "wellformed",
         "options: two options say the same"),
        (changed(options=["A. One", "B. ....", "C. two", "D. three"]), "stop", "wellformed",
         "options: empty, or only repeats punctuation"),
        (changed(options=["A. One", "B. ____", "C. two", "D. three"]), "stop", "wellformed",
         "options: empty, or only repeats punctuation"),
        (changed(options=["A. One", "B. two======", "C. two", "D. three"]), "stop", "wellformed",
         "options: empty, or only repeats punctuation"),
        (changed(question="What does the text say of the gas?"), "stop", "wellformed",
         'question: "the text" refers to what the reader does not have'),
        (changed(question="What can be concluded from the given text on leaves?"), "stop", "wellformed",
         'question: "the given text" refers to what the reader does not have'),
        (changed(question="Which gas do plants take up in the"), "stop", "wellformed",
         "question: is cut off, or a question without its mark"),
        (changed(question="Which gas do <b>plants</b> take up?"), "stop", "wellformed", "question: has HTML in it"),
        (changed(options=["A. A) One", "B. B) two", "C. C) three", "D. D) four"]), "stop", "wellformed",
         "options: one is labelled twice"),
        (changed(options=["A. One", "B. Wrong answer 1", "C. two", "D. three"]), "stop", "wellformed",
         "options: one is a placeholder"),
        (changed(question="Plants take up carbon dioxide in photosynthesis."), "stop", "wellformed",
         "question: is a statement that asks nothing"),
        (changed(options=["A. Carbon dioxide", "B. Oxygen", "C. Nitrogen", 'D. Helium 2.0 }, ']), "stop", "wellformed",
         "options: has rests of JSON in it"),
        (changed(options=["A. Carbon dioxide", "B. Oxygen", "C. Nitrogen", 'D. He", "E. Ne']), "stop", "wellformed",
         "options: has rests of JSON in it"),
    ],
)  # fmt: skip
def test_each_fault_is_dropped_under_its_own_reason(
    answer: dict[str, object] | str, finish_reason: str, check: str, reason: str
) -> None:
    """A cut answer is not called a parse error, and no fault hides behind another's name."""
    assert verdict(answer, finish_reason) == (check, reason)


def test_a_cut_answer_is_named_even_if_its_json_is_whole() -> None:
    """finish_reason decides first."""
    assert verdict(dict(GOOD), "length") == ("schema", "cut by the limit of new tokens")


def test_order_of_words_makes_another_option() -> None:
    """From the heart to the lungs is not from the lungs to the heart."""
    options = ["A. from heart to lung", "B. from lung to heart", "C. to the heart", "D. to the lung"]
    assert verdict(changed(options=options)) == ("wellformed", "")


def test_an_answer_that_is_no_option_is_dropped() -> None:
    """The letter must be that of an option, also for a task whose schema does not say so."""
    loose = json.loads(json.dumps(BIOQA.schema))
    loose["properties"]["options"] = {"type": "array", "items": {"type": "string"}}
    fields = changed(options=["A. Carbon dioxide", "B. Oxygen"], answer="C")
    assert verdict(fields, of=task(schema=loose)) == ("wellformed", "answer: not among the options")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("Is water heavier than oil?", ""),
        ("Water is heavier than oil.", ""),
        ("When water freezes, it gets hard.", ""),
        ("What is the best way to bake bread?", "question: is no yes-or-no question"),
        ("How to bake bread without an oven, a recipe.", "question: is no yes-or-no question"),
        ("When water freezes, does it get hard?", ""),
        ("Is butter from the farm more expensive than other butter.", "question: is a question without its mark"),
        ("Is bread good for ducks in a pond? A, yes.", "question: gives an answer away"),
        ("Water is heavier than oil and", "question: does not end with ? or ."),
    ],
)
def test_csqa_wants_what_yes_or_no_answers(question: str, reason: str) -> None:
    """The task's own rules, from its YAML: a question that yes or no answers, or a statement."""
    fields: dict[str, object] = {"question": question, "options": ["A. Yes", "B. No"], "answer": "A"}
    assert verdict(fields, of=load_task("csqa")) == ("wellformed", reason)


def test_a_verdict_without_score_has_none() -> None:
    """A rule that measures nothing gives no number."""
    assert Verdict("wellformed", True).score is None


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ answer / 2 }}", "does not fit the templates of the task: TypeError"),
        ("{{ nobody }}", "does not fit the templates of the task: 'nobody' is undefined"),
        ("{{ '' }}", "the task's completion template gives nothing for it"),
    ],
)
def test_what_the_templates_cannot_render_becomes_no_row(template: str, reason: str) -> None:
    """Every row that is kept can be trained on."""
    check, said = verdict(dict(GOOD), of=dataclasses.replace(BIOQA, completion_template=template))
    assert (check, said.startswith(reason)) == ("schema", True), said


@pytest.mark.parametrize(
    "options",
    [
        ["A. < 135 mmol/L", "B. > 135 mmol/L", "C. 20", "D. -20"],
        ["A. Co", "B. CO", "C. No", "D. NO"],
        ["A. CD 23+", "B. CD 23-", "C. C", "D. C++"],
        ["A. S. aureus", "B. B. cereus", "C. E. coli", "D. K. oxytoca"],
    ],
)
def test_signs_and_symbols_make_other_options(options: list[str]) -> None:
    """Comparisons, signs, charges, the case of symbols, and names that look like labels."""
    assert verdict(changed(options=options)) == ("wellformed", "")


def test_options_that_are_labelled_twice_are_seen() -> None:
    """More than one of them: a single one may be a name."""
    options = ["A. A) Carbon dioxide", "B. B) Oxygen", "C. Nitrogen", "D. Helium"]
    assert verdict(changed(options=options)) == ("wellformed", "options: one is labelled twice")
