"""Quality checks together: every drop has a check, a reason, and where it applies a score and a partner."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import JSON, Answer, Document, Prompt
from craft_hf.generation.generator import Sampling
from craft_hf.quality.few_shots import check_few_shots
from craft_hf.quality.quality import Quality
from craft_hf.quality.test_sets import TestSet
from craft_hf.tasks.sample import sample_json
from craft_hf.tasks.task import NAMES, load_task
from tests.quality_samples import BIOQA, CHECKS, GOOD, OPTIONAL, PLANTS, answer, changed, last, quality, task

pytestmark = [pytest.mark.weights, pytest.mark.slow]

MISSING = [
    ("repetitive", {"question": "Which of the gases " + "of the air of the air " * 6 + "do plants take up?"}),
    ("language", {"question": "Welches Gas nehmen die Pflanzen bei der Photosynthese aus der Luft auf?",
                  "options": ["A. das Kohlendioxid", "B. den Sauerstoff", "C. den Stickstoff", "D. das Helium"]}),
    ("copied", {"question": BIOQA.few_shots[0].sample["question"]}),
    ("contaminated", {"question": "Which of these gases makes up most of the air that we breathe in every day?"}),
    ("grounded", {"options": ["A. Molten basalt", "B. Oxygen", "C. Nitrogen", "D. Helium"]}),
]  # fmt: skip


def test_a_good_sample_passes_all_checks_in_order() -> None:
    """A good answer passes every check, comes back parsed, and says what was measured."""
    checks = quality()
    [(fields, verdicts, *_)] = checks.check_all([PLANTS], [answer(GOOD)])
    assert fields == GOOD
    assert [v.check for v in verdicts] == [name for name in CHECKS if name != "judge"] == list(checks.active)
    assert all(v.keep for v in verdicts)
    scores = {v.check: v.score for v in verdicts}
    assert scores["grounded"] == 1
    assert scores["copied"] == 0
    assert scores["semantic"] is not None


def test_json_in_a_code_fence_is_understood() -> None:
    """Servers without constrained decoding like to fence their JSON."""
    assert last(quality(skip=OPTIONAL), f"```json\n{json.dumps(GOOD)}\n```").keep


@pytest.mark.parametrize(("check", "fields"), MISSING, ids=[check for check, _ in MISSING])
def test_each_check_can_be_skipped(check: str, fields: dict[str, object]) -> None:
    """A sample with one defect is dropped by the check for it, and kept or dropped by another without it."""
    tests = [TestSet("air", [str(MISSING[3][1]["question"])])]
    assert last(quality(test_sets=tests), changed(**fields)).check == check
    without = quality(test_sets=tests, skip=[check])
    assert last(without, changed(**fields)).check != check
    assert check not in without.active


def test_a_sample_near_a_few_shot_is_dropped_and_names_it() -> None:
    """The few-shots come first, with partner and score."""
    sample = dict(BIOQA.few_shots[4].sample)
    verdict = last(quality(skip=OPTIONAL), sample_json(sample))
    assert (verdict.keep, verdict.reason, verdict.partner, verdict.score) == (
        False,
        "nearly a few-shot",
        BIOQA.few_shots[4].id,
        100,
    )


def test_of_like_samples_in_a_batch_the_first_stays() -> None:
    """The second names the document of the first, in one batch and in two."""
    other = changed(question="Which gas do plants take up in the photosynthesis?")
    for batches in ([[GOOD, other]], [[GOOD], [other]]):
        checks, found = quality(skip=OPTIONAL), []
        for batch in batches:
            documents = [Document(f"d{len(found) + n}", PLANTS.text) for n in range(len(batch))]
            found += checks.check_all(documents, [answer(fields) for fields in batch])
        (first, second) = (checked.verdicts[-1] for checked in found)
        assert first.keep
        assert (second.keep, second.reason, second.partner) == (False, "nearly a kept sample", "d0")
        assert second.score is not None
        assert second.score >= 85


POOL = [
    GOOD,
    changed(question="Which gas do plants take up in the photosynthesis?"),
    changed(question="In photosynthesis, plants take up which gas?", answer="B"),
    changed(question="What do the cells burn at night, when half of the gas comes back?",
            options=["A. A part of the sugar", "B. Iron ore", "C. Starch grains", "D. Wood"]),
    changed(question="When half of the gas comes back, what is it that cells burn at night?",
            options=["A. Sugar, a part of it", "B. Old iron", "C. Grains of starch", "D. Some wood"]),
    changed(question="Through which parts of their leaves do plants take up carbon dioxide?",
            options=["A. Veins of rock", "B. Small pores", "C. Root hairs", "D. Petals of wax"], answer="B"),
    changed(question="How much of it does a square metre of leaf fix in an hour?",
            options=["A. A ton", "B. Nothing at all", "C. Thirty litres", "D. About 1,200 milligrams"], answer="D"),
    dict(BIOQA.few_shots[3].sample),
    changed(options=["A. Molten basalt", "B. Oxygen", "C. Nitrogen", "D. Helium"]),
    changed(question="Which gas?"),
    {"question": "no options"},
]  # fmt: skip


def asking_for_carbon(
    prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
) -> Iterator[tuple[Prompt, Answer]]:
    """A judge that knows one answer: carbon dioxide, in A."""
    for prompt in prompts:
        yield prompt, answer({"answer": "A"})


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(range(len(POOL))), min_size=2, max_size=9), st.sets(st.integers(1, 8)), st.booleans())
def test_batches_do_not_matter(picked: list[int], cuts: set[int], judged: bool) -> None:
    """However a sequence of answers is cut, each has the same verdicts to the last digit, with a judge and without."""
    documents = [Document(f"d{n}", PLANTS.text) for n in range(len(picked))]
    answers = [answer(POOL[n]) for n in picked]
    found = []
    for places in ([0, len(picked)], sorted({0, *cuts, len(picked)})):
        checks = quality(ask=asking_for_carbon if judged else None)
        found.append(
            [case for a, b in itertools.pairwise(places) for case in checks.check_all(documents[a:b], answers[a:b])]
        )
    assert [case[:2] for case in found[0]] == [case[:2] for case in found[1]]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)


def test_nobody_is_asked_about_what_is_dropped_anyway() -> None:
    """A copy of a kept sample, or of a few-shot, costs no call; what the judge drops blocks no later sample."""
    asked: list[Prompt] = []

    def ask(
        prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        asked.extend(prompts)
        yield from asking_for_carbon(prompts, schema, sampling)

    checks = quality(ask=ask)
    wrong = changed(answer="B")
    fates = [last(checks, fields) for fields in (wrong, GOOD, POOL[1], BIOQA.few_shots[3].sample)]
    assert [(v.check, v.keep) for v in fates] == [
        ("judge", False), ("judge", True), ("duplicate", False), ("copied", False),
    ]  # fmt: skip
    assert len(asked) == 4


def test_what_compares_may_also_let_something_through_again() -> None:
    """A check of one's own whose verdicts change with what was kept: the judge is asked when it is needed."""
    source = """
from craft_hf.quality import Check

class Alternate(Check):
    name = "alternate"
    label = "after another one"
    compares = True
    kept = 0

    def check(self, sample):
        first = sample.document.id == "d0"
        return self.keep() if first or self.kept else self.drop("nothing was kept before")

    def remember(self, sample):
        self.kept += 1
"""
    checks = quality(task=task(checks_source=source, checks_file="c.py"), ask=asking_for_carbon)
    other = changed(question="What do the small pores in their leaves let in from the air?")
    found = checks.check_all([replace(PLANTS, id="d0"), replace(PLANTS, id="d1")], [answer(GOOD), answer(other)])
    assert [checked.verdicts[-1].check for checked in found] == ["judge", "judge"]
    assert all(checked.verdicts[-1].keep for checked in found)


