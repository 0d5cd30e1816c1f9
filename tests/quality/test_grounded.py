"""Grounded: what the sample says must stand in the document, in its words or in its meaning."""

from __future__ import annotations

from typing import Any

import pytest

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Document, Verdict
from craft_hf.quality.grounded import GroundedCheck, _Claim
from craft_hf.tasks.task import load_task
from tests.quality_samples import BIOQA, PLANTS, changed, context, quality, sample, task
from tests.vectors import HashEmbedder

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


GENOME = Document(
    "genome",
    "A human body cell has 46 chromosomes in 23 pairs. The liver makes bile, stores glycogen and breaks down toxins.",
)


@pytest.mark.parametrize(
    ("question", "right", "keep"),
    [
        ("How many chromosomes would a human body cell have?", "46 chromosomes", True),
        ("How many chromosomes would a human body cell have?", "48 chromosomes", False),
        ("How many chromosomes does a human body cell have in total?", "48 chromosomes", False),
        ("If 2 human body cells are joined, how many chromosomes would there be?", "92 chromosomes", True),
        ("A human body cell isn't haploid. How many chromosomes does it have?", "48 chromosomes", False),
        ("It is false that a body cell has no chromosomes. How many does it have?", "48 chromosomes", False),
        ("All of the following are functions of the liver EXCEPT:", "secretion of thyroxine", True),
        ("All of the following are functions of the liver except:", "secretion of thyroxine", True),
        ("Which of the following statements on the liver is FALSE?", "secretion of thyroxine", True),
        ("Which of these is not a function of the liver?", "secretion of thyroxine", True),
        ("Which function isn't one of the liver?", "secretion of thyroxine", True),
        ("Select a function of the liver that is not correct.", "secretion of thyroxine", True),
        ("Which of these is a function of the liver?", "secretion of thyroxine", False),
    ],
)
def test_only_what_is_asked_for_lets_a_right_option_differ(question: str, right: str, keep: bool) -> None:
    """An exception, in small letters or capitals; and numbers that follow from those of the question."""
    options = [f"A. {right}", "B. bile", "C. glycogen", "D. toxins"]
    assert check(changed(question=question, options=options), GENOME).keep is keep


def test_a_whole_text_is_compared_with_other_passages_where_the_best_is_not_near() -> None:
    """The passage that shares most words is embedded first, and the others only if that is not enough."""
    dogs = "The dog was tired after the long walk with the old man, and slept at once beside the warm fire. " * 7
    text = f"{dogs}\n\n{'Taxes rise in spring, said the minister of finance. ' * 14}"
    summary = (
        "Exhausted from a lengthy hike with its elderly owner, the hound quickly dozed off next to a cosy hearth, and "
        "somebody in government announced higher levies for coming months."
    )
    of = task("summarization", grounded={"summary": 0.0})
    for support, asked in ((3.0, 2), (-3.0, 4)):
        embedder = HashEmbedder()
        made = GroundedCheck(context(of, embedder=embedder))
        assert made._is_near(_Claim("summary", summary, support), text, 0.98) is (support > 0)
        assert len(embedder.asked) == asked


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
