"""Copied, repetitive and language: what a sample has from elsewhere, or says again."""

from __future__ import annotations

from typing import Any

import pytest

from craft_hf.base.records import Document
from craft_hf.quality.copied import CopiedCheck
from craft_hf.quality.language import LanguageCheck
from craft_hf.quality.repetitive import RepetitiveCheck
from craft_hf.tasks.task import load_task
from tests.quality_samples import BIOQA, GOOD, PLANTS, changed, context, sample, task

SHOT = BIOQA.few_shots[0]


@pytest.mark.parametrize("change", [str, str.upper, lambda q: q.replace(" little ", " no "), lambda q: f"Say: {q}"])
def test_a_few_shots_question_is_found_also_a_little_changed(change: Any) -> None:
    """The whole question, in other letters, with another word, or with more words; it names the few-shot."""
    verdict = CopiedCheck(context()).check(sample(changed(question=change(str(SHOT.sample["question"])))))
    assert (verdict.keep, verdict.partner) == (False, SHOT.id)
    assert verdict.reason.startswith("question: ")
    assert verdict.score is not None
    assert verdict.score >= 0.8


def test_a_sentence_of_a_few_shots_text_is_found() -> None:
    """Small models copy from the texts as well as from the samples."""
    verdict = CopiedCheck(context()).check(sample(changed(question=SHOT.text.split(". ")[1])))
    assert (verdict.keep, verdict.reason, verdict.partner) == (False, "question: lifted from a few-shot", SHOT.id)


def test_what_the_document_says_too_is_not_from_the_few_shot() -> None:
    """A document may hold the same sentence."""
    sentence = SHOT.text.split(". ")[1]
    assert CopiedCheck(context()).check(sample(changed(question=sentence), Document("d", sentence))).keep


def test_own_words_are_wanted_where_the_task_says_so() -> None:
    """A summary that is a piece of its document is dropped; the cleaned text may be one."""
    of = load_task("summarization")
    fields = {
        "instruction": "Please summarize this text for me.",
        "long_but_clean_text": PLANTS.text,
        "summary": PLANTS.text[:160],
    }
    verdict = CopiedCheck(context(of)).check(sample(fields))
    assert (verdict.keep, verdict.reason, verdict.partner) == (False, "summary: lifted from the document", "plants-1")
    own = "Leaves use light to make sugar out of a gas from the air, and burn some of it when it is dark."
    assert CopiedCheck(context(of)).check(sample({**fields, "summary": own})).keep


def test_short_texts_are_alike_by_chance() -> None:
    """Options of few words are not compared."""
    assert CopiedCheck(context()).check(sample(changed(options=list(SHOT.sample["options"])[:1] * 4))).partner in (
        "",
        SHOT.id,
    )
    assert CopiedCheck(context()).check(sample(GOOD)).score == 0


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (changed(), ""),
        (changed(question="What is the gas of the gas of the gas of the gas of the gas?"), "question: repeats itself"),
        (changed(question="Which gas, carbon dioxide or another, do they take?"), "answer: only repeats the question"),
        (
            changed(options=["A. Carbon dioxide", f"B. {str(GOOD['question']).upper()}", "C. Nitrogen", "D. Helium"]),
            "options: one is the question again",
        ),
        (changed(question="Do plants take up gas or not?", options=["A. Gas", "B. Air", "C. Sun", "D. Sea"]), ""),
    ],
)  # fmt: skip
def test_going_round_in_circles_is_dropped(fields: dict[str, Any], reason: str) -> None:
    """Within a text, and from the question to the answer; one word in common is none."""
    verdict = RepetitiveCheck(context()).check(sample(fields))
    assert (verdict.keep, verdict.reason) == (not reason, reason)


def test_a_task_without_options_has_no_answer_to_repeat() -> None:
    """Only its texts are looked at."""
    check = RepetitiveCheck(context(load_task("recipegen")))
    assert check.check(sample({"instruction": "Bake bread", "steps": ["Bake bread"]})).keep


@pytest.mark.parametrize(
    ("text", "language", "keep"),
    [
        ("Which gas do plants take up in photosynthesis?", "en", True),
        ("Welches Gas nehmen Pflanzen bei der Photosynthese auf?", "en", False),
        ("Welches Gas nehmen Pflanzen bei der Photosynthese auf?", "de", True),
        ("植物在光合作用中从空气中吸收哪种气体，又放出哪种气体，为什么会这样？", "en", False),
        ("Yersinia pestis", "en", True),
        ("Welches Gas nehmen Pflanzen bei der Photosynthese auf?", "tlh", True),
    ],
)
def test_another_language_is_noticed(text: str, language: str, keep: bool) -> None:
    """Short texts and languages that nobody knows are let through."""
    verdict = LanguageCheck(context(task(language=language))).check(sample({"question": text}))
    assert verdict.keep is keep
    if not keep:
        assert verdict.reason.startswith("not in en: most like ")
