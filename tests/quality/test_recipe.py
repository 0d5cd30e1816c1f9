"""The check of recipegen: the steps are those of the document, in its order, and fit the list."""

from __future__ import annotations

from typing import Any

import pytest

from craft_hf.base.records import Document
from craft_hf.quality.registry import checks_for
from craft_hf.tasks.task import load_task
from tests.quality_samples import context, sample

TASK = load_task("recipegen")
PAGE = Document(
    "soup",
    "Beetroot soup\n\nMy aunt makes it every Sunday.\n\nIngredients\n- 500 g beetroot\n- 1 onion\n- 2 tbsp butter\n"
    "- 1 l stock\n- 100 g sour cream\n\nMethod\n1. Peel the beetroot and cut it into cubes.\n"
    "2. Fry the onion in the butter until it is golden.\n3. Add the beetroot and the stock and simmer for 40 minutes.\n"
    "4. Blend the soup until it is smooth.\n5. Serve with a spoon of sour cream on every plate.",
)
PROSE = Document(
    "prose",
    "My aunt makes this soup every Sunday. Peel the beetroot and cut it into cubes. Fry the onion in the butter until "
    "golden. Add beetroot and stock and simmer for 40 minutes. Blend the soup. Serve with sour cream.",
)
STEPS = [
    "Peel the beetroot and cube it.",
    "Fry the onion in butter until golden.",
    "Add the beetroot cubes and the stock and let them simmer for 40 minutes.",
    "Blend the soup until smooth.",
    "Serve it with a spoon of sour cream on each plate.",
]
GOOD: dict[str, Any] = {
    "instruction": "How do I make beetroot soup?",
    "ingredients": ["500 g beetroot", "1 onion", "2 tbsp butter", "1 l stock", "100 g sour cream"],
    "steps": STEPS,
}


def reason(document: Document = PAGE, **fields: object) -> str:
    """What the check drops the good recipe with other fields for; "" for nothing."""
    check = next(kind for kind in checks_for(TASK) if kind.name == "recipe")(context(TASK))
    verdict = check.check(sample({**GOOD, **fields}, document))
    return "" if verdict.keep else verdict.reason


@pytest.mark.parametrize("document", [PAGE, PROSE])
def test_a_recipe_in_other_words_is_kept(document: Document) -> None:
    """From a page with lists, and from prose."""
    assert reason(document) == ""


@pytest.mark.parametrize("document", [PAGE, PROSE])
def test_steps_stand_in_the_order_of_the_document(document: Document) -> None:
    """The reverse is no recipe; two steps that change places are."""
    assert "another order" in reason(document, steps=STEPS[::-1])
    assert reason(document, steps=[*STEPS[:2][::-1], *STEPS[2:]]) == ""


@pytest.mark.parametrize("document", [PAGE, PROSE])
def test_no_step_with_an_ingredient_is_left_out(document: Document) -> None:
    """The document says what to do with the onion, and the sample does not."""
    assert "leave out an ingredient" in reason(document, steps=[STEPS[0], *STEPS[2:]])


def test_no_step_that_the_document_lists_is_left_out() -> None:
    """Also one that names no ingredient of its own."""
    assert "the document lists are missing" in reason(steps=[STEPS[0], STEPS[1], STEPS[2], STEPS[4]])


def test_few_of_the_listed_steps_may_be_told_in_other_words() -> None:
    """Each of them has some of its words in the steps; too many have too few."""
    steps = ["Peel beetroot.", "Fry an onion.", "Add beetroot.", "Blend.", "Serve sour cream, stock, butter."]
    assert "the document lists are missing" in reason(steps=steps)


def test_what_the_document_lists_and_the_steps_use_is_listed() -> None:
    """Salt and the like are at hand."""
    assert "one is missing" in reason(ingredients=GOOD["ingredients"][:-1])
