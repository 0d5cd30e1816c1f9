"""The ledger: sums that hold, one example a reason, and faults that are raised when wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import FAULTS, OF_DOCUMENTS, OF_FILES, OF_PAGES, OF_RECORDS, Fault, Ledger, Reason
from tests.corpus import left_out

LONG = "One sentence of a text. " * 20
COUNTS = st.integers(0, 10**12)


def test_every_reason_is_of_files_records_documents_or_pages() -> None:
    """Each reason counts for one of the sums, and only what is broken is a fault."""
    assert set(Reason) == OF_FILES | OF_RECORDS | OF_DOCUMENTS | OF_PAGES
    assert len(Reason) == sum(map(len, (OF_FILES, OF_RECORDS, OF_DOCUMENTS, OF_PAGES)))
    assert {Reason.UNREADABLE, Reason.NOT_INSTALLED, Reason.BROKEN} == FAULTS


@given(st.lists(st.sampled_from(["whole", "long", "short", "empty", "broken", "list"]), max_size=12), st.booleans())
def test_sums_hold_whatever_is_read(tmp_path_factory: pytest.TempPathFactory, kinds: list[str], drop: bool) -> None:
    """Every line of a file is a document, was split, or is counted, and every file is read or counted."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = {
        "whole": json.dumps({"text": LONG}), "long": json.dumps({"text": LONG * 9}), "short": '{"text": "short"}',
        "empty": '{"text": null}', "broken": '{"text": ', "list": "[]",
    }  # fmt: skip
    (folder / "a.jsonl").write_text("".join(lines[kind] + "\n" for kind in [*kinds, "whole"]))
    (folder / ".hidden").touch()
    (folder / "b.odt").touch()
    corpus = Corpus(folder, max_chars=1000, long="drop" if drop else "split")
    documents, ledger = list(corpus), corpus.ledger
    assert ledger.files == ledger.files_read + 2 == 3
    assert ledger.records == len(kinds) + 1
    assert ledger.documents == len(documents)
    assert ledger.split == (0 if drop else kinds.count("long"))
    assert ledger.passages == sum("#" in document.id for document in documents)
    want = {
        "too short": kinds.count("short"), "no text": kinds.count("empty"), "hidden file or folder": 1,
        "unknown ending": 1, "broken record": kinds.count("broken") + kinds.count("list"),
        "too long": kinds.count("long") if drop else 0,
    }  # fmt: skip
    assert left_out(ledger) == {reason: count for reason, count in want.items() if count}


@given(st.builds(Ledger, st.just(False), COUNTS, COUNTS, COUNTS, COUNTS, COUNTS), st.sampled_from(Reason), COUNTS)
def test_a_ledger_comes_back_from_json(ledger: Ledger, reason: Reason, count: int) -> None:
    """What is written into index.json is read again as it was."""
    ledger.leave_out(reason, "a.jsonl, line 3", count)
    assert Ledger.from_json(json.loads(json.dumps(ledger.to_json()))) == ledger


def test_what_is_no_ledger_is_refused() -> None:
    """Numbers that are missing are errors."""
    data = Ledger().to_json()
    for broken in ({**data, "left_out": {"no text": {"count": "many", "example": ""}}}, {**data, "left_out": 3}, {}):
        with pytest.raises((ValueError, TypeError, KeyError)):
            Ledger.from_json(broken)


def test_a_reason_of_a_later_version_is_kept() -> None:
    """An index that has been added to by it can be read, says it to people, and keeps it."""
    data = {**Ledger(whole=1).to_json(), "left_out": {"mood": {"count": 2, "example": "a.jsonl, line 3"}}}
    ledger = Ledger.from_json(json.loads(json.dumps(data)))
    ledger.add(Ledger.from_json(data).without(Ledger()))
    assert ledger.lines()[1:] == ["          4  left out: mood, such as a.jsonl, line 3"]
    assert ledger.to_json()["left_out"] == {"mood": {"count": 4, "example": "a.jsonl, line 3"}}
    assert ledger.documents == ledger.records == 2


def test_ledgers_add_up_and_keep_the_first_example() -> None:
    """The sum of two ledgers has the numbers of both; of each reason the example that came first stays, cut short."""
    first, second = Ledger(files_read=1, whole=2), Ledger(files_read=3, split=1, passages=4, repeated_ids=5)
    for ledger, example in ((first, "x" * 9999), (second, "b"), (second, "c")):
        ledger.leave_out(Reason.REDIRECT, example)
    first.add(second)
    assert (first.files, first.records, first.documents, first.repeated_ids) == (4, 6, 6, 5)
    assert left_out(first) == {"redirect": 3}
    assert first.left_out[Reason.REDIRECT].example == "x" * 300


def test_lines_tell_it_to_people() -> None:
    """The sums come first, then each reason with its number and example."""
    ledger = Ledger(files_read=2, whole=1000, split=2, passages=9, repeated_ids=3)
    ledger.leave_out(Reason.BROKEN, "a.jsonl, line 3: not valid JSON", 5000)
    assert ledger.lines() == [
        "read: 2 files with 6,002 records: 1,009 documents, 9 of them passages of 2 long records",
        "          3  ids were there already: these documents got the hash of their text behind the id",
        "      5,000  left out: broken record, such as a.jsonl, line 3: not valid JSON",
    ]


@pytest.mark.parametrize("reason", Reason)
def test_a_strict_ledger_raises_faults_and_counts_the_rest(reason: Reason) -> None:
    """Only what is broken ends a strict build; its place is in the message."""
    ledger = Ledger(strict=True)
    if reason not in FAULTS:
        ledger.leave_out(reason, "a.txt")
        assert left_out(ledger) == {str(reason): 1}
        return
    with pytest.raises(Fault, match=r"a\.txt: broken\. Without strict= \(--strict\)"):
        ledger.leave_out(reason, "a.txt: broken.")


def test_one_broken_file_of_many_ends_no_build_but_a_strict_one(tmp_path: Path) -> None:
    """Of a hundred files, the broken one is counted with its name; --strict ends with it, and says so once."""
    for number in range(100):
        (tmp_path / f"{number:02d}.txt").write_text(LONG)
    (tmp_path / "50.txt").write_bytes(b"\xff" * 500)
    corpus = Corpus(tmp_path)
    assert len(list(corpus)) == 99
    assert left_out(corpus.ledger) == {"unreadable or broken file": 1}
    assert "/50.txt: not UTF-8 text" in corpus.ledger.left_out[Reason.UNREADABLE].example
    assert str(tmp_path) not in corpus.ledger.left_out[Reason.UNREADABLE].example
    with pytest.raises(Fault, match=r"50\.txt: not UTF-8 text") as e:
        list(Corpus(tmp_path, strict=True))
    assert str(e.value).count("--strict") == 1
