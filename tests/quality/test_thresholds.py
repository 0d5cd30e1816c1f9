"""Thresholds: a sample on either side of each, so that none can be moved far without being noticed.

Vectors are given by the tests, so no weights are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from craft_hf.base.records import Document, FewShot
from craft_hf.quality.check import Check, CheckContext
from craft_hf.quality.copied import CopiedCheck
from craft_hf.quality.duplicate import DuplicateCheck
from craft_hf.quality.grounded import GroundedCheck
from craft_hf.quality.repetitive import RepetitiveCheck
from craft_hf.quality.semantic import SemanticCheck
from craft_hf.tasks.task import load_task
from tests.quality_samples import changed, context, sample, task

LETTERS = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliet",
    "kilo",
    "lima",
    "mike",
    "november",
    "oscar",
    "papa",
]


class Meaning:
    """An embedder that gives each text the vector written for it, others one at right angles to all of these."""

    dimension = 2

    def __init__(self, **cosines: float) -> None:
        self._cosines = cosines

    def encode(self, texts: Sequence[str], *_: object, **__: object) -> np.ndarray:
        """Return a vector for each text."""
        found = [next((c for key, c in self._cosines.items() if key in text), None) for text in texts]
        return np.array([[0, 1] if c is None else [c, (1 - c * c) ** 0.5] for c in found], np.float32)

    encode_each = encode_cached = encode


def kept(check: Check, fields: dict[str, Any], document: str = "") -> bool:
    """Whether a check keeps a sample."""
    return check.check(sample(fields, Document("d", document))).keep


def grounded(name: str) -> GroundedCheck:
    """The check for a shipped task, where no text means what another one does."""
    return GroundedCheck(CheckContext(load_task(name), NoMeaning()))  # type: ignore[arg-type]


class NoMeaning(Meaning):
    """An embedder to which all texts mean something else."""

    def encode(self, texts: Sequence[str], *_: object, **__: object) -> np.ndarray:
        """Return vectors at right angles."""
        return np.eye(max(len(texts), 2), dtype=np.float32)[: len(texts)]

    encode_each = encode_cached = encode


@pytest.mark.parametrize("name", ["bioqa", "medqa"])
@pytest.mark.parametrize(("share", "keep"), [(0.25, False), (0.375, True)])
def test_a_question_has_three_tenths_of_its_words_from_the_document(name: str, share: float, keep: bool) -> None:
    """The task's share for questions."""
    words = LETTERS[:8]
    there = words[: int(share * 8)]
    fields = changed(question=f"Which {' '.join(words)}?", options=["A. papa", "B. b", "C. c", "D. d"])
    assert kept(grounded(name), fields, f"{' '.join(there)} papa") is keep


@pytest.mark.parametrize("name", ["bioqa", "medqa"])
@pytest.mark.parametrize(("words", "keep"), [(1, False), (2, True)])
def test_an_answer_has_half_of_its_words_from_the_document(name: str, words: int, keep: bool) -> None:
    """The task's share for right options: one of three is too few."""
    fields = changed(question="Which alpha?", options=["A. kilo lima mike", "B. b", "C. c", "D. d"])
    assert kept(grounded(name), fields, f"alpha {' '.join(['kilo', 'lima'][:words])}") is keep


@pytest.mark.parametrize(("words", "keep"), [(3, False), (5, True)])
def test_a_statement_has_two_fifths_of_its_words_from_the_document(words: int, keep: bool) -> None:
    """That of csqa: three of ten are too few."""
    fields = {"question": f"{' '.join(LETTERS[:10])}.", "options": ["A. Yes", "B. No"], "answer": "A"}
    assert kept(grounded("csqa"), fields, " ".join(LETTERS[:words])) is keep


@pytest.mark.parametrize(("words", "keep"), [(4, False), (8, False), (12, True)])
def test_a_summary_is_compared_with_its_document_as_a_whole(words: int, keep: bool) -> None:
    """Of twelve words that do not stand in a row two thirds are too few where nothing means the same."""
    mine = LETTERS[:12]
    fields = {"instruction": "Sum up.", "summary": f"{' '.join(mine)}.", "long_but_clean_text": ""}
    there = list(mine[:words])
    document = f"{' '.join(there)}." if words == 12 else " ".join(reversed(there))
    assert kept(grounded("summarization"), fields, document) is keep


def test_a_request_is_for_what_the_document_is_about() -> None:
    """Half of the words by which it names a dish; how it asks is no matter."""
    recipe = {"ingredients": ["flour", "milk"], "steps": ["Mix flour and milk.", "Fry."]}
    document = "Walnut pancakes. Mix flour and milk. Fry."
    assert kept(grounded("recipegen"), {"instruction": "How do I make walnut pancakes?", **recipe}, document)
    assert not kept(grounded("recipegen"), {"instruction": "How do I make plum dumplings?", **recipe}, document)


