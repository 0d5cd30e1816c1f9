"""The folder of a dataset: read in however many files; another format is refused, and can be replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import CraftError, InputError, StorageError
from craft_hf.cli.main import app
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.layout import PARQUET
from craft_hf.dataset.previous import fingerprint_previous, read_previous_samples
from craft_hf.dataset.rebuild import rebuild_report
from craft_hf.dataset.rows import is_few_shot
from craft_hf.dataset.training_rows import DataArguments, load_rows
from craft_hf.publishing.dataset import dataset_repository
from craft_hf.review.source import open_review_store
from craft_hf.tasks.task import Task, load_task
from tests.publishable_folders import write_run

RUNNER = CliRunner()


@pytest.fixture
def task() -> Task:
    """The task of the dataset."""
    return load_task("bioqa")


@pytest.fixture
def dataset(tmp_path: Path, task: Task) -> DatasetFolder:
    """A dataset of nine generated rows, beside the few-shots."""
    return DatasetFolder(write_run(tmp_path / "dataset", 9, task))


def in_parts(dataset: DatasetFolder, count: int) -> None:
    """Write the rows of a dataset into several files, as datasets and the Hub do, and what macOS puts beside them."""
    from datasets import Dataset

    data = dataset.path / "data"
    rows = Dataset.from_parquet(str(data / PARQUET))
    (data / PARQUET).unlink()
    for i in range(count):
        rows.shard(count, i).to_parquet(data / f"train-{i:05d}-of-{count:05d}.parquet")
    (data / f"._train-00000-of-{count:05d}.parquet").write_bytes(b"\0\5\x16\7")


@pytest.mark.slow
def test_rows_of_several_files_are_read_everywhere(
    dataset: DatasetFolder, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows in three files are the same to all that read a dataset."""
    rows, report = list(dataset.rows), dataset.report
    samples = read_previous_samples([str(dataset.path)], task)
    in_parts(dataset, 3)
    assert len(dataset.rows.files) == len(fingerprint_previous([str(dataset.path)])) == 3
    assert list(dataset.rows) == rows
    assert read_previous_samples([str(dataset.path)], task) == samples
    assert len(samples) == 9
    assert load_rows(DataArguments(dataset=str(dataset.path)), task).to_list() == rows
    monkeypatch.setattr("craft_hf.dataset.rebuild._vectors", lambda *_: None)
    assert rebuild_report(dataset.path, tmp_path / "report").rows == report.rows
    with open_review_store(str(dataset.path))[0] as reviews:
        assert reviews.count() == 9
    (tmp_path / "work").mkdir()
    files = dataset_repository(dataset.path, "ann/rows", tmp_path / "work", "no").files
    assert [name for name in files if name.startswith("data/")] == [f"data/{PARQUET}"]


def test_few_shots_stand_before_the_generated_rows(dataset: DatasetFolder, task: Task) -> None:
    """Who wrote a row is told by one function, for rows of any origin."""
    shots = len(task.few_shots)
    assert [is_few_shot(row) for row in dataset.rows] == [True] * shots + [False] * 9
    assert not is_few_shot({"question": "from elsewhere"})


def test_rejects_and_settings_may_be_missing(dataset: DatasetFolder) -> None:
    """A dataset from the Hub without rejects has none; a folder without rows is no dataset, and is named."""
    assert [reject["reason"] for reject in dataset.rejects] == ["no JSON"]
    (dataset.path / "rejected" / PARQUET).unlink()
    assert len(dataset.rejects) == 0
    with pytest.raises(InputError, match=r"run\.yaml cannot be read"):
        str(dataset.run_yaml)
    (dataset.path / "run.yaml").write_text("task: bioqa\n")
    assert dataset.run_yaml == "task: bioqa\n"
    for part in ("rows", "rejects"):
        with pytest.raises(InputError, match=r"nowhere holds no data/\*\.parquet; give a folder that"):
            getattr(DatasetFolder(dataset.path / "nowhere"), part)


