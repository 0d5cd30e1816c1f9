"""What people decide is kept: at once, once, by whom and when, through undo, export, import and other processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from craft_hf.base.errors import InputError, StorageError
from craft_hf.quality.balance import Shuffle
from craft_hf.review.decisions import ACCEPT, EDIT, PROMOTE, REJECT, UNDO, Decision
from craft_hf.review.queue import counts, queue
from craft_hf.review.source import import_decisions
from craft_hf.review.store import ReviewStore
from tests.reviewing import TASK, decide, made_reviews, made_sample


def test_a_decision_stands_until_it_is_changed_or_undone(tmp_path: Path) -> None:
    """The last decision of a reviewer about a sample counts; an undo brings back the one before it."""
    reviews, (sample, *_) = made_reviews(tmp_path / "r.sqlite", 2)
    decide(reviews, sample, ACCEPT)
    decide(reviews, sample, REJECT, reason="other")
    assert [d.verdict for d in reviews.current_decisions(sample.id)] == [REJECT]
    assert reviews.undo_last("ann", "u1") == sample.id
    assert [d.verdict for d in reviews.current_decisions()] == [ACCEPT]
    assert reviews.undo_last("ann", "u2") == sample.id
    assert reviews.undo_last("ann", "u3") == ""
    assert not reviews.current_decisions()
    assert [d.verdict for d in reviews.history()] == [ACCEPT, REJECT, UNDO, UNDO]


def test_what_is_sent_twice_counts_once(tmp_path: Path) -> None:
    """The same key again changes nothing, for decisions, undos and changes alike."""
    reviews, (sample, other) = made_reviews(tmp_path / "r.sqlite", 2)
    decide(reviews, sample, ACCEPT, key="a")
    decide(reviews, sample, REJECT, key="a")
    decide(reviews, other, ACCEPT, key="b")
    assert reviews.undo_last("ann", "u") == reviews.undo_last("ann", "u") == other.id
    assert [(d.sample_id, d.verdict) for d in reviews.current_decisions()] == [(sample.id, ACCEPT)]
    for _ in range(2):
        reviews.change(PROMOTE, {"id": "x"}, "ann", "c")
    assert len(reviews.changes()) == 1


def test_samples_that_come_again_keep_their_place_and_decisions(tmp_path: Path) -> None:
    """A dataset may be opened again and again; what changed is taken over."""
    reviews, samples = made_reviews(tmp_path / "r.sqlite", 3)
    decide(reviews, samples[1], ACCEPT)
    assert reviews.add([replace(samples[2], dropped_by="judge"), made_sample(3)]) == 1
    assert queue(reviews, "ann", "all", "arrived") == [samples[0].id, samples[1].id, made_sample(3).id]
    assert queue(reviews, "ann", "open", dropped_by="any") == queue(reviews, dropped_by="judge") == [samples[2].id]
    assert counts(reviews, "ann") == {
        "kept": 3, "dropped": {"judge": 1}, "mine": {ACCEPT: 1}, "reviewed": 1, "reviewers": 1,
    }  # fmt: skip


def test_the_queue_shows_what_was_asked_for(tmp_path: Path) -> None:
    """Most uncertain first; by what I or others decided; by words, in any case."""
    reviews, samples = made_reviews(tmp_path / "r.sqlite", 4)
    ids = [sample.id for sample in samples]
    assert queue(reviews, "ann") == ids
    decide(reviews, samples[0], ACCEPT)
    decide(reviews, samples[1], REJECT)
    decide(reviews, samples[1], EDIT, "bob", fields=samples[1].fields)
    decide(reviews, samples[0], ACCEPT, "bob")
    assert queue(reviews, "ann") == ids[2:]
    assert queue(reviews, "ann", ACCEPT) == [ids[0]]
    assert queue(reviews, "bob", EDIT) == queue(reviews, "ann", "disagreed") == [ids[1]]
    assert queue(reviews, "ann", "all", text="2: ") == [ids[2]]
    assert queue(reviews, "ann", "all", text=str(samples[3].fields["question"]).upper()) == [ids[3]]
    assert queue(reviews, "ann", "all", text="'; DROP TABLE decision; --") == []
    with pytest.raises(InputError, match="expected one of open"):
        queue(reviews, "ann", "everything")


def test_a_sample_has_one_id_whatever_the_order_of_its_options() -> None:
    """Shuffled options are the same sample; another right option, question or document is another."""
    fields = TASK.few_shots[0].sample
    shuffle = Shuffle(TASK, 3)
    found = {TASK.sample_id("d", shuffle.shuffled("d", fields)) for _ in range(8)}
    assert found == {TASK.sample_id("d", fields)}
    wrong = next(letter for letter in "ABCD" if letter != fields["answer"])
    others = {
        TASK.sample_id("d", {**fields, "answer": wrong}),
        TASK.sample_id("d", {**fields, "question": "?"}),
        TASK.sample_id("e", fields),
    }
    assert len(others | found) == 4


def test_export_and_import_give_the_same_decisions(tmp_path: Path) -> None:
    """Everything goes over, undone decisions included, and twice is once."""
    reviews, samples = made_reviews(tmp_path / "r.sqlite", 3)
    decide(reviews, samples[0], ACCEPT, note='"quotes" & Ünïcode')
    decide(reviews, samples[1], REJECT, reason="other")
    decide(reviews, samples[2], EDIT, "bob", fields=samples[2].fields)
    reviews.undo_last("ann", "u")
    lines = tmp_path / "d.jsonl"
    lines.write_text("".join(json.dumps(asdict(d)) + "\n" for d in reviews.history()))
    other = ReviewStore(tmp_path / "other.sqlite", TASK.name)
    assert import_decisions(other, lines, TASK) == 4
    assert import_decisions(other, lines, TASK) == 0
    assert other.history() == reviews.history()
    assert other.current_decisions() == reviews.current_decisions()


def test_an_import_with_a_wrong_line_takes_nothing_in(tmp_path: Path) -> None:
    """The line is named, and what was right before it is not half there."""
    reviews, (sample,) = made_reviews(tmp_path / "r.sqlite", 1)
    good = json.dumps(asdict(Decision(sample.id, "ann", ACCEPT, key="t")))
    wrong = {
        '{"sample_id": 3}': "line 2, is no decision: expected the texts",
        "[]": "line 2: holds list",
        "no json": "line 2: ",
        json.dumps(asdict(Decision(sample.id, "ann", EDIT, fields={"question": float("nan")}, key="u"))): "NaN is no",
        json.dumps(
            asdict(Decision(sample.id, "ann", ACCEPT, note="\ud800", key="u"))
        ): "line 2: holds half a character",
        json.dumps(asdict(Decision(sample.id, "ann", EDIT, fields={"question": "?"}, key="u"))): "line 2: the edited",
        json.dumps(asdict(Decision(sample.id, "ann", "maybe", key="u"))): "verdict 'maybe'",
        json.dumps(asdict(Decision(sample.id, "ann", UNDO, key="u", undoes="nothing"))): "no decision 'nothing'",
    }
    for line, said in wrong.items():
        (tmp_path / "d.jsonl").write_text(f"{good}\n{line}\n")
        with pytest.raises(InputError, match=said):
            import_decisions(reviews, tmp_path / "d.jsonl", TASK)
        assert not reviews.history()
    with pytest.raises(InputError, match="cannot be read"):
        import_decisions(reviews, tmp_path / "none.jsonl", TASK)


def test_files_that_are_no_reviews_are_refused(tmp_path: Path) -> None:
    """A missing file, a text, another program's database, another task's, another version's: each says what it is."""
    with pytest.raises(InputError, match="there is no"):
        ReviewStore(tmp_path / "none.sqlite")
    (tmp_path / "text").write_text("some text that is long enough to be no database at all" * 9)
    with pytest.raises(InputError, match="is no file of reviews"):
        ReviewStore(tmp_path / "text", "bioqa")
    with sqlite3.connect(tmp_path / "foreign") as foreign:
        foreign.execute("CREATE TABLE mine (a)")
    with pytest.raises(InputError, match="another program"):
        ReviewStore(tmp_path / "foreign", "bioqa")
    ReviewStore(tmp_path / "r", "bioqa").close()
    with pytest.raises(InputError, match="holds reviews of the task bioqa, not of csqa"):
        ReviewStore(tmp_path / "r", "csqa")
    with sqlite3.connect(tmp_path / "r") as newer:
        newer.execute("PRAGMA user_version=99")
    with pytest.raises(InputError, match="has format 99"):
        ReviewStore(tmp_path / "r")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is empty"):
        ReviewStore(tmp_path / "file")
    with pytest.raises(StorageError, match=r"cannot be written: .*; give another file for the reviews\.$"):
        ReviewStore(tmp_path / "file" / "r", "bioqa")