def test_a_dropped_sample_blocks_no_later_one() -> None:
    """What one check drops is not remembered by another: the same sample with a better document is kept."""
    checks = quality()
    wrong = Document(
        "other", "Volcanoes grow where molten rock comes up from the depth, and are cooled by rain and sea."
    )
    assert last(checks, GOOD, wrong).check == "grounded"
    assert last(checks, GOOD).keep


def test_the_first_reason_counts() -> None:
    """A sample that is cut and no JSON either is named cut."""
    [(fields, [_, verdict], *_)] = quality(skip=OPTIONAL).check_all([PLANTS], [answer("{", "length")])
    assert not fields
    assert (verdict.check, verdict.reason) == ("schema", "cut by the limit of new tokens")


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_few_shot_passes_the_checks(name: str) -> None:
    """What is shown to the model as an example is what would be kept, beside the other few-shots too."""
    found = check_few_shots(load_task(name), Embedder())
    assert [(shot.id, verdict) for shot, verdict in found if not verdict.keep] == []


def test_a_few_shot_that_would_be_dropped_is_named_with_its_reason() -> None:
    """Nearly one before it, lifted from one, or not said by its own text: each is found, with its partner."""
    first, second, third, *_ = BIOQA.few_shots
    again = replace(first, id="again")
    lifted = replace(second, id="lifted", text=f"{second.text} {third.text}", sample={
        **second.sample, "question": third.sample["question"]
    })  # fmt: skip
    strange = replace(third, id="strange", text=PLANTS.text)
    found = check_few_shots(task(few_shots=(first, again, third, lifted)), Embedder())
    assert [(shot.id, v.check, v.partner) for shot, v in found if not v.keep] == [
        ("again", "duplicate", first.id),
        ("lifted", "copied", third.id),
    ]
    found = check_few_shots(task(few_shots=(first, second, strange)), Embedder())
    assert [(shot.id, v.check, v.partner) for shot, v in found if not v.keep] == [("strange", "grounded", "strange")]


def test_an_empty_batch_is_no_trouble() -> None:
    """No answers, no verdicts."""
    checks: Quality = quality()
    assert checks.check_all([], []) == []
