"""Tests of consensus, agreement, proposed thresholds, supporting sentences, uncertainty and preference pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from craft_hf.review.agreement import JUDGE, agreements, review_summary
from craft_hf.review.consensus import consensus_by_sample
from craft_hf.review.decisions import ACCEPT, EDIT, REJECT, THRESHOLD
from craft_hf.review.pairs import preference_pairs
from craft_hf.review.samples import from_rows, uncertainty
from craft_hf.review.supporting_sentences import supporting_sentences
from craft_hf.review.threshold_proposals import propose_thresholds
from craft_hf.tasks.sample import sample_json
from craft_hf.tasks.task import load_task
from tests.reviewing import TASK, decide, made_reviews, made_sample


def test_the_majority_counts_and_on_a_tie_the_last_word(tmp_path: Path) -> None:
    """Edits keep a sample; the commonest reason of those who reject is given."""
    reviews, (first, second, third) = made_reviews(tmp_path / "r.sqlite", 3)
    better = {**second.fields, "question": "Better?"}
    decide(reviews, first, ACCEPT, "ann")
    decide(reviews, first, REJECT, "bob", reason="other")
    decide(reviews, second, REJECT, "ann")
    decide(reviews, second, EDIT, "bob", fields=better)
    for name, verdict, reason in (("ann", REJECT, "x"), ("bob", REJECT, "y"), ("cy", REJECT, "y"), ("di", ACCEPT, "")):
        decide(reviews, third, verdict, name, reason=reason)
    found = consensus_by_sample(reviews.current_decisions())
    assert (found[first.id].keep, found[first.id].reason) == (False, "other")
    assert (found[second.id].keep, found[second.id].fields, found[second.id].remark) == (True, better, "edited by 2")
    assert (found[third.id].keep, found[third.id].reason, found[third.id].reviewers) == (False, "y", 4)


@settings(deadline=None)  # the first example imports scikit-learn
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
@pytest.mark.weights
def test_kappa_is_that_of_scikit_learn(votes: list[tuple[bool, bool]]) -> None:
    """For any votes of two; where both always say the same there is none."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        reviews, samples = made_reviews(Path(folder) / "r.sqlite", len(votes))
        for sample, vote in zip(samples, votes, strict=True):
            for name, keep in zip(("ann", "bob"), vote, strict=True):
                decide(reviews, sample, ACCEPT if keep else REJECT, name)
        (found,) = agreements(reviews, reviews.current_decisions())
        reviews.close()
    assert found.share == pytest.approx(sum(a == b for a, b in votes) / len(votes), abs=1e-4)
    if len({v for pair in votes for v in pair}) == 1:
        assert found.kappa is None
    else:
        assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*votes, strict=True)), abs=1e-4)


def test_the_judge_is_compared_with_what_people_want_together(tmp_path: Path) -> None:
    """Samples that it kept and those that it dropped; the sentence names no reviewer."""
    reviews, _ = made_reviews(tmp_path / "r.sqlite", 0)
    kept = [made_sample(n, checks=[{"check": "judge", "score": 1.0, "partner": "", "remark": ""}]) for n in range(3)]
    dropped = made_sample(3, dropped_by="judge")
    reviews.add([*kept, dropped, made_sample(4)])
    assert not agreements(reviews, reviews.current_decisions())
    assert review_summary(reviews, reviews.current_decisions(), [kept[0].id]) == ""
    for sample, verdict in ((kept[0], ACCEPT), (kept[1], REJECT), (dropped, REJECT), (made_sample(4), ACCEPT)):
        decide(reviews, sample, verdict, "Ann Smith")
    (found,) = agreements(reviews, reviews.current_decisions())
    assert (found.first, found.samples, found.share, found.kappa) == (JUDGE, 3, 0.6667, 0.4)
    said = review_summary(reviews, reviews.current_decisions(), [s.id for s in (*kept, dropped)])
    assert said == (
        "1 person decided about 3 of 4 samples: 1 accepted, 0 edited, 2 rejected. The judge and people agree on 67% of "
        "3 samples (Cohen's kappa 0.40)."
    )