@pytest.mark.parametrize(("repeated", "keep"), [(5, True), (9, False)])
def test_a_quarter_of_a_text_may_be_repeated(repeated: int, keep: bool) -> None:
    """Of some thirty runs of three words, a fifth may be repetitions, a third not."""
    words = [f"{a}{b}" for a in "abcde" for b in "fghij"]
    fields = changed(question=" ".join([*words, *words[: repeated + 2]]) + "?")
    assert kept(RepetitiveCheck(context()), fields) is keep


def test_five_words_may_come_three_times_in_a_short_text() -> None:
    """However much else it says."""
    words = [f"{a}{b}" for a in "abcdefghi" for b in "fghijkl"]
    for times, keep in ((3, True), (5, False)):
        parts = [" ".join([*words[n * 8 : n * 8 + 8], *LETTERS[:5]]) for n in range(times)]
        assert kept(RepetitiveCheck(context()), changed(question=" ".join(parts))) is keep


@pytest.mark.parametrize(("own", "keep"), [(8, True), (0, False)])
def test_a_summary_may_have_much_of_its_text_but_not_all(own: int, keep: bool) -> None:
    """Two thirds of its runs of five words are fine."""
    words = [f"{a}{b}" for a in "abcde" for b in "fghij"]
    text = " ".join(words)
    summary = " ".join([*words[: 24 - own], *LETTERS[:own]])
    fields = {"instruction": "Sum up.", "long_but_clean_text": text, "summary": summary}
    assert kept(CopiedCheck(context(load_task("summarization"))), fields, text) is keep


def test_a_summary_at_the_head_of_its_document_is_no_piece_of_the_text_below() -> None:
    """Own words are other ones than those of the text that is shown."""
    lead, text = " ".join(LETTERS), "Something else is told below, at length, and in other words than those above it."
    fields = {"instruction": "Sum up.", "long_but_clean_text": text, "summary": lead}
    assert kept(CopiedCheck(context(load_task("summarization"))), fields, f"{lead}\n{text}")


@pytest.mark.parametrize(("cosine", "keep"), [(0.93, True), (0.96, False)])
def test_samples_mean_the_same_from_a_cosine_of_095_on(cosine: float, keep: bool) -> None:
    """Against one that was kept."""
    embedder: Any = Meaning(first=1.0, later=cosine)
    check = SemanticCheck(CheckContext(task(few_shots=()), embedder))
    check.remember(sample(changed(question="first?")))
    assert kept(check, changed(question="later?")) is keep


QUESTION = "Which organ of the body makes the hormone that lowers the sugar in the blood?"


@pytest.mark.parametrize(
    ("question", "options", "keep"),
    [
        (
            "Which organ of the body makes that hormone which lowers the sugar in blood?",
            "pancreas liver spleen heart",
            False,
        ),
        (
            "Which organs of the body make the hormone that lowers sugar in the blood?",
            "liver spleen pancreas lung",
            False,
        ),
        (
            "Which organ of the body makes the enzyme that digests the sugar in the blood?",
            "stomach liver eye pancreas",
            True,
        ),
        (QUESTION, "glucagon cortisol thyroxine adrenaline", True),
    ],
)
def test_duplicates_share_their_content_and_their_answer(question: str, options: str, keep: bool) -> None:
    """A shared frame is not enough, nor is a shared question with other answers."""

    def made(text: str, names: str) -> dict[str, Any]:
        labelled = [f"{letter}. {name}" for letter, name in zip("ABCD", names.split(), strict=True)]
        right = next((o[0] for o in labelled if o.endswith("pancreas")), "A")
        return {"question": text, "options": labelled, "answer": right}

    check = DuplicateCheck(context(task(few_shots=())))
    check.remember(sample(made(QUESTION, "pancreas liver heart lung")))
    assert kept(check, made(question, options)) is keep


def test_names_of_fields_constants_and_labels_are_not_compared() -> None:
    """Short values under long names are different; compared as JSON, as in the paper, they are the same."""
    schema = {
        "type": "object",
        "properties": {"carbohydrate_grams_per_serving": {"type": "integer"}, "dish_of_the_day": {"type": "string"}},
    }
    of = task(schema=schema, options_field="", answer_field="", few_shots=(FewShot("s", "", {"dish_of_the_day": "x"}),))
    one = {"carbohydrate_grams_per_serving": 12, "dish_of_the_day": "trout"}
    other = {"carbohydrate_grams_per_serving": 47, "dish_of_the_day": "pie"}
    for by, keep in (("values", True), ("json", False)):
        check = DuplicateCheck(context(of, duplicates_by=by))
        check.remember(sample(one))
        assert kept(check, other) is keep
        assert not kept(check, one)


def test_yes_and_no_are_not_compared() -> None:
    """Of csqa the question is, whose options are constants."""
    check = DuplicateCheck(context(load_task("csqa")))
    options = {"options": ["A. Yes", "B. No"], "answer": "A"}
    check.remember(sample({"question": "Is rain wet?", **options}))
    assert kept(check, {"question": "Is snow hot?", **options})
    assert not kept(check, {"question": "Is the rain wet?", **options, "answer": "B"})
