"""A run with its checks: judge, test sets, earlier datasets and balance, over real HTTP and the real embedder."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from craft_hf.base.errors import InputError
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.publishing import write_repository
from craft_hf.run.pipeline import execute
from craft_hf.run.resolution import resolve
from craft_hf.run.runs import ensure_run, read_rows
from craft_hf.run.settings import RunSettings
from craft_hf.tasks.task import load_task
from tests import ROOT
from tests.openai_server import Reply, ok, serving
from tests.writer_server import WriterServer


class JudgingServer(WriterServer):
    """Writes samples, and says "A" to every question of the judge; it stands in for a model that understands."""

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """Answer a judge's question, or write a sample."""
        text = body["messages"][-1]["content"]
        if "Question:\n" not in text:
            return super().reply_to(body)
        with self.lock:
            self.requests.append(body)
        return ok('{"answer": "A"}', tokens=(7, 3))


@pytest.mark.weights
def test_a_run_with_a_judge_keeps_what_the_judge_answers(home: Path) -> None:
    """Samples whose answer is not A are dropped by the judge, whose calls are counted and never paid for twice."""
    with serving(JudgingServer()) as server:
        assert isinstance(server, JudgingServer)
        run = resolve(RunSettings("bioqa", generator=server.url, num_samples=3, judge="generator"))
        outcome = execute(run)
        checks = Counter(reject.check for reject in outcome.rejects)
        assert len(outcome.samples) == 3
        assert checks["judge"] > 0
        assert outcome.balance.before == {"A": 3}
        judged = [body for body in server.requests if "Question:\n" in body["messages"][-1]["content"]]
        assert len(judged) == 2 * (3 + checks["judge"] + checks["surplus"])
        assert outcome.usage.answers_generated == len(server.requests)
        assert all("too easy" in s.verdicts[-1].reason for s in outcome.samples)
        asked = len(server.requests)
        again = execute(run)
        assert len(server.requests) == asked
        assert [s.fields for s in again.samples] == [s.fields for s in outcome.samples]
        folder = ensure_run(run)
        assert "The judge accepted all 3 generated rows; 3 of them" in DatasetFolder(folder).report.measured["judge"]
        rows = [row for row in read_rows(folder, 0, 1) if not row["is_few_shot"]]
        names = [check["check"] for check in rows[0]["checks"]]  # type: ignore[union-attr, index, call-overload]
        assert "judge" in names
        other = resolve(replace(run.settings, judge_draws=2))
        assert other.run_id != run.run_id


def test_a_judge_needs_something_to_judge_by(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """A task with neither options nor a rubric is refused before anything is asked."""
    folder = tmp_path / "own"
    folder.mkdir()
    text = (ROOT / "craft_hf/tasks/shipped/recipegen/task.yaml").read_text()
    (folder / "task.yaml").write_text(text[: text.index("rubric:")] + text[text.index("prompt_template:") :])
    (folder / "few_shots.jsonl").write_text((ROOT / "craft_hf/tasks/shipped/recipegen/few_shots.jsonl").read_text())
    with pytest.raises(InputError, match="has neither options to answer by nor a rubric"):
        resolve(RunSettings(str(folder), generator=server.url, judge="generator"))


@pytest.mark.weights
def test_an_item_of_a_test_set_becomes_no_row(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """The question of a row of a first run is given as a test set; the second run drops it, and says so on the card."""
    first = execute(resolve(RunSettings("bioqa", generator=server.url, num_samples=4)))
    question = first.samples[0].fields["question"]
    (tmp_path / "exam.jsonl").write_text(json.dumps({"question": question}))
    run = resolve(RunSettings("bioqa", generator=server.url, num_samples=4, test_sets=str(tmp_path / "exam.jsonl")))
    folder = ensure_run(run)
    report = DatasetFolder(folder).report
    assert [(o["name"], o["items"], o["dropped"], o["kept"]) for o in report.contamination] == [
        ("exam.jsonl", 1, 1, report.contamination[0]["kept"])
    ]
    assert {"check": "contaminated", "reason": "has 13 words in a row from a test item", "count": 1} in report.drops
    card = (folder / "README.md").read_text()
    assert "exam.jsonl, 1 items: 1 samples dropped" in card
    assert str(tmp_path) not in card[: card.index("## To repeat it")]
    write_repository(folder, tmp_path / "repository")  # what goes to the Hub names no place on this machine
    pages = [
        path.read_text() for path in (tmp_path / "repository").rglob("*") if path.suffix in (".md", ".json", ".html")
    ]
    assert len(pages) == 4
    assert not [page for page in pages if str(tmp_path) in page]
    assert question not in [row["question"] for row in read_rows(folder, 0, 1)]


@pytest.mark.weights
def test_test_sets_out_of_reach_are_said_to_be_not_checked(home: Path, server: WriterServer) -> None:
    """Offline the task's own test sets cannot be had: report and card say so, for each of them."""
    folder = ensure_run(resolve(RunSettings("bioqa", generator=server.url, num_samples=2)))
    for page in ("README.md", "report.md"):
        text = (folder / page).read_text()
        assert text.count("not checked") >= len(load_task("bioqa").test_sets)


@pytest.mark.weights
def test_an_earlier_dataset_is_not_repeated(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """The same documents give the same samples, which all are in the earlier dataset: other ones are taken."""
    first = resolve(RunSettings("bioqa", generator=server.url, num_samples=3))
    DatasetFolder(ensure_run(first)).copy_to(tmp_path / "first")
    second = resolve(replace(first.settings, earlier=str(tmp_path / "first")))
    assert second.run_id != first.run_id
    folder = ensure_run(second)
    rows = [[r["question"] for r in read_rows(f, 0, 1) if not r["is_few_shot"]] for f in (ensure_run(first), folder)]
    assert len(rows[1]) == 3
    assert not set(rows[0]) & set(rows[1])
    dropped = {"check": "duplicate", "reason": "nearly a sample of an earlier dataset", "count": 3}
    assert dropped in DatasetFolder(folder).report.drops
    with pytest.raises(InputError, match=r"holds no data/\*\.parquet"):
        resolve(replace(first.settings, earlier=str(tmp_path)))
    with pytest.raises(InputError, match="has no column 'ingredients'"):
        execute(resolve(replace(second.settings, task="recipegen")))


@pytest.mark.weights
def test_letters_are_balanced_and_the_funnel_tells_each_check(home: Path, server: WriterServer) -> None:
    """Eight rows, each letter right twice; the funnel's stages only ever get smaller, and end in the rows."""
    server.bad_every = 3
    folder = ensure_run(resolve(RunSettings("bioqa", generator=server.url, num_samples=8)))
    report = DatasetFolder(folder).report
    assert report.answers == {"A": 2, "B": 2, "C": 2, "D": 2}
    assert sum(report.balance["before"].values()) == 8  # type: ignore[union-attr]
    counts = [stage.count for stage in report.funnel if not stage.removed]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 8
    assert ("schema", "following the schema") in [(stage.stage, stage.label) for stage in report.funnel]
    assert "Options were put in another order" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"skip_checks": "schema"}, "skip_checks has 'schema', expected some of repetitive, language, copied"),
        ({"judge_draws": 0}, "judge_draws is 0, expected a whole number of at least 1"),
    ],
)
def test_bad_settings_of_the_checks_are_named(values: dict[str, Any], message: str) -> None:
    """Each is named, with what was expected."""
    with pytest.raises(InputError, match=message):
        resolve(RunSettings("bioqa", **values))
