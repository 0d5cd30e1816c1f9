"""Documents that are taken out of a dataset: nothing of them is left in its folder, and the figures follow."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import InputError, StorageError
from craft_hf.cli.main import app
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.rebuild import rebuild_report
from craft_hf.dataset.rows import task_features
from craft_hf.dataset.withdrawal import Withdrawal, Withdrawn, withdraw
from craft_hf.publishing.push import write_repository
from craft_hf.retrieval import Index
from craft_hf.tasks.task import load_task
from tests.publishable_folders import write_run
from tests.vectors import given_index, whole_numbers


@pytest.fixture(autouse=True)
def without_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are not embedded."""
    monkeypatch.setattr("craft_hf.dataset.rebuild._vectors", lambda *_: None)


@pytest.fixture
def made(tmp_path: Path) -> DatasetFolder:
    """A dataset of five rows of three sources, whose first row is the partner of all others."""
    folder = DatasetFolder(write_run(tmp_path / "made", 5))
    rows = list(folder.rows)
    for number, row in enumerate(rows[-5:]):
        row["source"] = ["Secret Source", "b", "c"][number % 3]
        row["license"] = ["CC BY-ND 4.0", "", "CC BY 4.0"][number % 3]
        row["document"] = f"The whole text of document {number}."
        row["checks"] = [{"check": "semantic", "score": 0.5, "partner": "openstax-0", "remark": ""}]
    reject = {
        **next(iter(folder.rejects)),
        "document_id": "openstax-9",
        "partner": "openstax-0",
        "answer": "He said so.",
    }
    folder.write_data(rows, task_features(load_task("bioqa")), [reject], "task: bioqa\n")
    return folder


def left(folder: DatasetFolder) -> list[str]:
    """The documents of the generated rows and of the rejects."""
    rows = [str(row["document_id"]) for row in folder.rows if not row["is_few_shot"]]
    return [*rows, *(str(row["document_id"]) for row in folder.rejects)]


@pytest.mark.parametrize(
    ("withdrawal", "went"),
    [
        (Withdrawal(frozenset({"openstax-0", "openstax-9"})), {"openstax-0", "openstax-9"}),
        (Withdrawal(sources=("secret*",)), {"openstax-0", "openstax-3"}),
        (Withdrawal(licenses=("not stated",)), {"openstax-1", "openstax-4"}),
        (Withdrawal(licenses=("CC-BY-ND-4.0",)), {"openstax-0", "openstax-3"}),
        (Withdrawal(frozenset({"openstax-2"}), ("b",)), {"openstax-1", "openstax-2", "openstax-4"}),
    ],
)
def test_what_is_named_goes_and_nothing_else(made: DatasetFolder, withdrawal: Withdrawal, went: set[str]) -> None:
    """No file of the folder has the texts of a document any more, nor its id as a partner's."""
    before = left(made)
    found = withdraw(made.path, withdrawal)
    after = DatasetFolder(made.path)
    assert found.documents == went
    assert left(after) == [name for name in before if name not in went]
    assert (found.rows, found.rejects) == (len([n for n in went if n != "openstax-9"]), int("openstax-9" in went))
    partners = {check["partner"] for row in after.rows for check in row["checks"]}  # type: ignore[index,union-attr,call-overload]
    assert not partners & went
    assert after.report.rows["generated"] == len(left(after)) - len(after.rejects)
    assert after.report.funnel[-1].count == after.report.rows["generated"]
    assert [note for note in after.report.notes if "Withdrawn on" in note and f"of {len(went)} documents" in note]
    assert not [note for note in after.report.notes if "The last stage" in note]
    assert after.run_yaml == "task: bioqa\n"
    for path in made.path.rglob("*"):
        for name in went if path.is_file() and path.suffix not in (".png", ".svg") else ():
            assert f"text of document {name[-1]}." not in path.read_bytes().decode("utf-8", "replace"), path


def test_what_is_stated_but_not_recognised_is_stated() -> None:
    """Only what says nothing is "not stated"."""
    withdrawal = Withdrawal(licenses=("not stated",))
    assert withdrawal.selects("d", "s", "")
    assert not withdrawal.selects("d", "s", "arXiv non-exclusive licence")


