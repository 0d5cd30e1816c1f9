"""Duplicates: the decisions are those of comparing all pairs that share half of their words, and few are compared."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz, utils

from craft_hf.base.records import Document, FewShot
from craft_hf.quality.candidates import Candidates
from craft_hf.quality.check import GeneratedSample
from craft_hf.quality.duplicate import DuplicateCheck
from craft_hf.tasks.sample import sample_json
from tests.quality_samples import BIOQA, context, sample, task

WORDS = st.lists(
    st.sampled_from(["alpha", "alphas", "beta", "Gamma,", "delta!", "(eps)", "zeta", "eta", "theta", "é", "ß", "7"]),
    max_size=9,
).map(" ".join)


def made(name: str, text: str) -> GeneratedSample:
    """A sample of one text, of a document with this id."""
    return sample({"t": text}, Document(name, ""))


def share_enough(one: str, other: str, threshold: float) -> bool:
    """Whether the words that two prepared texts have in common are half of one of them, or less for a low threshold."""
    words, others = set(one.split()), set(other.split())
    least = min(1 - 2 * (100 - threshold) / (200 - threshold), 0.5)

    def weight(some: set[str]) -> int:
        return sum(len(word) + 1 for word in some)

    return weight(words & others) >= least * min(weight(words), weight(others)) - 1e-6


ANY = st.text(st.sampled_from("abcde é1ßΔ .,"), max_size=40)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(WORDS | ANY, max_size=12), st.lists(WORDS, min_size=3, max_size=3), st.integers(0, 100) | st.just(85))
def test_duplicates_agree_with_comparing_all_pairs(texts: list[str], shots: list[str], threshold: int) -> None:
    """Decisions, partners and scores are those of a plain loop over all pairs with thefuzz's preprocessing."""
    few_shots = tuple(FewShot(f"s{i}", "", {"t": t}) for i, t in enumerate(shots))
    duplicates = DuplicateCheck(context(task(few_shots=few_shots), duplicate_threshold=threshold, duplicates_by="json"))
    before = [(f"s{i}", utils.default_process(sample_json({"t": t}))) for i, t in enumerate(shots)]
    kept: list[tuple[str, str]] = []
    for number, text in enumerate(texts):
        mine = utils.default_process(sample_json({"t": text}))
        one = made(str(number), text)
        verdict = duplicates.check(one)
        for known in (before, kept):
            scores = [
                fuzz.token_set_ratio(mine, other) if share_enough(mine, other, threshold) else 0 for _, other in known
            ]
            if scores and max(scores) >= threshold:
                assert (verdict.keep, verdict.score) == (False, max(scores))
                assert verdict.partner == known[scores.index(max(scores))][0]
                break
        else:
            assert verdict.keep
            kept.append((str(number), mine))
            duplicates.remember(one)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS | ANY, max_size=20), WORDS | ANY, st.sampled_from([30, 50, 70, 85, 95, 100]))
def test_no_candidate_is_missing(texts: list[str], text: str, threshold: int) -> None:
    """Every text that reaches the threshold, and shares half of its words, is a candidate."""
    candidates, processed = Candidates(threshold), [utils.default_process(t) for t in texts]
    for other in processed:
        candidates.add(other)
    mine = utils.default_process(text)
    near = {
        n for n, other in enumerate(processed)
        if other and mine and share_enough(mine, other, threshold) and fuzz.token_set_ratio(mine, other) >= threshold
    }  # fmt: skip
    assert near <= set(candidates.find(mine))


def test_candidates_are_few() -> None:
    """Of many unlike texts none is looked at."""
    candidates = Candidates(85)
    for number in range(3000):
        candidates.add(" ".join(f"{word}{number * 7919 % 1000}" for word in ("alpha", "beta", "gamma", "delta", "eta")))
    assert len(candidates.find("wholly other words than all of these")) == 0


