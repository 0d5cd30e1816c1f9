"""A report made anew: of the rows that are there now, with what only the run knew."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import CraftError, InputError
from craft_hf.base.models import cache_folder
from craft_hf.cli.main import app
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.layout import PARQUET
from craft_hf.dataset.rebuild import rebuild_report
from craft_hf.run.resolution import resolve
from craft_hf.run.runs import ensure_run
from craft_hf.run.settings import RunSettings
from craft_hf.tasks.task import FOLDER
from tests.openai_server import serving
from tests.writer_server import WriterServer

pytestmark = [pytest.mark.weights, pytest.mark.slow]

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a run of six rows over the sample corpus, of which a third of the answers are broken."""
    writer = WriterServer(bad_every=3)
    with serving(writer), pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        (cache_folder() / "indexes").mkdir(parents=True, exist_ok=True)
        (home / "indexes").symlink_to(cache_folder() / "indexes")
        patch.setenv("CRAFT_HF_HOME", str(home))
        yield ensure_run(resolve(RunSettings("bioqa", generator=writer.url, num_samples=6)))


@pytest.fixture
def dataset(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def change(path: Path, keep: Callable[[pyarrow.Table], pyarrow.Table]) -> None:
    """Write a Parquet file anew with what `keep` gives of its table."""
    pyarrow.parquet.write_table(keep(pyarrow.parquet.read_table(path)), path)


def test_run_measures_its_diversity(made: Path) -> None:
    """A run's report has the figures, both plots and the page; its card has the figures."""
    diversity = DatasetFolder(made).report.diversity
    assert diversity["rows"] == diversity["embedded"] == diversity["self_bleu_rows"] == 6
    assert 0 < float(str(diversity["self_bleu"])) < 1
    assert "## How varied the rows are\n\n| of 6 rows | |" in (made / "report.md").read_text()
    assert "| self-BLEU of 6 rows, 0 to 1 | 0." in (made / "README.md").read_text()
    for name in ("report.html", "assets/nearest.svg", "assets/map.png"):
        assert (made / name).is_file()


def test_nothing_changed_gives_the_same_report(made: Path, tmp_path: Path) -> None:
    """Of the same rows all is the same, but what vectors tell, which is nearly so: these are made anew."""
    before, after = DatasetFolder(made).report, rebuild_report(made, tmp_path / "out")
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    pages = {"report.html", "report.json", "report.md"}
    of_vectors = {f"assets/{name}.{kind}" for name in ("map", "nearest") for kind in ("png", "svg")}
    assert pages | of_vectors < names
    for name in names - pages - of_vectors:
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes(), name
    measured = ("nearest_row", "nearest_few_shot", "map_variance")
    for name in measured[:2]:
        assert after.diversity[name] == pytest.approx(before.diversity[name], abs=0.05)
    rest = [{k: v for k, v in report.diversity.items() if k not in measured} for report in (before, after)]
    assert rest[0] == rest[1]
    assert dataclasses.replace(after, diversity=before.diversity) == before


def test_command_reports_the_rows_that_are_there_now(dataset: Path) -> None:
    """Rows taken out are counted no more and the gap is said once; what the run knew stays; paths are printed."""
    before = DatasetFolder(dataset).report
    change(dataset / "data" / PARQUET, lambda table: table.slice(0, table.num_rows - 2))
    change(dataset / "rejected" / PARQUET, lambda table: table.slice(0, 1))
    for _ in range(2):
        result = RUNNER.invoke(app, ["report", str(dataset)])
        assert result.exit_code == 0, result.output
    assert "4 rows made by the model, 32 few-shots" in result.output
    assert f"{dataset}/report.html" in result.output
    after = DatasetFolder(dataset).report
    assert after.rows == {"rows": 36, "few_shots": 32, "generated": 4, "rejected": 1}
    assert after.notes == [*before.notes, "The last stage, kept, counts 6, but the dataset has 4 generated rows."]
    assert (after.usage, after.coverage, after.created) == (before.usage, before.coverage, before.created)
    assert after.diversity["rows"] == 4
    assert after.few_shot_use.keys() == before.few_shot_use.keys()


def test_few_shots_alone_and_one_row_are_reported(dataset: Path) -> None:
    """Without a generated row there is no such section; of one row, what takes two is said not to be measured."""
    whole = pyarrow.parquet.read_table(dataset / "data" / PARQUET)
    pyarrow.parquet.write_table(whole.slice(0, 33), dataset / "data" / PARQUET)
    assert rebuild_report(dataset, dataset).diversity["nearest_row"] == {}
    page = (dataset / "report.md").read_text()
    assert "| self-BLEU | not measured |" in page
    assert "| the nearest other row | not measured | not measured | not measured | not measured |" in page
    pyarrow.parquet.write_table(whole.slice(0, 32), dataset / "data" / PARQUET)
    assert rebuild_report(dataset, dataset).diversity == {}
    assert "How varied" not in (dataset / "report.md").read_text()


def test_index_model_that_is_not_there_is_said(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the index's embedding model the texts are measured, the similarities are not, and a warning says why."""
    report = json.loads((dataset / "report.json").read_text())
    report["index"]["embedding_model"] = "nobody/nothing"
    (dataset / "report.json").write_text(json.dumps(report))
    with caplog.at_level(logging.WARNING, logger="craft_hf"):
        diversity = rebuild_report(dataset, dataset / "out").diversity
    assert "'nobody/nothing' is neither a model folder nor a Hub model" in caplog.text
    assert (diversity["embedded"], diversity["nearest_row"], diversity["map_variance"]) == (0, {}, None)
    assert diversity["self_bleu"] is not None
    assert not (dataset / "out" / "assets" / "map.png").exists()


def test_own_task_is_given_by_its_folder(dataset: Path, tmp_path: Path) -> None:
    """A task that craft_hf does not ship is asked for, taken from its folder, and refused if it is another one."""
    report = json.loads((dataset / "report.json").read_text())
    (dataset / "report.json").write_text(json.dumps({**report, "task": "mine"}))
    with pytest.raises(InputError, match=r"there is no task 'mine'.*give its folder with --task"):
        rebuild_report(dataset, dataset)
    with pytest.raises(InputError, match="is of the task 'mine', but --task bioqa is 'bioqa'"):
        rebuild_report(dataset, dataset, "bioqa")
    own = Path(shutil.copytree(FOLDER / "bioqa", tmp_path / "mine"))
    (own / "task.yaml").write_text((own / "task.yaml").read_text().replace("name: bioqa", "name: mine"))
    assert rebuild_report(dataset, dataset, str(own)).task == "mine"


def test_what_is_no_dataset_is_refused(dataset: Path, tmp_path: Path) -> None:
    """A missing folder, a folder without a report, a broken Parquet file and foreign columns are named."""
    for folder in (tmp_path / "nowhere", tmp_path):
        result = RUNNER.invoke(app, ["report", str(folder)])
        assert isinstance(result.exception, CraftError)
        assert "report.json cannot be read" in str(result.exception)
    change(dataset / "data" / PARQUET, lambda table: table.drop_columns(["options"]))
    with pytest.raises(InputError, match="has no column 'options', which the task bioqa asks for"):
        rebuild_report(dataset, dataset)
    (dataset / "data" / PARQUET).write_bytes(b"PAR1 cut")
    with pytest.raises(InputError, match=r"train-00000-of-00001\.parquet cannot be read as Parquet"):
        rebuild_report(dataset, dataset)
    shutil.rmtree(dataset / "data")
    with pytest.raises(InputError, match="holds no data/"):
        rebuild_report(dataset, dataset)
