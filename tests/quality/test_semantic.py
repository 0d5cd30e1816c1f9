"""Duplicates in meaning: partners among few-shots, earlier datasets, earlier batches and the same batch."""

from __future__ import annotations

import pytest

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Document
from craft_hf.quality.semantic import SemanticCheck
from tests.quality_samples import BIOQA, GOOD, context, sample, task

pytestmark = pytest.mark.weights

OTHER = {"question": "What do mitochondria make?", "options": ["A. ATP", "B. DNA"], "answer": "A"}


def test_the_same_meaning_is_found_before_and_within_a_batch() -> None:
    """A few-shot, a sample of an earlier batch and one of the same batch are partners; others are not."""
    semantic = SemanticCheck(context(embedder=Embedder()))
    shot = BIOQA.few_shots[0]
    batches = [[shot.sample, GOOD, GOOD, OTHER], [GOOD, {**OTHER, "answer": "B"}]]
    found = []
    for batch in batches:
        samples = [sample(fields, Document(f"d{len(found) + n}", "")) for n, fields in enumerate(batch)]
        semantic.prepare(samples)
        for one in samples:
            verdict = semantic.check(one)
            if verdict.keep:
                semantic.remember(one)
            found.append((verdict.keep, verdict.reason, verdict.partner))
    assert found[0] == (False, "means the same as a few-shot", shot.id)
    assert found[1][0]
    assert found[2] == (False, "means the same as a kept sample", "d1")
    assert found[3][0]
    assert found[4] == (False, "means the same as a kept sample", "d1")
    assert found[5] == (False, "means the same as a kept sample", "d3")


def test_a_batch_does_not_change_a_similarity() -> None:
    """Alone or with others, a sample has the same score to the last digit: more samples later begin with the same."""
    scores = []
    for batch in ([GOOD], [{"t": "word " * 200}, GOOD, {"t": "x"}]):
        semantic = SemanticCheck(context(embedder=Embedder()))
        samples = [sample(fields) for fields in batch]
        semantic.prepare(samples)
        scores.append(semantic.check(samples[batch.index(GOOD)]).score)
    assert scores[0] == scores[1]


def test_a_sample_of_an_earlier_dataset_is_named() -> None:
    """What another dataset has is a duplicate, and says so; without anything to compare with, all is new."""
    for earlier, expected in (
        ([("first: d1", GOOD)], (False, "means the same as a sample of an earlier dataset", "first: d1")),
        ([], (True, "", "")),
    ):
        verdict = SemanticCheck(context(task(few_shots=()), embedder=Embedder(), earlier=earlier)).check(sample())
        assert (verdict.keep, verdict.reason, verdict.partner) == expected