def test_documents_that_share_an_id_are_all_remembered() -> None:
    """A copy is found although another document of the same id was kept in between."""
    duplicates = DuplicateCheck(context(task(few_shots=())))
    for text in ("alpha beta gamma", "delta epsilon zeta"):
        assert duplicates.check(made("1", text)).keep
        duplicates.remember(made("1", text))
    assert not duplicates.check(made("1", "alpha beta gamma")).keep


def test_the_nearest_partner_counts_also_if_it_was_kept_since() -> None:
    """Looked at before another sample was kept, a sample is dropped for that one if it is nearer."""
    duplicates = DuplicateCheck(context(task(few_shots=())))
    duplicates.remember(made("1", "plants take up carbon dioxide from the warm air"))
    later = made("3", "plants take up carbon dioxide from the cold air by day")
    assert duplicates.check(later).partner == "1"
    duplicates.remember(made("2", "plants take up carbon dioxide from the cold air by day"))
    verdict = duplicates.check(later)
    assert (verdict.keep, verdict.partner, verdict.score) == (False, "2", 100)
    duplicates.remember(made("4", "plants take up carbon dioxide from the warm air"))
    assert duplicates.check(later).partner == "2"


def test_scripts_without_blanks_are_compared_by_pairs_of_characters() -> None:
    """A Chinese sentence with a few characters changed is near; another one is not."""
    candidates = Candidates(85)
    for text in ("植物从空气中吸收二氧化碳并释放出氧气", "细胞核里面储存着遗传信息和各种蛋白质"):
        candidates.add(text)
    assert candidates.find("植物从空气里吸收二氧化碳并释放出氧气") == [0]
    assert candidates.find("火山喷发的时候会有岩浆流出来") == []


def test_a_sample_of_an_earlier_dataset_is_not_repeated() -> None:
    """The partner names the dataset and the document."""
    earlier = [("first: d7", {"t": "plants take up carbon dioxide from the air"})]
    duplicates = DuplicateCheck(context(task(few_shots=()), earlier=earlier))
    verdict = duplicates.check(made("1", "plants take up the carbon dioxide from air"))
    assert (verdict.keep, verdict.reason, verdict.partner) == (
        False,
        "nearly a sample of an earlier dataset",
        "first: d7",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("请问中国的首都是哪一个城市", "中国的首都是哪一个城市"),
        ("∑∫√", "∑∫√"),
        ("Plants take up carbon dioxide from the warm air", "The plant takes up carbon dioxide from warm air"),
    ],
)
def test_what_says_the_same_in_any_script_is_dropped(one: str, other: str) -> None:
    """Words without blanks between them, signs alone, and words with another ending."""
    duplicates = DuplicateCheck(context(task(few_shots=())))
    duplicates.remember(made("1", one))
    assert not duplicates.check(made("2", other)).keep


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Which layer of the skin lies above the dermis?", "Which layer of the skin lies below the dermis?"),
        ("What is the first phase of cell division?", "What is the last phase of cell division?"),
        ("Which of these is a sign of hyperglycemia?", "Which of these is a sign of hypoglycemia?"),
        ("What follows prophase in mitosis of plants?", "What follows prophase in meiosis of plants?"),
        ("What is given at 50 mg of the drug a day?", "What is given at 5 mg of the drug a day?"),
    ],
)
def test_questions_that_one_word_turns_into_others_are_kept(one: str, other: str) -> None:
    """The same options, another right one: a word that tells where, when or how much makes the difference."""
    options = ["A. One thing", "B. A second", "C. The third of them", "D. None of these"]
    duplicates = DuplicateCheck(context(dataclasses.replace(BIOQA, few_shots=())))
    first, second = (
        sample({"question": text, "options": options, "answer": letter}, Document(letter, ""))
        for text, letter in ((one, "A"), (other, "B"))
    )
    duplicates.remember(first)
    assert duplicates.check(second).keep
    again = sample({"question": one, "options": options, "answer": "B"}, Document("C", ""))
    assert not duplicates.check(again).keep
