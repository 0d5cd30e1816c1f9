"""How a model gains from data: datasets come in, adapters of several sizes and seeds, with their scores, go out.

A point is a dataset, a size and a seed. Points are trained one after the other, each by the task's recipe in a process
of its own, and measured together at the end; what is there already is not done again.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.base import JSON, CraftError, InputError, fingerprint
from craft_hf.dataset import DataArguments, load_rows
from craft_hf.evaluation import EvaluatedModel, Item, Results, evaluate, read_results, to_json
from craft_hf.run import SIZES
from craft_hf.tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset

NOTHING, FEW_SHOTS = "no training", "few-shots"
"""What stands in place of a dataset's name where a point has none of its rows: all datasets share these."""


@dataclass(frozen=True)
class Point:
    """One training of the study: `rows` in all, few-shots included; 0 is the model as it is."""

    dataset: str
    size: str
    rows: int
    seed: int

    @property
    def name(self) -> str:
        """The folder of the point."""
        return f"{self.dataset}-{self.size}-{self.seed}".replace(" ", "-")


@dataclass(frozen=True)
class Study:
    """What is compared.

    Args:
        task: what is trained; its few-shots are those of the datasets.
        datasets: folders or Hub ids by name, as recipes take them; the first is what others are compared with.
        sizes: 0 (no training), XS (the few-shots alone), S, M, L, XL, or numbers of rows in all, few-shots included.
        seeds: of training; each point is trained once with each.
        model: "embedded", a Hub id or a folder.
        recipe: the script that trains.
        arguments: more arguments of the recipe.
        launch: what stands before the recipe, such as ("accelerate", "launch"); Python by default.
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
        """Return what is to be trained and measured, smallest first.

        Raises:
            InputError: a size is unknown.
        """
        shots, found = len(self.task.few_shots), dict[Point, None]()
        for size in self.sizes:
            rows = _rows(size, shots)
            for name in self.datasets:
                owner = NOTHING if rows == 0 else FEW_SHOTS if rows == shots else name
                for seed in self.seeds if rows else self.seeds[:1]:
                    found[Point(owner, size, rows, seed)] = None
        return sorted(found, key=lambda point: point.rows)


def train_points(study: Study) -> None:
    """Train every point that has no adapter yet; one that was stopped goes on from its checkpoint.

    Raises:
        InputError: a dataset is too small, or `out` holds points of another study.
        CraftError: a training failed; its output is in the point's folder.
    """
    from datasets.utils import tqdm

    points = [point for point in study.points() if point.rows]
    tables = {name: load_rows(DataArguments(dataset=place), study.task) for name, place in study.datasets.items()}
    for name, table in tables.items():
        most = max((p.rows for p in points if p.dataset == name), default=0)
        have = len(study.task.few_shots) + len(_generated(table))
        if have < most:
            raise InputError(
                f"the dataset {name} has {have} rows, few-shots included, but a point needs {most}; leave that size "
                "out, or generate more."
            )
    for point in tqdm(points, desc="trained", unit=" points"):
        table = tables.get(point.dataset, next(iter(tables.values())))
        _train(study, point, _first_rows(table, study.task, point.rows))


def measure_points(
    study: Study, items: Sequence[Item], measures: Sequence[str] | None = None, data: str = "", batch_size: int = 16
) -> list[tuple[Point, Results]]:
    """Measure every point on the same items and return what was found, in the order of `Study.points`.

    Args:
        study: whose adapters are there.
        items: what to measure on.
        measures: see `measures_for`.
        data: where the items are from, for the record.
        batch_size: items that the model reads at once.
    """
    asked = fingerprint([[asdict(item) for item in items], list(measures or ())])
    model, found = None, []
    for point in study.points():
        folder = study.out / "points" / point.name
        done = folder / f"results-{asked}.json"
        if not done.is_file():
            model = model or EvaluatedModel(study.model)
            model.set_adapter(folder / "adapter" if point.rows else None)
            print(f"measuring {point.name}", flush=True)
            results = evaluate(model, study.task, items, measures=measures, data=data, batch_size=batch_size)
            folder.mkdir(parents=True, exist_ok=True)
            done.with_suffix(".new").write_text(to_json([results]) + "\n", encoding="utf-8")
            done.with_suffix(".new").rename(done)
        found.append((point, read_results(done)[0]))
    return found


def _train(study: Study, point: Point, rows: Dataset) -> None:
    """Train one point by the recipe, in a process of its own."""
    folder = study.out / "points" / point.name
    training: dict[str, JSON] = {
        "rows": fingerprint([[row[name] for name in study.task.fields] for row in rows]),
        "model": study.model,
        "arguments": list(study.arguments),
    }
    mark = folder / "point.json"
    if mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) != training:
        raise InputError(f"{folder} was trained on other rows, or otherwise; give another --out, or remove it.")
    if (folder / "adapter").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(training), encoding="utf-8")
    rows.save_to_disk(str(folder / "rows"))
    command = [
        *study.launch, str(study.recipe), *study.arguments, "--model_name_or_path", study.model,
        "--dataset", str(folder / "rows"), "--output_dir", str(folder), "--seed", str(point.seed),
    ]  # fmt: skip
    command += ["--few_shots_only", "true"] if point.dataset == FEW_SHOTS else []
    command += ["--resume_from_checkpoint", "true"] if any(folder.glob("checkpoint-*")) else []
    with (folder / "training.log").open("w", encoding="utf-8") as log:
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
    if ended:
        last = (folder / "training.log").read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise CraftError(f"`{shlex.join(command)}` ended with code {ended}: {' '.join(last)}")
    for rest in (folder / "rows", *folder.glob("checkpoint-*")):
        shutil.rmtree(rest)


def _rows(size: str, few_shots: int) -> int:
    """How many rows a size has in all."""
    if size == "XS":
        return few_shots
    if size in SIZES:
        return SIZES[size]
    if not size.isdecimal() or 0 < int(size) <= few_shots:
        raise InputError(
            f"size is {size!r}, expected 0, {', '.join(SIZES)}, or a number above the {few_shots} few-shots."
        )
    return int(size)


def _generated(table: Dataset) -> Dataset:
    return table.filter(lambda few_shot: not few_shot, input_columns="is_few_shot")


def _first_rows(table: Dataset, task: Task, count: int) -> Dataset:
    """The few-shots, and the first generated rows: a run for fewer samples would have given the same."""
    from datasets import Dataset

    shots = [{**shot.sample, "is_few_shot": True} for shot in task.few_shots]
    rows = _generated(table).select(range(count - len(shots))).to_list()
    return Dataset.from_list([*shots, *({**{n: row[n] for n in task.fields}, "is_few_shot": False} for row in rows)])
