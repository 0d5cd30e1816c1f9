"""The scaling study: points, nested rows, trainings that are not repeated, and what is written of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from craft_hf.base.errors import CraftError, InputError
from craft_hf.evaluation.items import read_items
from craft_hf.evaluation.results import Results
from craft_hf.evaluation.statistics import summarize
from craft_hf.tasks.task import Task, load_task
from craft_hf.training.scaling import FEW_SHOTS, NOTHING, Point, Study, measure_points, train_points
from craft_hf.training.scaling_results import as_json, as_markdown, draw, write_study
from tests import ROOT
from tests.tiny_model import save_tiny_model

GENERATED = 10
FAST = ["--max_steps", "2", "--use_cpu", "--max_length", "512", "--lora_r", "4", "--learning_rate", "1e-2"]


@pytest.fixture(scope="module")
def task() -> Task:
    """The task whose few-shots make the datasets here."""
    return load_task("bioqa")


@pytest.fixture(scope="module")
def rows(task: Task, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a dataset: the task's few-shots, and ten other rows."""
    shots = [{**shot.sample, "is_few_shot": True} for shot in task.few_shots]
    made = [{**shots[n], "question": f"Question {n}, which is it?", "is_few_shot": False} for n in range(GENERATED)]
    folder = str(tmp_path_factory.mktemp("data") / "rows")
    datasets.Dataset.from_list([*shots, *made]).save_to_disk(folder)
    return folder


def study_of(task: Task, out: Path, **changes: object) -> Study:
    """A study of one dataset."""
    values = {
        "task": task, "datasets": {"craft": "none"}, "sizes": ["0", "XS", "40"], "seeds": [1, 2], "model": "none",
        "recipe": ROOT / "recipes" / "bioqa.py", "out": out, "arguments": FAST,
    }  # fmt: skip
    return Study(**{**values, **changes})  # type: ignore[arg-type]


def test_points_share_what_no_dataset_has_a_part_in(task: Task, tmp_path: Path) -> None:
    """No training is one point, the few-shots one a seed, and each size one a dataset and seed; smallest first."""
    points = study_of(task, tmp_path, datasets={"a": "x", "b": "y"}, sizes=["S", "XS", "40", "0"]).points()
    assert points == [
        Point(NOTHING, "0", 0, 1),
        *(Point(FEW_SHOTS, "XS", 32, seed) for seed in (1, 2)),
        *(Point(name, "40", 40, seed) for name in "ab" for seed in (1, 2)),
        *(Point(name, "S", 100, seed) for name in "ab" for seed in (1, 2)),
    ]
    assert len({point.name for point in points}) == len(points)


@pytest.mark.parametrize("size", ["XXL", "-1", "7", "1.5", ""])
def test_sizes_that_are_none_are_refused(task: Task, tmp_path: Path, size: str) -> None:
    """What is no size, or less than the few-shots, is named with what is expected."""
    with pytest.raises(InputError, match="expected 0, XS, S, M, L, XL, or a number above the 32 few-shots"):
        study_of(task, tmp_path, sizes=[size]).points()


def test_a_dataset_that_is_too_small_is_refused_before_training(task: Task, tmp_path: Path, rows: str) -> None:
    """The name, what it has and what a point needs are said, and nothing is trained."""
    study = study_of(task, tmp_path / "out", datasets={"craft": rows}, sizes=["40", "S"])
    with pytest.raises(InputError, match="dataset craft has 42 rows, few-shots included, but a point needs 100"):
        train_points(study)
    assert not (tmp_path / "out").exists()


def test_a_training_that_fails_ends_the_study_with_its_last_line(task: Task, tmp_path: Path, rows: str) -> None:
    """The command, its code and the end of its output are in the message; the rest is in the log."""
    (tmp_path / "recipe.py").write_text("print('first')\nraise SystemExit('no room left')")
    study = study_of(task, tmp_path / "out", datasets={"craft": rows}, sizes=["40"], recipe=tmp_path / "recipe.py")
    with pytest.raises(CraftError, match=r"recipe\.py .* ended with code 1: no room left"):
        train_points(study)
    assert (tmp_path / "out" / "points" / "craft-40-1" / "training.log").read_text().startswith("first")