def test_a_decision_that_cannot_be_written_is_refused_and_not_half_there(tmp_path: Path) -> None:
    """A lock that somebody keeps is an error for the caller, who has the decision still; later it goes through."""
    reviews, (sample,) = made_reviews(tmp_path / "r.sqlite", 1)
    reviews.query("PRAGMA busy_timeout=50")
    with sqlite3.connect(tmp_path / "r.sqlite", isolation_level=None) as hog:
        hog.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="cannot be written"):
            decide(reviews, sample, ACCEPT, key="t")
        hog.execute("ROLLBACK")
    decide(reviews, sample, ACCEPT, key="t")
    assert len(reviews.history()) == 1


def test_two_reviewers_in_two_processes_lose_nothing(tmp_path: Path) -> None:
    """Threads of two stores on one file decide at the same time; all of it is there."""
    _, samples = made_reviews(tmp_path / "r.sqlite", 40)

    def review(name: str) -> None:
        with ReviewStore(tmp_path / "r.sqlite") as reviews:
            for sample in samples:
                decide(reviews, sample, ACCEPT, name, key=f"{name}-{sample.id}")

    threads = [threading.Thread(target=review, args=(name,)) for name in ("ann", "bob", "cy")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ReviewStore(tmp_path / "r.sqlite").current_decisions()) == 120


