"""Contaminated: no sample is an item of a test set; test sets come from files and from the Hub, or are not checked."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from craft_hf.base.errors import InputError
from craft_hf.quality.contaminated import ContaminatedCheck
from craft_hf.quality.test_sets import TestSet, identity_of_test_sets, load_test_sets
from tests.quality_samples import GOOD, changed, context, sample

LONG = (
    "A farmer who has grown the same wheat on one field for eleven years in a row finds that her harvest gets smaller "
    "each year although the weather was good. Which of these is the most likely cause?"
)
ITEMS = ["What is a cell?", "Which organelle makes most of the energy that a cell of an animal needs?", LONG]


def checked(question: str) -> tuple[bool, str, str]:
    """Whether a sample with this question is kept, why not, and its partner."""
    verdict = ContaminatedCheck(context(test_sets=[TestSet("exam", ITEMS)])).check(sample(changed(question=question)))
    return verdict.keep, verdict.reason, verdict.partner


@pytest.mark.parametrize(
    ("question", "reason", "item"),
    [
        ("WHAT IS A CELL", "has a whole test item", 1),
        (f"Tell me: {ITEMS[1]}", "has 13 words in a row from a test item", 2),
        ("Which organelle makes the most energy that a cell of an animal needs?", "is nearly a test item", 2),
        (f"Imagine this, please. {LONG[:120]} What can she do?", "has 13 words in a row from a test item", 3),
        (
            "Which organelle makes most of the energy that a plant needs, or a fungus or a cell of an animal needs?",
            "has most of the 5-word runs of a test item",
            2,
        ),
    ],
)
def test_items_are_found_whole_in_pieces_and_reworded(question: str, reason: str, item: int) -> None:
    """The verdict names the test set and the item, counted from 1."""
    assert checked(question) == (False, reason, f"exam, item {item}")


def test_a_common_phrase_is_no_item() -> None:
    """Five words in a row are counted, but nothing is dropped for them."""
    check = ContaminatedCheck(context(test_sets=[TestSet("exam", ITEMS), TestSet("gone", problem="no connection")]))
    verdict = check.check(sample(changed(question="Which of these is the most likely cause of rust?")))
    assert verdict.keep
    assert 0 < (verdict.score or 0) < 0.7
    check.remember(sample(changed(question="Which of these is the most likely cause of rust?")))
    check.remember(sample(GOOD))
    exam, gone = check.overlaps
    assert (exam.items, exam.dropped, exam.kept, exam.with_short) == (3, 0, 2, 1)
    assert (gone.problem, gone.kept, gone.with_short) == ("no connection", 0, 0)


def test_dropped_samples_are_counted_at_their_test_set() -> None:
    """Each test set has its own count."""
    test_sets = [TestSet("a", ["An item that nobody ever asked of anybody before?"]), TestSet("b", ITEMS)]
    check = ContaminatedCheck(context(test_sets=test_sets))
    assert not check.check(sample(changed(question=ITEMS[1]))).keep
    assert [overlap.dropped for overlap in check.overlaps] == [0, 1]


def test_without_test_sets_nothing_is_measured() -> None:
    """No score, where there was nothing to compare with."""
    assert ContaminatedCheck(context()).check(sample(GOOD)).score is None


def test_files_are_read_and_known_by_their_content(tmp_path: Path) -> None:
    """Plain and compressed, with question or text; the identity follows the content, not the name."""
    rows = [{"question": ITEMS[0]}, {"question": ITEMS[1], "text": "other"}]
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_text("\n".join(map(json.dumps, rows)))
    packed.write_bytes(gzip.compress(json.dumps({"text": LONG}).encode()))
    found = load_test_sets([str(plain), str(packed)], required=True)
    assert [(t.name, list(t.items)) for t in found] == [("a.jsonl", ITEMS[:2]), ("b.jsonl.gz", [LONG])]
    before = identity_of_test_sets([str(plain), "user/name::test"])
    plain.rename(tmp_path / "c.jsonl")
    assert identity_of_test_sets([str(tmp_path / "c.jsonl"), "user/name::test"]) == before
    (tmp_path / "c.jsonl").write_text("{}")
    assert identity_of_test_sets([str(tmp_path / "c.jsonl"), "user/name::test"]) != before


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    """A file that is not there, or has no such column, is named."""
    with pytest.raises(InputError, match=r"there is no test set .*none\.jsonl"):
        load_test_sets([str(tmp_path / "none.jsonl")], required=False)
    (tmp_path / "x.jsonl").write_text('{"prompt": "?"}')
    with pytest.raises(InputError, match=r"x\.jsonl, line 1: has prompt; a test set needs a text as question or text"):
        load_test_sets([str(tmp_path / "x.jsonl")], required=False)


def test_a_hub_dataset_out_of_reach_is_not_checked_or_an_error(home: Path) -> None:
    """The task's own sets are left out with a word; those that were asked for are missed."""
    [found] = load_test_sets(["cais/mmlu:anatomy:test"], required=False)
    assert not found.items
    assert found.problem
    with pytest.raises(InputError, match="the test set cais/mmlu:anatomy:test cannot be read"):
        load_test_sets(["cais/mmlu:anatomy:test"], required=True)


def test_a_hub_that_does_not_answer_is_no_reason_to_stop() -> None:
    """Where nothing listens, a set is not checked, or missed if it was asked for: in a process that is not offline."""
    code = (
        "from craft_hf.base import InputError\n"
        "from craft_hf.quality.test_sets import load_test_sets\n"
        "print(load_test_sets(['a/b'], False))\n"
        "try: load_test_sets(['a/b'], True)\n"
        "except InputError as e: print(e)\n"
    )
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **nowhere}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left_out, missed = done.stdout.splitlines()
    assert "name='a/b', items=(), problem='" in left_out
    assert "refused" in left_out
    assert missed.startswith("the test set a/b cannot be read: ")
    assert missed.endswith("; give a file, or leave it out.")