@pytest.mark.slow
def test_a_study_trains_measures_and_repeats_nothing(task: Task, tmp_path: Path, rows: str) -> None:
    """The command on a tiny model: every point once, table and figure; again, in no time, and with the same figures."""
    model = str(save_tiny_model(tmp_path / "tiny"))
    questions = [{**shot.sample, "id": shot.id} for shot in task.few_shots[:6]]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    out = tmp_path / "study"
    command = [sys.executable, str(ROOT / "recipes" / "scaling.py"), "bioqa", "--dataset", f"craft={rows}"]
    command += ["--data", str(tmp_path / "questions.jsonl"), "--out", str(out), "--model", model]
    command += ["--sizes", "0,40", "--seeds", "1"]
    done = subprocess.run([*command, "--", *FAST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in out.glob("scaling.*")} == {"scaling.md", "scaling.json", "scaling.png", "scaling.svg"}
    assert {p.name for p in (out / "points").iterdir()} == {"no-training-0-1", "craft-40-1"}
    trained = out / "points" / "craft-40-1"
    assert {p.name for p in trained.iterdir() if p.is_dir()} == {"adapter"}
    used = (trained / "adapter" / "README.md").read_text()
    assert "| given | 40 |" in used
    assert "| of these, few-shots | 32 |" in used
    first = (out / "scaling.json").read_text()
    times = {p: p.stat().st_mtime_ns for p in out.rglob("adapter_model.safetensors")}
    study = study_of(task, out, datasets={"craft": rows}, sizes=["0", "40"], seeds=[1], model=model,
                     arguments=["--task", "bioqa", *FAST])  # fmt: skip
    train_points(study)
    found = measure_points(study, read_items(tmp_path / "questions.jsonl", task), ("letter", "option_text"))
    write_study(found, out)
    assert (out / "scaling.json").read_text() == first
    assert {p: p.stat().st_mtime_ns for p in out.rglob("adapter_model.safetensors")} == times
    with pytest.raises(InputError, match="trained on other rows, or otherwise"):
        train_points(study_of(task, out, datasets={"craft": rows}, sizes=["40"], seeds=[1], model=model))


def found(task: Task) -> list[tuple[Point, Results]]:
    """Made-up results of two datasets: eight items, of which each point gets so many right."""
    right = {Point(NOTHING, "0", 0, 1): 2, Point(FEW_SHOTS, "XS", 32, 1): 3, Point(FEW_SHOTS, "XS", 32, 2): 4,
             Point("craft", "S", 100, 1): 7, Point("craft", "S", 100, 2): 5, Point("random", "S", 100, 1): 4,
             Point("random", "S", 100, 2): 4}  # fmt: skip
    ids = [str(n) for n in range(8)]
    results = []
    for point, count in right.items():
        values = [float(n < count) for n in range(8)]
        scores = (
            summarize("letter", "right", ids, values, chance=0.25),
            summarize("bits", "bits", ids, [1 - 0.1 * v for v in values], weights=[3.0] * 8, higher_is_better=False),
        )
        results.append((point, Results("m", task.name, "q.jsonl", "h", {"model": "m"}, scores)))
    return results


def test_the_table_has_means_over_seeds_and_their_spread(task: Task) -> None:
    """A line for each dataset and size; the seeds' least and greatest in brackets, of one seed its interval."""
    table = as_markdown(found(task))
    assert "| craft | S | 100 | 2 | 0.750 (0.625 to 0.875) | 0.925 (" in table
    assert "| no training | 0 | 0 | 1 | 0.250 (0.071 to 0.591) | 0.975 (" in table  # of one seed: its interval


def test_differences_are_those_of_items_over_seeds(task: Task) -> None:
    """Each size against no training, the few-shots, and the first dataset; by the means of the seeds."""
    pairs = {
        (d["of"], d["against"]): d for d in json.loads(as_json(found(task)))["differences"] if d["measure"] == "letter"
    }
    assert set(pairs) == {
        (FEW_SHOTS, NOTHING),
        ("craft, S", NOTHING), ("craft, S", FEW_SHOTS),
        ("random, S", NOTHING), ("random, S", FEW_SHOTS), ("random, S", "craft, S"),
    }  # fmt: skip
    assert pairs["craft, S", NOTHING]["value"] == pytest.approx(0.5)
    assert pairs["random, S", "craft, S"]["value"] == pytest.approx(-0.25)
    assert pairs["random, S", "craft, S"]["low"] < -0.25 < pairs["random, S", "craft, S"]["high"]


def test_the_figure_has_a_line_for_each_dataset(task: Task) -> None:
    """All lines begin with the points that the datasets share; chance is drawn where there is one."""
    axes = draw(found(task)).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["letter (more is better)", "bits (less is better)"]
    lines = [[list(bars.lines[0].get_xdata()) for bars in ax.containers] for ax in axes]
    assert lines == [[[0, 32, 100]] * 2] * 2
    assert [list(ax.get_lines()[-1].get_ydata()) for ax in axes[:1]] == [[0.25, 0.25]]