def test_kill_9_loses_no_decision_that_was_confirmed(tmp_path: Path) -> None:
    """A process decides and says so line by line; whatever it said before it was killed is in the file."""
    made_reviews(tmp_path / "r.sqlite", 30)[0].close()
    code = (
        "import sys, itertools; from pathlib import Path; from craft_hf.review.store import ReviewStore; "
        "from craft_hf.review.decisions import Decision\n"
        "with ReviewStore(Path(sys.argv[1])) as reviews:\n"
        "    for n in itertools.count():\n"
        "        reviews.decide(Decision('s', 'ann', 'accept', key=str(n))); print(n, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "r.sqlite"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = [process.stdout.readline().strip() for _ in range(25)]
    os.kill(process.pid, signal.SIGKILL)
    said += process.stdout.read().split()
    process.wait()
    with ReviewStore(tmp_path / "r.sqlite") as reviews:
        kept = [d.key for d in reviews.history()]
    assert said[0] == "0"
    assert kept[: len(said)] == said
    assert len(kept) <= len(said) + 1


def test_a_decision_needs_a_name_and_a_verdict(tmp_path: Path) -> None:
    """Nobody decides nothing."""
    reviews, (sample,) = made_reviews(tmp_path / "r.sqlite", 1)
    for wrong in ({"reviewer": " "}, {"verdict": "maybe"}, {"key": ""}):
        with pytest.raises(InputError, match="expected a verdict"):
            decide(reviews, sample, **{"verdict": ACCEPT, **wrong})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="an edit has no fields"):
        decide(reviews, sample, EDIT)


def test_a_change_needs_a_name_and_a_key(tmp_path: Path) -> None:
    """Without a key, the second of two changes would be taken for the first one sent again."""
    reviews, _ = made_reviews(tmp_path / "r.sqlite", 1)
    for name, key in ((" ", "k"), ("ann", "")):
        with pytest.raises(InputError, match="expected a name and a key"):
            reviews.change(PROMOTE, {"id": "x"}, name, key)
    assert not reviews.changes()
