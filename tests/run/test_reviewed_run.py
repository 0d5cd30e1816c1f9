"""A run with people beside it: what they decide drops, changes and marks rows, and comes into the prompts to come."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from typer.testing import CliRunner

import craft_hf  # noqa: F401  (makes load_dataset("craft") work)
from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.quality.registry import PEOPLE
from craft_hf.review.decisions import ACCEPT, EDIT, PROMOTE, REJECT, THRESHOLD
from craft_hf.review.queue import counts, queue
from craft_hf.review.samples import ReviewSample
from craft_hf.review.source import open_review_store
from craft_hf.review.store import ReviewStore
from craft_hf.run.pipeline import execute
from craft_hf.run.resolution import resolve
from craft_hf.run.result import RunResult
from craft_hf.run.runs import ensure_reviewed_run, ensure_run, read_rows
from craft_hf.run.settings import RunSettings
from tests.reviewing import decide
from tests.writer_server import WriterServer

pytestmark = [pytest.mark.weights, pytest.mark.slow]


def settings(server: WriterServer, reviews: Path, samples: int = 6, **more: object) -> RunSettings:
    """Settings of a bioqa run that people look at."""
    return RunSettings("bioqa", generator=server.url, num_samples=samples, review=str(reviews), **more)  # type: ignore[arg-type]


def run(server: WriterServer, reviews: Path, samples: int = 6, **more: object) -> RunResult:
    """Do a run; 16 prompts a round."""
    return execute(resolve(replace(settings(server, reviews, samples, **more), concurrency=1)))


def reviewed(reviews: ReviewStore) -> list[ReviewSample]:
    """The samples that people see, in order."""
    return [s for s in map(reviews.sample, queue(reviews, show="all", order="arrived")) if s is not None]


def questions(outcome: RunResult) -> list[str]:
    """The questions of the rows."""
    return [str(sample.fields["question"]) for sample in outcome.samples]


def promotion(sample: ReviewSample) -> dict[str, object]:
    """What a promotion says."""
    document = {name: sample.document[name] for name in ("text", "source", "license")}
    return {"id": f"review-{sample.id}", "sample_id": sample.id, "sample": sample.fields, **document}


def test_a_review_of_nothing_changes_no_row(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """The run gives what it gives without people, and shows them all that it kept, and what it dropped."""
    server.bad_every = 3
    alone = execute(resolve(RunSettings("bioqa", generator=server.url, num_samples=6)))
    outcome = run(server, tmp_path / "r.sqlite")
    assert questions(outcome) == questions(alone)
    assert outcome.review == ""
    with ReviewStore(tmp_path / "r.sqlite") as reviews:
        assert [s.fields for s in reviewed(reviews)] == [dict(s.fields) for s in outcome.samples]
        assert all(s.document["text"] and s.checks for s in reviewed(reviews))


def test_decisions_drop_change_and_mark_rows(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """Rejected rows are replaced by later ones, edited ones are as edited, and the report says so without names."""
    first = run(server, tmp_path / "r.sqlite")
    asked = len(server.requests)
    with ReviewStore(tmp_path / "r.sqlite") as reviews:
        samples = reviewed(reviews)
        decide(reviews, samples[0], REJECT, "Ann Smith", reason="wrong answer")
        decide(reviews, samples[1], EDIT, "Ann Smith", fields={**samples[1].fields, "question": "Is this better?"})
        decide(reviews, samples[2], ACCEPT, "Ann Smith")
    folder = ensure_run(resolve(replace(settings(server, tmp_path / "r.sqlite"), concurrency=1)))
    rows = [row for row in read_rows(folder, 0, 1) if not row["is_few_shot"]]
    found = [str(row["question"]) for row in rows]
    assert len(rows) == 6
    assert found[:2] == ["Is this better?", questions(first)[2]]
    assert questions(first)[0] not in found
    marks = [[c["remark"] for c in row["checks"] if c["check"] == PEOPLE] for row in rows]  # type: ignore[union-attr, index, call-overload]
    assert marks == [["edited by 1"], ["accepted by 1"], [], [], [], []]
    assert 0 < len(server.requests) - asked < 4  # what it takes to replace the rejected one, and no answer twice
    assert len(server.documents) == len(set(server.documents))
    report = json.loads((folder / "report.json").read_text())
    left = {"stage": "review", "label": "not rejected by people", "count": len(server.documents) - 1, "removed": False}
    assert left in report["funnel"]
    assert {"check": PEOPLE, "reason": "wrong answer", "count": 1} in report["drops"]
    said = report["measured"]["human_review"]
    asked = len(server.documents)
    assert said == f"1 person decided about 3 of {asked} samples: 1 accepted, 1 edited, 1 rejected."
    written = [p.read_text() for p in (folder / "report.md", folder / "README.md", folder / "report.json")]
    assert all("1 person decided" in text and "Ann" not in text for text in written)


def test_load_dataset_takes_a_review(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """The same arguments give other rows once people decided, and the same again if they did not."""
    wanted = {"task": "bioqa", "generator": server.url, "num_samples": 4, "review": str(tmp_path / "r.sqlite")}
    first = datasets.load_dataset("craft", split="train", **wanted)
    with ReviewStore(tmp_path / "r.sqlite") as reviews:
        decide(reviews, reviewed(reviews)[0], REJECT)
    second = datasets.load_dataset("craft", split="train", **wanted)
    asked = len(server.requests)
    third = datasets.load_dataset("craft", split="train", **wanted)
    assert first["question"][-4] not in second["question"]
    assert len(second) == len(first)
    assert list(second["question"]) == list(third["question"])
    assert len(server.requests) == asked


def test_a_promoted_sample_is_in_the_prompts_to_come(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """From the next round on; done again, the run sends no prompt and gives the same rows."""
    path = tmp_path / "r.sqlite"
    run(server, path, 6)
    with ReviewStore(path) as reviews:
        sample = reviewed(reviews)[1]
        decide(reviews, sample, ACCEPT)
        reviews.change(PROMOTE, promotion(sample), "ann", "k")  # type: ignore[arg-type]
    before = len(server.requests)
    # a run that goes on: its first prompts were answered before the promotion, and are not asked again
    with ReviewStore(path) as reviews:
        reviews.set_positions([1], before)
    outcome = run(server, path, 40, prefix_groups=11)
    later = [r for r in server.requests[before:] if len(r["messages"]) > 2]
    shown = [r for r in later if any(str(sample.fields["question"]) in m["content"] for m in r["messages"][:-1])]
    assert shown
    assert not [r for r in server.requests[:before] if str(sample.fields["question"]) in json.dumps(r["messages"])]
    assert f"review-{sample.id}" in {name for s in outcome.samples for name in s.prompt.few_shot_ids}
    assert f"From prompt {before} on, the promoted sample review-{sample.id} is a few-shot." in outcome.review
    asked = len(server.requests)
    again = run(server, path, 40, prefix_groups=11)
    assert questions(again) == questions(outcome)
    assert len(server.requests) == asked
    with ReviewStore(path) as reviews:
        assert [change.position for change in reviews.changes()] == [before]


def test_a_promotion_takes_hold_at_the_next_round_of_a_run_that_goes_on(
    home: Path, server: WriterServer, tmp_path: Path
) -> None:
    """Somebody promotes while the model answers: the round in hand is not changed, the next one is."""
    path, answered = tmp_path / "r.sqlite", server.reply_to

    def promote_meanwhile(body: dict[str, object]) -> object:
        if len(server.requests) == 20:
            with ReviewStore(path) as reviews:
                sample = reviewed(reviews)[0]
                reviews.change(PROMOTE, promotion(sample), "ann", "k")  # type: ignore[arg-type]
        return answered(body)  # type: ignore[arg-type]

    server.reply_to = promote_meanwhile  # type: ignore[method-assign, assignment]
    outcome = run(server, path, 120)
    with ReviewStore(path) as reviews:
        (change,) = reviews.changes()
    assert change.position == 32
    ids = [list(sample.prompt.few_shot_ids) for sample in outcome.samples]
    places = [n for n, shots in enumerate(ids) if any(str(i).startswith("review-") for i in shots)]
    assert places
    assert min(places) >= 32


def test_what_is_decided_while_the_run_goes_on_is_in_its_rows(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """A rejected sample is replaced and an accepted one marked, though both were kept before; nothing is paid twice."""
    path, answered = tmp_path / "r.sqlite", server.reply_to

    def decide_meanwhile(body: dict[str, object]) -> object:
        if len(server.requests) == 20:
            with ReviewStore(path) as reviews:
                first, second = reviewed(reviews)[:2]
                decide(reviews, first, REJECT)
                decide(reviews, second, ACCEPT)
        return answered(body)  # type: ignore[arg-type]

    server.reply_to = decide_meanwhile  # type: ignore[method-assign, assignment]
    folder = ensure_reviewed_run(replace(settings(server, path, 30), concurrency=1))
    with ReviewStore(path) as reviews:
        first, second = reviewed(reviews)[:2]
    rows = [row for row in read_rows(folder, 0, 1) if not row["is_few_shot"]]
    assert len(rows) == 30
    assert first.fields["question"] not in [row["question"] for row in rows]
    assert rows[0]["question"] == second.fields["question"]
    assert rows[0]["checks"][-1]["remark"] == "accepted by 1"  # type: ignore[index, call-overload]
    asked = len(server.documents)
    assert asked == len(set(server.documents))
    with ReviewStore(path) as reviews:  # undone, all is as at the beginning: no run of then stands for it
        while reviews.undo_last("ann", f"undo-{len(reviews.history())}"):
            pass
    folder = ensure_reviewed_run(replace(settings(server, path, 30), concurrency=1))
    assert first.fields["question"] in [row["question"] for row in read_rows(folder, 0, 1)]
    assert len(server.documents) == asked


def test_a_threshold_that_somebody_set_is_held(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """Samples beyond it are dropped with the reason, but not those that people want."""
    path = tmp_path / "r.sqlite"
    first = run(server, path, 6)
    scores = sorted(s.hit.similarity for s in first.samples)
    with ReviewStore(path) as reviews:
        worst = min(reviewed(reviews), key=lambda s: s.similarity or 0)
        reviews.change(THRESHOLD, {"check": "similarity", "score": scores[2]}, "ann", "k")
    outcome = run(server, path, 6)
    assert {r.check for r in outcome.rejects if r.similarity and r.similarity < scores[2]} == {PEOPLE}
    reasons = {r.reason for r in outcome.rejects if r.check == PEOPLE}
    assert reasons == {f"similarity is below the threshold that a reviewer set ({scores[2]:g})"}
    with ReviewStore(path) as reviews:
        decide(reviews, worst, ACCEPT)
    assert str(worst.fields["question"]) in questions(run(server, path, 6))
    assert f"the threshold of similarity is {scores[2]}" in outcome.review


def test_people_may_put_back_what_a_check_dropped(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """Whoever accepts a dropped sample keeps it, if it is one by the schema; an edit that is none is not taken."""
    path = tmp_path / "r.sqlite"
    strict = {"duplicate_threshold": 0.0, "duplicates_by": "json"}  # everything counts as a duplicate
    outcome = run(server, path, 2, **strict)
    assert not outcome.samples
    with ReviewStore(path) as reviews:
        dropped = [s for s in reviews.samples() if s.dropped_by == "duplicate"]
        decide(reviews, dropped[0], ACCEPT)
        decide(reviews, dropped[1], EDIT, fields={"question": "only this"})
    outcome = run(server, path, 2, **strict)
    assert [dict(s.fields)["question"] for s in outcome.samples] == [dropped[0].fields["question"]]
    assert [r.reason for r in outcome.rejects if r.check == PEOPLE] == [
        "edited by 1, but sample: against the schema (required)"
    ]


def test_a_review_of_another_task_is_refused(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """Before anything is asked."""
    ReviewStore(tmp_path / "r.sqlite", "csqa").close()
    with pytest.raises(InputError, match="holds reviews of the task csqa, not of bioqa"):
        run(server, tmp_path / "r.sqlite")
    assert not server.requests


def test_a_dataset_is_opened_for_review(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """Rows and rejects of a folder are in a file beside it; opened again, nothing is new; the run takes the file."""
    server.bad_every = 4
    wanted = {"generator": server.url, "num_samples": 4}
    folder = tmp_path / "my-dataset"
    made = ensure_run(resolve(replace(RunSettings("bioqa", **wanted), concurrency=1)))  # type: ignore[arg-type]
    DatasetFolder(made).copy_to(folder)
    reviews, task = open_review_store(str(folder))
    with reviews:
        assert reviews.path == tmp_path / "my-dataset.reviews.sqlite"
        found = counts(reviews)
        assert found["kept"] == 4
        assert "schema" not in found["dropped"]  # those answers hold no sample
        first = reviewed(reviews)[0]
        decide(reviews, first, REJECT)
    with open_review_store(str(folder))[0] as again:
        assert counts(again)["kept"] == 4
        assert len(again.current_decisions()) == 1
    with open_review_store(str(reviews.path))[0] as same:
        assert reviewed(same)[0] == first
    outcome = execute(resolve(RunSettings(task.name, review=str(reviews.path), **wanted)))  # type: ignore[arg-type]
    assert first.fields["question"] not in questions(outcome)
    assert len(outcome.samples) == 4


def test_what_cannot_be_reviewed_is_told(home: Path, tmp_path: Path) -> None:
    """A dataset without documents, of an unknown task, or of none."""
    rows = [{"question": "What?", "options": ["A. a", "B. b"], "answer": "A"}]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "rows"))
    with pytest.raises(InputError, match="give it with --task"):
        open_review_store(str(tmp_path / "rows"))
    with pytest.raises(InputError, match="lacks the column document"):
        open_review_store(str(tmp_path / "rows"), task="bioqa")
    with pytest.raises(InputError, match="give its folder with --task"):
        open_review_store(str(tmp_path / "rows"), task="mine")
    with pytest.raises(InputError, match="there is no"):
        open_review_store(str(tmp_path / "none"), task="bioqa")
    ReviewStore(tmp_path / "r.sqlite", "bioqa").close()
    with pytest.raises(InputError, match="of the task bioqa, not of csqa; leave --task out"):
        open_review_store(str(tmp_path / "r.sqlite"), task="csqa")


def test_the_command_takes_a_review(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """`craft-hf generate --review` makes the file, fills it, and gives rows as people want them the next time."""
    path = tmp_path / "r.sqlite"
    command = ["generate", "bioqa", "--num-samples", "3", "--generator", server.url, "--show", "0"]
    command += ["--review", str(path), "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    with ReviewStore(path) as reviews:
        assert counts(reviews)["kept"] == 3
        decide(reviews, reviewed(reviews)[0], REJECT, reason="wrong answer")
    second = CliRunner().invoke(app, command)
    assert second.exit_code == 0, second.output
    assert "not rejected by people: " in second.output
    assert len(set(server.documents)) == len(server.documents) >= 4
