"""Grounded: what the sample says must stand in the document, in its words or in its meaning."""

from __future__ import annotations

from typing import Any

import pytest

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Document, Verdict
from craft_hf.quality.grounded import GroundedCheck
from craft_hf.tasks.task import load_task
from tests.quality_samples import BIOQA, PLANTS, changed, context, quality, sample, task

pytestmark = pytest.mark.weights

SOUP = Document(
    "soup-1",
    "Lentil soup. Rinse 1 1/2 cups of red lentils. Fry two onions and 3 cloves of garlic in oil until soft. Add the "
    "lentils and 1.5 litres of water, and simmer for 25 minutes. Season with salt, pepper and the juice of a lemon.",
)


def check(fields: dict[str, Any], document: Document = PLANTS, of: Any = BIOQA) -> Verdict:
    """The verdict on a sample."""
    return GroundedCheck(context(of, embedder=Embedder())).check(sample(fields, document))


def test_a_supported_answer_is_kept_with_its_share() -> None:
    """All content words of question and right option stand in the document."""
    assert check(changed()) == Verdict("grounded", True, score=1.0)


def test_an_answer_that_the_document_does_not_give_is_dropped() -> None:
    """Only the right option counts; the wrong ones may say what they like."""
    fields = changed(options=["A. Carbon dioxide", "B. Molten basalt", "C. Nitrogen", "D. Helium"])
    assert check(fields).keep
    verdict = check({**fields, "answer": "B"})
    assert (verdict.keep, verdict.reason, verdict.score, verdict.partner) == (
        False,
        "answer: the document does not say this",
        0.0,
        "plants-1",
    )


@pytest.mark.parametrize(
    ("answer", "keep"),
    [
        ("1200 milligrams of the gas", True),
        ("1,200 milligrams of the gas", True),
        ("1,300 milligrams of the gas", False),
        ("2 milligrams at dusk", True),
        ("3 times as much as at dusk", False),
    ],
)
def test_numbers_must_stand_in_the_document(answer: str, keep: bool) -> None:
    """However they are written, in digits or in words."""
    verdict = check(changed(options=[f"A. {answer}", "B. x", "C. y", "D. z"]))
    assert verdict.keep is keep
    if not keep:
        assert verdict.reason == "answer: a number that the document does not have"
        assert verdict.score == float(answer.split()[0].replace(",", ""))


def test_a_number_that_no_float_holds_is_no_score() -> None:
    """The reason says it all; rows, rejects and the review page have no infinity."""
    verdict = check(changed(options=[f"A. {'1' * 330}", "B. x", "C. y", "D. z"]))
    assert verdict.reason == "answer: a number that the document does not have"
    assert verdict.score is None


def test_a_question_may_suppose_numbers() -> None:
    """Supposed numbers are no claim, but a statement's are one."""
    question = "A leaf of 7 square metres takes up a gas in photosynthesis. Which gas do plants take up?"
    assert check(changed(question=question)).keep
    statement = {"question": "Plants take up the gas carbon dioxide through 7 pores.", "answer": "A"}
    assert not check({**statement, "options": ["A. Yes", "B. No"]}, of=load_task("csqa")).keep


def test_the_same_in_other_words_is_kept() -> None:
    """A summary shares few words with its document; its meaning is compared then, by the real embedder."""
    document = Document("dog", "The dog was very tired after the long walk and fell asleep at once. It rained.")
    of = task("summarization", grounded={"summary": 0.9})
    assert check({"summary": "The hound was exhausted and slept immediately after its hike."}, document, of).keep
    verdict = check({"summary": "Parliament passed the budget with a narrow majority."}, document, of)
    assert (verdict.keep, verdict.reason) == (False, "summary: the document does not say this")


def test_every_ingredient_and_step_of_a_recipe_counts() -> None:
    """One ingredient or quantity from elsewhere drops the recipe."""
    recipe = {
        "instruction": "How do I make lentil soup?",
        "ingredients": ["1 1/2 cups of red lentils", "2 onions", "3 cloves of garlic"],
        "steps": ["Fry the onions and the garlic.", "Simmer the lentils in 1.5 litres of water for 25 minutes."],
    }
    of = load_task("recipegen")
    assert check(recipe, SOUP, of).keep
    for field, item in (
        ("ingredients", "400 g of ground beef"),
        ("ingredients", "5 onions"),
        ("steps", "Melt chocolate."),
    ):
        assert not check({**recipe, field: [*recipe[field], item]}, SOUP, of).keep, item


def test_a_task_that_names_no_fields_is_not_checked() -> None:
    """The check does not apply: it is not made, and nothing is measured."""
    assert GroundedCheck.applies(context())
    assert not GroundedCheck.applies(context(task(grounded={})))
    assert "grounded" not in quality(task=task(grounded={})).active
