"""The scaling study: points, nested rows, reuse of trained points, and the written results."""

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
from craft_hf.training.scaling import FEW_SHOTS, NO_TRAINING, Point, Study, evaluate_points, train_points
from craft_hf.training.scaling_results import plot_study, study_json, study_markdown, write_study
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


def test_datasets_share_the_points_without_generated_rows(task: Task, tmp_path: Path) -> None:
    """There is one point without training, one per seed for the few-shots, and one per size, dataset and seed."""
    points = study_of(task, tmp_path, datasets={"a": "x", "b": "y"}, sizes=["S", "XS", "40", "0"]).points()
    assert points == [
        Point(NO_TRAINING, "0", 0, 1),
        *(Point(FEW_SHOTS, "XS", 32, seed) for seed in (1, 2)),
        *(Point(name, "40", 40, seed) for name in "ab" for seed in (1, 2)),
        *(Point(name, "S", 100, seed) for name in "ab" for seed in (1, 2)),
    ]
    assert len({point.name for point in points}) == len(points)


@pytest.mark.parametrize("size", ["XXL", "-1", "7", "1.5", ""])
def test_unknown_sizes_are_refused(task: Task, tmp_path: Path, size: str) -> None:
    """The error says what a size can be; numbers below that of the few-shots are refused too."""
    with pytest.raises(InputError, match="expected 0, XS, S, M, L, XL, or a number greater than the 32 few-shots"):
        study_of(task, tmp_path, sizes=[size]).points()


def test_a_dataset_that_is_too_small_is_refused_before_training(task: Task, tmp_path: Path, rows: str) -> None:
    """The error names the dataset, its rows and the rows needed, and nothing is trained."""
    study = study_of(task, tmp_path / "out", datasets={"craft": rows}, sizes=["40", "S"])
    with pytest.raises(
        InputError, match="dataset craft has 42 rows, including few-shots, but the largest size needs 100"
    ):
        train_points(study)
    assert not (tmp_path / "out").exists()


def test_a_failed_training_ends_the_study_with_its_last_line(task: Task, tmp_path: Path, rows: str) -> None:
    """The message has the command, its exit code and the last line of its output; the log has the rest."""
    (tmp_path / "recipe.py").write_text("print('first')\nraise SystemExit('no room left')")
    study = study_of(task, tmp_path / "out", datasets={"craft": rows}, sizes=["40"], recipe=tmp_path / "recipe.py")
    with pytest.raises(CraftError, match=r"recipe\.py .* exited with code 1: no room left"):
        train_points(study)
    assert (tmp_path / "out" / "points" / "craft-40-1" / "training.log").read_text().startswith("first")


@pytest.mark.long
def test_a_study_trains_evaluates_and_reuses_points(task: Task, tmp_path: Path, rows: str) -> None:
    """The command on a tiny model writes each point, table and figure; a second run reuses all of them."""
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
    found = evaluate_points(study, read_items(tmp_path / "questions.jsonl", task), ("letter", "option_text"))
    write_study(found, out)
    assert (out / "scaling.json").read_text() == first
    assert {p: p.stat().st_mtime_ns for p in out.rglob("adapter_model.safetensors")} == times
    with pytest.raises(InputError, match="trained on other rows or with other settings"):
        train_points(study_of(task, out, datasets={"craft": rows}, sizes=["40"], seeds=[1], model=model))


def found(task: Task) -> list[tuple[Point, Results]]:
    """Return invented results of two datasets on eight items."""
    right = {Point(NO_TRAINING, "0", 0, 1): 2, Point(FEW_SHOTS, "XS", 32, 1): 3, Point(FEW_SHOTS, "XS", 32, 2): 4,
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
    """Each dataset and size has a row with mean, minimum and maximum over seeds; a single seed has its interval."""
    table = study_markdown(found(task))
    assert "| craft | S | 100 | 2 | 0.750 (0.625 to 0.875) | 0.925 (" in table
    assert "| no training | 0 | 0 | 1 | 0.250 (0.071 to 0.591) | 0.975 (" in table  # a single seed: interval over items


def test_differences_are_paired_over_items_by_means_over_seeds(task: Task) -> None:
    """Each size is compared with no training, the few-shots and the first dataset, by each item's mean over seeds."""
    pairs = {
        (d["of"], d["against"]): d
        for d in json.loads(study_json(found(task)))["differences"]
        if d["measure"] == "letter"
    }
    assert set(pairs) == {
        (FEW_SHOTS, NO_TRAINING),
        ("craft, S", NO_TRAINING), ("craft, S", FEW_SHOTS),
        ("random, S", NO_TRAINING), ("random, S", FEW_SHOTS), ("random, S", "craft, S"),
    }  # fmt: skip
    assert pairs["craft, S", NO_TRAINING]["value"] == pytest.approx(0.5)
    assert pairs["random, S", "craft, S"]["value"] == pytest.approx(-0.25)
    assert pairs["random, S", "craft, S"]["low"] < -0.25 < pairs["random, S", "craft, S"]["high"]


def test_the_figure_has_a_line_for_each_dataset(task: Task) -> None:
    """All lines start with the shared points, and the chance level is plotted where there is one."""
    axes = plot_study(found(task)).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["letter (higher is better)", "bits (lower is better)"]
    lines = [[list(bars.lines[0].get_xdata()) for bars in ax.containers] for ax in axes]
    assert lines == [[[0, 32, 100]] * 2] * 2
    assert [list(ax.get_lines()[-1].get_ydata()) for ax in axes[:1]] == [[0.25, 0.25]]