def test_a_threshold_is_proposed_that_tells_rejected_from_accepted(tmp_path: Path) -> None:
    """After three rejections for a reason, if it drops few good ones; not again once somebody said yes to it."""
    reviews, _ = made_reviews(tmp_path / "r.sqlite", 0)
    shares = [0.3, 0.35, 0.5, 0.7, 0.8, 0.9, 0.4]
    samples = [
        made_sample(n, checks=[{"check": "grounded", "score": share, "partner": "", "remark": ""}])
        for n, share in enumerate(shares)
    ]
    reviews.add(samples)
    for sample in samples[:2]:
        decide(reviews, sample, REJECT, reason="not supported by the document")
    for sample in samples[3:6]:
        decide(reviews, sample, ACCEPT)
    assert not propose_thresholds(reviews, TASK)
    decide(reviews, samples[2], REJECT, reason="not supported by the document")
    (found,) = propose_thresholds(reviews, TASK)
    assert (found.check, found.score, found.rejected, found.accepted, found.open) == ("grounded", 0.5001, 3, 0, 1)
    assert not found.drops_above
    reviews.change(THRESHOLD, {"check": "grounded", "score": found.score}, "ann", "t")
    assert not propose_thresholds(reviews, TASK)


@pytest.mark.parametrize(("reason", "names"), [("copied", ["copied", "loud"]), ("other", ["loud"])])
def test_a_reason_that_is_taken_counts_for_every_check_that_measures_it(
    tmp_path: Path, reason: str, names: list[str]
) -> None:
    """A user's check may share its reason with a built-in one, or be the one that measures "other"."""
    source = f"""
from craft_hf.quality import Check, Limit

class LoudCheck(Check):
    name = "loud"
    label = "not loud"
    reject_reason = {reason!r}

    @classmethod
    def limit(cls, task):
        return Limit(0.5, drops_above=True)

    def check(self, sample):
        return self.keep()
"""
    task = replace(TASK, checks_source=source, checks_file="my/checks.py")
    reviews, _ = made_reviews(tmp_path / "r.sqlite", 0)
    checks = [{"check": name, "partner": "", "remark": ""} for name in ("copied", "loud")]
    samples = [
        made_sample(n, checks=[{**check, "score": score} for check in checks])
        for n, score in enumerate([0.7, 0.75, 0.8, 0.1, 0.2])
    ]
    reviews.add(samples)
    for sample in samples:
        decide(reviews, sample, REJECT if sample in samples[:3] else ACCEPT, reason=reason)
    assert [found.check for found in propose_thresholds(reviews, task)] == names


def test_a_ceiling_is_proposed_for_samples_that_say_the_same(tmp_path: Path) -> None:
    """Near-duplicates have high scores; a reason without a check of its own proposes nothing."""
    reviews, _ = made_reviews(tmp_path / "r.sqlite", 0)
    scores = [0.93, 0.94, 0.92, 0.5, 0.6]
    samples = [
        made_sample(n, checks=[{"check": "semantic", "score": s, "partner": "", "remark": ""}])
        for n, s in enumerate(scores)
    ]
    reviews.add(samples)
    for sample in samples[:3]:
        decide(reviews, sample, REJECT, reason="says the same as another")
        decide(reviews, sample, REJECT, "bob", reason="badly written")
    for sample in samples[3:]:
        decide(reviews, sample, ACCEPT)
    (found,) = propose_thresholds(reviews, TASK)
    assert (found.check, found.drops_above) == ("semantic", True)
    assert 0.6 < found.score < 0.92


