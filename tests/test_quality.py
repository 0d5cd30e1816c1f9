"""Quality checks: every drop has a check, a reason, and where it applies a score and a partner."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz, utils

from craft_hf.prompt import sample_json
from craft_hf.quality import Quality
from craft_hf.quality.duplicate import Duplicates
from craft_hf.records import Answer, FewShot
from craft_hf.tasks import load_task

BIOQA = load_task("bioqa")
GOOD = {
    "question": "Which gas do plants take up in photosynthesis?",
    "options": ["A. Carbon dioxide", "B. Oxygen", "C. Nitrogen", "D. Helium"],
    "answer": "A",
}


def verdict(fields: dict[str, object] | str, finish_reason: str = "stop") -> tuple[str, str]:
    """Return check and reason of the last verdict on an answer."""
    text = fields if isinstance(fields, str) else json.dumps(fields)
    last = Quality(BIOQA).check("d", Answer(text, finish_reason, 10, 20))[1][-1]
    return last.check, last.reason


def test_a_good_sample_is_kept_with_all_three_verdicts() -> None:
    """A good answer passes every check and comes back parsed."""
    fields, verdicts = Quality(BIOQA).check("d", Answer(json.dumps(GOOD), "stop"))
    assert fields == GOOD
    assert [(v.check, v.keep) for v in verdicts] == [("schema", True), ("wellformed", True), ("duplicate", True)]


def test_json_in_a_code_fence_is_understood() -> None:
    """Servers without constrained decoding like to fence their JSON."""
    assert verdict(f"```json\n{json.dumps(GOOD)}\n```") == ("duplicate", "")


@pytest.mark.parametrize(
    ("answer", "finish_reason", "check", "reason"),
    [
        (json.dumps(GOOD)[:40], "length", "schema", "cut by the limit of new tokens"),
        (json.dumps(GOOD)[:40], "overlong", "schema", "given up: a text longer than the schema allows"),
        ("", "prompt_too_long", "context", "prompt too long for the model's context"),
        ("Sure! Here it is", "stop", "schema", "no valid JSON"),
        ("[1, 2]", "stop", "schema", "no JSON object"),
        ("[" * 100_000, "stop", "schema", "no valid JSON"),
        ('{"question": "\\ud83d"}', "stop", "schema", "half a character (a lone surrogate)"),
        ('{"options": [1' + "0" * 25 + "]}", "stop", "schema", "a whole number beyond 64 bits"),
        (json.dumps({**GOOD, "answer": "E"}), "stop", "schema", "answer: against the schema (enum)"),
        (json.dumps({**GOOD, "options": ["A. a"]}), "stop", "schema", "options: against the schema (minItems)"),
        (json.dumps({"question": "x"}), "stop", "schema", "sample: against the schema (required)"),
        (json.dumps({**GOOD, "question": "Which gas?"}), "stop", "wellformed", "question: under 16 characters"),
        (json.dumps({**GOOD, "question": "?????????????????????"}), "stop", "wellformed",
         "question: empty, or only repeats punctuation"),
        (json.dumps({**GOOD, "options": ["A. One", "B. one!", "C. two", "D. three"]}), "stop", "wellformed",
         "options: two options say the same"),
        (json.dumps({**GOOD, "options": ["A. One", "B. ....", "C. two", "D. three"]}), "stop", "wellformed",
         "options: empty, or only repeats punctuation"),
        (json.dumps({**GOOD, "options": ["A. One", "B. two======", "C. two", "D. three"]}), "stop", "wellformed",
         "options: empty, or only repeats punctuation"),
    ],
)  # fmt: skip
def test_each_fault_is_dropped_under_its_own_reason(answer: str, finish_reason: str, check: str, reason: str) -> None:
    """A cut answer is not called a parse error, and no fault hides behind another's name."""
    assert verdict(answer, finish_reason) == (check, reason)


def test_a_cut_answer_is_named_even_if_its_json_is_whole() -> None:
    """finish_reason decides first."""
    assert verdict(GOOD, "length") == ("schema", "cut by the limit of new tokens")


def test_an_answer_that_is_no_option_is_dropped() -> None:
    """The letter must be that of an option, also for a task whose schema does not say so."""
    task = load_task("bioqa")
    loose = json.loads(json.dumps(task.schema))
    loose["properties"]["options"] = {"type": "array", "items": {"type": "string"}}
    task = type(task)(**{**{f: getattr(task, f) for f in task.__dataclass_fields__}, "schema": loose})
    fields = {**GOOD, "options": ["A. Carbon dioxide", "B. Oxygen"], "answer": "C"}
    last = Quality(task).check("d", Answer(json.dumps(fields), "stop"))[1][-1]
    assert (last.check, last.reason) == ("wellformed", "answer: not among the options")


def test_a_sample_near_a_few_shot_is_dropped_and_names_it() -> None:
    """The few-shots come first, with partner and score."""
    sample = dict(BIOQA.few_shots[4].sample)
    last = Quality(BIOQA).check("d", Answer(sample_json(sample), "stop"))[1][-1]
    assert (last.keep, last.reason, last.partner, last.score) == (
        False,
        "nearly a few-shot",
        BIOQA.few_shots[4].id,
        100,
    )


def test_a_repeated_sample_is_dropped_and_names_the_first() -> None:
    """The first of two like samples stays; the second names the document of the first."""
    quality = Quality(BIOQA)
    other = {**GOOD, "question": "Which gas do plants take up in the photosynthesis?"}
    assert quality.check("first", Answer(json.dumps(GOOD), "stop"))[1][-1].keep
    last = quality.check("second", Answer(json.dumps(other), "stop"))[1][-1]
    assert (last.keep, last.reason, last.partner) == (False, "nearly a kept sample", "first")
    assert last.score is not None
    assert last.score >= 85


WORDS = st.lists(
    st.sampled_from(["alpha", "beta", "Gamma,", "delta!", "(eps)", "zeta", "eta", "theta"]), max_size=8
).map(" ".join)


@given(st.lists(WORDS, max_size=12), st.lists(WORDS, min_size=3, max_size=3), st.integers(0, 100))
def test_duplicates_agree_with_comparing_all_pairs(texts: list[str], shots: list[str], threshold: int) -> None:
    """The decisions are those of a plain loop over all pairs with thefuzz's preprocessing."""
    few_shots = [FewShot(f"s{i}", "", {"t": t}) for i, t in enumerate(shots)]
    duplicates = Duplicates(few_shots, threshold)
    kept: list[str] = [utils.default_process(sample_json(s.sample)) for s in few_shots]
    for number, text in enumerate(texts):
        mine = utils.default_process(sample_json({"t": text}))
        expected = all(fuzz.token_set_ratio(mine, other) < threshold for other in kept)
        assert duplicates.check(str(number), {"t": text}).keep == expected
        if expected:
            kept.append(mine)


def test_documents_that_share_an_id_are_all_remembered() -> None:
    """A copy is found although another document of the same id was kept in between."""
    duplicates = Duplicates([], 85)
    assert duplicates.check("1", {"t": "alpha beta gamma"}).keep
    assert duplicates.check("1", {"t": "delta epsilon zeta"}).keep
    assert not duplicates.check("1", {"t": "alpha beta gamma"}).keep
