"""Checks of a task's own: the example of docs/checks.md through a whole run, and checks that fail."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from craft_hf.base.errors import CraftError, InputError
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.review.samples import from_rows
from craft_hf.review.threshold_proposals import checks_that_drop_above, reject_reasons
from craft_hf.run.resolution import resolve
from craft_hf.run.runs import ensure_run
from craft_hf.run.settings import RunSettings
from tests import ROOT
from tests.writer_server import WriterServer

pytestmark = pytest.mark.weights

[EXAMPLE] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "checks.md").read_text(encoding="utf-8"), re.DOTALL)
NAME = "short-question"
FAILING = """
from craft_hf.quality import Check

class FailingCheck(Check):
    name = "failing"
    label = "not failed"

    def check(self, sample):
        if {condition}:
            raise ValueError("no idea")
        return self.keep()
"""


def settings(folder: Path, server: WriterServer, checks: str, **more: object) -> RunSettings:
    """Settings of a run of bioqa with this checks.py."""
    if not folder.exists():
        shutil.copytree(ROOT / "craft_hf" / "tasks" / "shipped" / "bioqa", folder)
    (folder / "checks.py").write_text(checks, encoding="utf-8")
    return RunSettings(str(folder), generator=server.url, **{"num_samples": 4, **more})  # type: ignore[arg-type]


def test_the_example_of_the_docs_is_a_check_like_any_other(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """It drops and keeps by its rule; rows, rejects, funnel, card and review page tell of it; it can be skipped."""
    asked = settings(tmp_path / "own", server, EXAMPLE)
    run = resolve(asked)
    made = DatasetFolder(ensure_run(run))
    rows = [row for row in made.rows if not row["is_few_shot"]]
    assert len(rows) == 4
    assert all(len(str(row["question"])) <= 190 for row in rows)
    scores = [c["score"] for row in rows for c in row["checks"] if c["check"] == NAME]  # type: ignore[union-attr, index, call-overload]
    assert scores == [len(str(row["question"])) for row in rows]
    dropped = [reject for reject in made.rejects if reject["check"] == NAME]
    assert dropped
    assert {reject["reason"] for reject in dropped} == {"question: over 190 characters"}
    assert "with a short question" in [stage.label for stage in made.report.funnel]
    for page in ("README.md", "report.md"):
        assert "| with a short question |" in (made.path / page).read_text()

    assert reject_reasons(run.task)["too long"] == [NAME]
    assert NAME in checks_that_drop_above(run.task)
    near = {s.scores[NAME]: s.uncertainty for s in from_rows(run.task, [rows[0]], dropped) if NAME in s.scores}
    length = len(str(rows[0]["question"]))
    assert near[length] >= round(1 - (190 - length) / 20, 4)

    changed = resolve(settings(tmp_path / "own", server, EXAMPLE.replace("190", "10_000")))
    assert changed.run_id != run.run_id
    count = len(server.requests)
    skipped = DatasetFolder(ensure_run(resolve(replace(asked, skip_checks=NAME))))
    assert len(server.requests) == count
    assert NAME not in {reject["check"] for reject in skipped.rejects}


def test_a_check_that_raises_costs_samples_not_the_run(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """The run ends with its rows; each sample for which it raised is a reject that says so."""
    asked = settings(tmp_path / "own", server, FAILING.format(condition='sample.fields["answer"] in "AB"'))
    made = DatasetFolder(ensure_run(resolve(asked)))
    assert made.report.rows["generated"] == 4
    assert {r["reason"] for r in made.rejects if r["check"] == "failing"} == {"failed: ValueError: no idea"}
    assert "not failed" in [stage.label for stage in made.report.funnel]


@pytest.mark.parametrize("num_samples", [1, 20])
def test_a_check_that_always_raises_ends_the_run(
    home: Path, server: WriterServer, tmp_path: Path, num_samples: int
) -> None:
    """With check, file, line and error; nothing is written, and no answer is paid for twice."""
    run = resolve(settings(tmp_path / "own", server, FAILING.format(condition="True"), num_samples=num_samples))
    with pytest.raises(CraftError, match=r"check failing failed for every sample .*/own/checks\.py, line 10: ValueErr"):
        ensure_run(run)
    assert not run.folder.exists()


def test_two_checks_of_one_name_are_refused_before_anything_is_asked(
    home: Path, server: WriterServer, tmp_path: Path
) -> None:
    """Both places are named."""
    taken = FAILING.format(condition="False").replace('"failing"', '"grounded"')
    with pytest.raises(InputError, match=r"named 'grounded', in .*grounded\.py and in .*own/checks\.py"):
        resolve(settings(tmp_path / "own", server, taken))
    assert not server.requests