def test_the_sentence_that_supports_a_sample_is_found() -> None:
    """By the stems of the question and of the right option, not of the wrong ones."""
    text = "Cats purr at night.\nThe mitochondria release chemical energy. Dogs bark.  Plants were not mentioned."
    fields = {
        "question": "Which organelle releases chemical energy?",
        "options": ["A. dogs that bark", "B. the mitochondrion", "C. x", "D. y"],
        "answer": "B",
    }
    assert [text[start:end] for start, end in supporting_sentences(TASK, text, fields)] == [
        "The mitochondria release chemical energy."
    ]
    assert supporting_sentences(TASK, "Nothing to see.", fields) == []
    assert supporting_sentences(TASK, "", fields) == []
    summary = load_task("summarization")
    shot = summary.few_shots[0]
    assert supporting_sentences(summary, shot.text, shot.sample)


def test_samples_near_a_threshold_are_uncertain() -> None:
    """By the score of the check that comes nearest, dropped or not; remarks of a judge count."""

    def found(check: str, score: float | None, remark: str = "") -> float:
        return uncertainty(TASK, [{"check": check, "score": score, "partner": "", "remark": remark}])

    assert found("semantic", 0.95) == 1
    assert found("semantic", 0.85) == found("semantic", 1.05) == pytest.approx(0.5)
    assert found("semantic", 0.1) == found("schema", 1.0) == found("grounded", None) == 0
    assert found("grounded", 0.3) > found("grounded", 0.5) > found("grounded", 1.0) == 0
    assert found("judge", 1.0, "too easy") == 0.5
    assert found("judge", 0.5) == 1


def test_rows_and_rejects_of_a_dataset_are_samples() -> None:
    """Few-shots are left out, and rejects that hold no sample; options and scores come along."""
    shot = TASK.few_shots[0]
    row = {**shot.sample, "document_id": "d", "document": "text", "similarity": 0.5, "is_few_shot": False}
    row["checks"] = [{"check": "semantic", "score": 0.9, "partner": "e", "remark": ""}]
    reject = {"document_id": "d", "document": "text", "check": "grounded", "reason": "no", "score": 0.2, "partner": ""}
    rejects = [{**reject, "sample": sample_json(shot.sample)}, {**reject, "sample": ""}]
    kept, dropped = from_rows(TASK, [{**row, "is_few_shot": True}, row], rejects)
    assert (kept.fields, kept.dropped_by, kept.similarity) == (dict(shot.sample), "", 0.5)
    assert kept.scores == {"semantic": 0.9, "similarity": 0.5}
    assert (dropped.dropped_by, dropped.document["text"]) == ("grounded", "text")


def test_pairs_prefer_what_people_prefer(tmp_path: Path) -> None:
    """Edits over what they were made of; accepted over rejected, of the same document where there is one."""
    reviews, (edited, accepted, rejected, unread) = made_reviews(tmp_path / "r.sqlite", 4)
    sibling = made_sample(9, document=accepted.document)
    reviews.add([sibling])
    better = {**edited.fields, "question": "Better?"}
    decide(reviews, edited, EDIT, fields=better)
    decide(reviews, accepted, ACCEPT)
    decide(reviews, rejected, REJECT)
    decide(reviews, sibling, REJECT)
    found = {pair["sample_id"]: pair for pair in preference_pairs(reviews, TASK)}
    assert {name: pair["kind"] for name, pair in found.items()} == {
        edited.id: "edit", rejected.id: "instruction", sibling.id: "same document",
    }  # fmt: skip
    edit, same, other = found[edited.id], found[sibling.id], found[rejected.id]
    assert edit["chosen"] == [{"role": "assistant", "content": sample_json(better)}]
    assert edit["rejected"] == [{"role": "assistant", "content": sample_json(edited.fields)}]
    assert edited.document["text"].strip() in edit["prompt"][0]["content"]  # type: ignore[index, call-overload, operator]
    assert same["chosen"] == [{"role": "assistant", "content": sample_json(accepted.fields)}]
    assert other["prompt"] == [{"role": "user", "content": TASK.instructions[0]}]
    assert unread.id not in found
    empty, _ = made_reviews(tmp_path / "e.sqlite", 2)
    assert not list(preference_pairs(empty, TASK))
