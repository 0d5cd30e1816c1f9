"""Scaling study: adapters trained on datasets of several sizes and seeds, and their scores.

A point is a dataset, a size and a seed. Points are trained one after the other, each by the task's recipe in its own
process, and evaluated together at the end. Existing adapters and results are reused.
"""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.base import JSON, Bar, CraftError, InputError, fingerprint, write_file
from craft_hf.dataset import FEW_SHOT_COLUMN, DataArguments, few_shot_rows, is_few_shot, load_rows
from craft_hf.evaluation import EvaluatedModel, Item, Results, evaluate, read_results, to_json
from craft_hf.run import SIZES
from craft_hf.tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset

NO_TRAINING, FEW_SHOTS = "no training", "few-shots"
"""Dataset names of points without generated rows, which all datasets share."""


@dataclass(frozen=True)
class Point:
    """One training run of the study. `rows` includes the few-shots; 0 means the base model without training."""

    dataset: str
    size: str
    rows: int
    seed: int

    @property
    def name(self) -> str:
        """The name of the point's folder."""
        return f"{self.dataset}-{self.size}-{self.seed}".replace(" ", "-")


@dataclass(frozen=True)
class Study:
    """The settings of a scaling study.

    Args:
        task: the task; its few-shots are part of each dataset.
        datasets: folders or Hub ids, as recipes accept them, by name; the others are compared with the first.
        sizes: "0" (no training), "XS" (the few-shots alone), "S", "M", "L", "XL", or numbers of rows including the
            few-shots.
        seeds: training seeds; each dataset and size is trained once per seed.
        model: base model: "embedded", a Hub id or a folder.
        recipe: path of the training script.
        arguments: further arguments of the recipe.
        launch: command that runs the recipe, such as ("accelerate", "launch"); Python by default.
        out: folder of the study.
    """

    task: Task
    datasets: dict[str, str]
    sizes: Sequence[str]
    seeds: Sequence[int]
    model: str
    recipe: Path
    out: Path
    arguments: Sequence[str] = ()
    launch: Sequence[str] = (sys.executable,)

    def points(self) -> list[Point]:
        """Return the points of the study, smallest first.

        Raises:
            InputError: a size is unknown.
        """
        shots, found = len(self.task.few_shots), dict[Point, None]()
        for size in self.sizes:
            rows = _rows(size, shots)
            for name in self.datasets:
                dataset = NO_TRAINING if rows == 0 else FEW_SHOTS if rows == shots else name
                for seed in self.seeds if rows else self.seeds[:1]:
                    found[Point(dataset, size, rows, seed)] = None
        return sorted(found, key=lambda point: point.rows)


def train_points(study: Study) -> None:
    """Train every point that has no adapter yet; interrupted ones resume from their checkpoint.

    Raises:
        InputError: a dataset is too small, or `out` contains points of another study.
        CraftError: a training run failed; its output is in the point's folder.
    """
    points = [point for point in study.points() if point.rows]
    tables = {name: load_rows(DataArguments(dataset=place), study.task) for name, place in study.datasets.items()}
    for name, table in tables.items():
        most = max((p.rows for p in points if p.dataset == name), default=0)
        have = len(study.task.few_shots) + len(_generated(table))
        if have < most:
            raise InputError(
                f"the dataset {name} has {have} rows, including few-shots, but the largest size needs {most}; leave "
                "out that size, or generate more rows."
            )
    with Bar("Training", len(points), "points") as bar:
        for point in points:
            table = tables.get(point.dataset, next(iter(tables.values())))
            _train(study, point, _first_rows(table, study.task, point.rows))
            bar.update()


def evaluate_points(
    study: Study, items: Sequence[Item], measures: Sequence[str] | None = None, data: str = "", batch_size: int = 16
) -> list[tuple[Point, Results]]:
    """Evaluate every point on the same items and return the results, in the order of `Study.points`.

    Args:
        study: with all adapters trained.
        items: of the task; two or more.
        measures: see `measures_for`.
        data: name of the data, recorded in the results.
        batch_size: most items in a batch.

    Raises:
        InputError: see `evaluate`.
    """
    request = fingerprint([[asdict(item) for item in items], list(measures or ())])
    model, found = None, []
    for point in study.points():
        folder = study.out / "points" / point.name
        path = folder / f"results-{request}.json"
        if not path.is_file():
            model = model or EvaluatedModel(study.model)
            model.set_adapter(folder / "adapter" if point.rows else None)
            print(f"evaluating {point.name}", flush=True)
            results = evaluate(model, study.task, items, measures=measures, data=data, batch_size=batch_size)
            folder.mkdir(parents=True, exist_ok=True)
            write_file(path, to_json([results]).encode() + b"\n")
        found.append((point, read_results(path)[0]))
    return found


def _train(study: Study, point: Point, rows: Dataset) -> None:
    """Train one point by the recipe, in its own process."""
    folder = study.out / "points" / point.name
    training: dict[str, JSON] = {
        "rows": fingerprint([study.task.sample(row) for row in rows]),
        "model": study.model,
        "arguments": list(study.arguments),
    }
    marker = folder / "point.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) != training:
        raise InputError(
            f"{folder} was trained on other rows or with other settings; give another --out, or delete it."
        )
    if (folder / "adapter").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_file(marker, json.dumps(training).encode())
    rows.save_to_disk(str(folder / "rows"))
    command = [
        *study.launch, str(study.recipe), *study.arguments, "--model_name_or_path", study.model,
        "--dataset", str(folder / "rows"), "--output_dir", str(folder), "--seed", str(point.seed),
    ]  # fmt: skip
    command += ["--few_shots_only", "true"] if point.dataset == FEW_SHOTS else []
    command += ["--resume_from_checkpoint", "true"] if any(folder.glob("checkpoint-*")) else []
    with (folder / "training.log").open("w", encoding="utf-8") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if code:
        last = (folder / "training.log").read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise CraftError(f"`{shlex.join(command)}` exited with code {code}: {' '.join(last)}")
    for leftover in (folder / "rows", *folder.glob("checkpoint-*")):
        shutil.rmtree(leftover)


def _rows(size: str, few_shots: int) -> int:
    """Return the number of rows of a size, including the few-shots."""
    if size == "XS":
        return few_shots
    if size in SIZES:
        return SIZES[size]
    if not size.isdecimal() or 0 < int(size) <= few_shots:
        raise InputError(
            f"size is {size!r}, expected 0, {', '.join(SIZES)}, or a number greater than the {few_shots} few-shots."
        )
    return int(size)


def _generated(table: Dataset) -> Dataset:
    return table.filter(lambda row: not is_few_shot(row))


def _first_rows(table: Dataset, task: Task, count: int) -> Dataset:
    """Return the few-shots and the first generated rows, which are those of a run for fewer samples."""
    from datasets import Dataset

    names = [*task.fields, FEW_SHOT_COLUMN]
    rows = itertools.chain(few_shot_rows(task), _generated(table))
    return Dataset.from_list([{name: row.get(name) for name in names} for row in itertools.islice(rows, count)])