@pytest.mark.parametrize(("found", "said"), [(None, "has no format"), (7, "has format 7"), ("2", "has format '2'")])
def test_another_format_is_refused_in_one_line(dataset: DatasetFolder, task: Task, found: object, said: str) -> None:
    """Whoever reads a dataset of another version says what was found, what is read, and what to do."""
    path = dataset.path / "report.json"
    report = json.loads(path.read_text())
    assert report.pop("format") == 2
    path.write_text(json.dumps(report if found is None else {"format": found, **report}))
    other = DatasetFolder(dataset.path)
    readers = {
        "report": lambda: other.report,
        "rows": lambda: other.rows,
        "rejects": lambda: other.rejects,
        "earlier": lambda: read_previous_samples([str(other.path)], task),
        "rebuild": lambda: rebuild_report(other.path, other.path),
        "training": lambda: load_rows(DataArguments(dataset=str(other.path)), task),
        "review": lambda: open_review_store(str(other.path)),
        "publishing": lambda: dataset_repository(other.path, "ann/rows", other.path, "no"),
    }
    for name, read in readers.items():
        with pytest.raises(InputError) as error:
            read()
        words = f"{path} {said}, but this craft_hf reads format 2; run the same `craft-hf generate` again: the answers"
        assert str(error.value).startswith(words), name
        assert "\n" not in str(error.value)
    assert not other.is_complete
    result = RUNNER.invoke(app, ["rejected", str(other.path)])
    assert isinstance(result.exception, CraftError)


@pytest.mark.weights
def test_generate_takes_the_place_of_a_dataset_of_another_format(home: Path, tmp_path: Path) -> None:
    """What the refusal advises works: the run is done again, in the cache and in the folder that it is copied to."""
    out = tmp_path / "out"
    command = ["generate", "bioqa", "--size", "XS", "--out", str(out)]
    assert RUNNER.invoke(app, command).exit_code == 0
    (cached,) = (home / "runs").glob("bioqa-*/report.json")
    for path in (cached, out / "report.json"):
        path.write_text(path.read_text().replace('"format": 1,', '"format": 0,', 1))
    (out / ".report.md.5e1f.incomplete").touch()  # as a killed `craft-hf report` leaves it
    assert RUNNER.invoke(app, command).exit_code == 0
    assert DatasetFolder(out).is_complete
    assert "task: bioqa" in DatasetFolder(out).run_yaml
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "out"]


def test_what_is_no_dataset_is_not_replaced(dataset: DatasetFolder, tmp_path: Path) -> None:
    """A place can be taken that is free, empty, or a dataset; not a file, a link, or a folder with something else."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(dataset.path)
    for place in (tmp_path / "far" / "free", tmp_path / "empty", dataset.path):
        DatasetFolder(place).check_replaceable()
    (dataset.path / "thesis.txt").touch()
    for place in (dataset.path, tmp_path / "file", tmp_path / "link", tmp_path):
        with pytest.raises(CraftError, match="exists and is no dataset of craft_hf alone"):
            DatasetFolder(place).check_replaceable()
    with pytest.raises(StorageError, match="cannot be written"):
        DatasetFolder(tmp_path / "file" / "below").check_replaceable()


def test_copy_is_whole(dataset: DatasetFolder, tmp_path: Path) -> None:
    """A copy has all that the folder has, takes the place of an older one, and leaves nothing beside it."""
    out = tmp_path / "out"
    for _ in range(2):
        dataset.copy_to(out)
    names = [sorted(str(path.relative_to(place)) for path in place.rglob("*")) for place in (dataset.path, out)]
    assert names[0] == names[1]
    assert {"README.md", "assets/funnel.png", f"data/{PARQUET}", "report.html"} < set(names[1])
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"The run is safe; make room"):
        dataset.copy_to(tmp_path / "file" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "file", "out"]