def test_two_withdrawals_have_one_stage(made: DatasetFolder) -> None:
    """The funnel ends in what is there; the notes tell of both."""
    withdraw(made.path, Withdrawal(frozenset({"openstax-0"})))
    withdraw(made.path, Withdrawal(frozenset({"openstax-1"})))
    report = DatasetFolder(made.path).report
    assert [stage.stage for stage in report.funnel].count("withdrawn") == 1
    assert report.funnel[-1].count == 3
    assert sum("Withdrawn on" in note for note in report.notes) == 2


def test_what_is_not_there_and_all_of_it_are_refused(made: DatasetFolder, tmp_path: Path) -> None:
    """Nothing changes."""
    before = {path: path.read_bytes() for path in made.path.rglob("*") if path.is_file()}
    assert withdraw(made.path, Withdrawal(frozenset({"nobody"}))) == Withdrawn(0, 0, frozenset())
    nobody = CliRunner().invoke(app, ["withdraw", str(made.path), "--document", "nobody"])
    assert "there is nothing of document nobody in" in str(nobody.exception)
    with pytest.raises(InputError, match=r"would have no row left without source \*; remove the whole dataset"):
        withdraw(made.path, Withdrawal(sources=("*",)))
    with pytest.raises(InputError, match="cannot be read"):
        withdraw(tmp_path / "nowhere", Withdrawal(sources=("*",)))
    assert {path: path.read_bytes() for path in made.path.rglob("*") if path.is_file()} == before


def test_a_full_disk_leaves_all_of_the_old(made: DatasetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new folder takes the place of the old one in one step, at the end."""
    before = left(made)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("craft_hf.dataset.folder.draw_plots", full)
    with pytest.raises(StorageError):
        withdraw(made.path, Withdrawal(frozenset({"openstax-0"})))
    assert left(DatasetFolder(made.path)) == before


def test_the_command_takes_them_from_the_cache_and_the_index_too(
    made: DatasetFolder, home: Path, tmp_path: Path
) -> None:
    """It says what remains; a list of ids is read from a file; without any name it asks for one."""
    run = home / "runs" / made.report.config_id
    made.copy_to(run)
    given_index(tmp_path / "index", whole_numbers(np.random.default_rng(0), 20), 10)
    name = Index.open(tmp_path / "index").documents([3])[0].id
    (tmp_path / "ids.txt").write_text(f"openstax-0\n\n{name}\n")
    runner = CliRunner()
    arguments = ["withdraw", str(made.path), "--documents", str(tmp_path / "ids.txt")]
    first = runner.invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert first.output.count("1 rows and 0 rejects of 1 documents: ") == 2
    assert "unless they go from its index too" in first.output
    result = runner.invoke(app, [*arguments, "--index", str(tmp_path / "index")])
    assert result.exit_code == 0, result.output
    assert "0 rows and 0 rejects of 0 documents" in result.output
    assert "1 documents: the index" in result.output
    assert "super_squash_history" in result.output
    assert "openstax-0" not in [*left(DatasetFolder(made.path)), *left(DatasetFolder(run))]
    assert len(Index.open(tmp_path / "index")) == 19
    nothing = runner.invoke(app, ["withdraw", str(made.path)])
    assert isinstance(nothing.exception, InputError)


def test_columns_follow_the_fields_that_were_changed(
    made: DatasetFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A report elsewhere tells of it, one in the folder mends it, and until then nothing is published."""
    report = dataclasses.replace(made.report, identity={"task": load_task("bioqa").fingerprint})
    made.write_report(report, made.rows, made.rejects)
    rows = [{**row, "question": "What was here before?"} for row in made.rows]
    made.write_data(rows, task_features(load_task("bioqa")), list(made.rejects))
    with pytest.raises(InputError, match="prompt of row 1 does not say what the row says, which was changed; run"):
        write_repository(made.path, tmp_path / "repository")
    with caplog.at_level(logging.WARNING, logger="craft_hf"):
        rebuild_report(made.path, tmp_path / "report")
    assert f"{len(rows)} rows were changed" in caplog.text
    assert {row["question"] for row in made.rows} == {"What was here before?"}
    rebuild_report(made.path, made.path)
    assert all("What was here before?" in row["prompt"][0]["content"] for row in made.rows)  # type: ignore[index,call-overload,operator]
    assert len({row["sample_id"] for row in made.rows}) == len(rows)
    write_repository(made.path, tmp_path / "repository")
