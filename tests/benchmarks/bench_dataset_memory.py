"""How much memory a dataset's folder takes to write and to read, beside the size of its rows.

    .venv/bin/python tests/benchmarks/bench_dataset_memory.py [--rows 25000] [--characters 10000] [--parquet-only]

Each step runs in a process of its own. A line has the step, the size of the rows' texts, and how far the peak of the
resident memory rose in the step, both in MB. "parquet" writes rows that come one by one, reads them back twice and
takes a part out of the middle; "report" makes and writes the report and the card of a dataset; "samples" does all that
for a run that has its samples in memory, as at its end: the peak is what it takes beyond them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from craft_hf.base.records import JSON, Answer, Document, Hit, Prompt, Sample
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.report import make_report
from craft_hf.dataset.rows import few_shot_rows, sample_rows, task_features
from craft_hf.tasks.task import load_task

TASK = load_task("bioqa")


def document(number: int, characters: int) -> str:
    """A text of its own for each number."""
    return (f"Document {number} says what no other one says. " * (characters // 30))[:characters]


def samples(count: int, characters: int) -> Iterator[Sample]:
    """Samples as a run keeps them, one by one."""
    fields = dict(TASK.few_shots[0].sample)
    for i in range(count):
        hit = Hit(Document(f"d{i}", document(i, characters)), 0.5, ("average",))
        yield Sample(fields, hit, Prompt(f"p{i}", f"d{i}", (), ()), Answer("{}", "stop"))


def write_folder(folder: Path, rows: Iterator[dict[str, JSON]]) -> DatasetFolder:
    """Write rows after the few-shots."""
    made = DatasetFolder(folder)

    def everything() -> Iterator[dict[str, JSON]]:
        yield from few_shot_rows(TASK)
        yield from rows

    made.write_data(everything(), task_features(TASK), [])
    return made


def peak_mb() -> float:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def parquet(folder: Path, count: int, characters: int) -> float:
    """Write, read twice, and read a part."""
    warm_up(folder)
    before = peak_mb()
    made = write_folder(folder, sample_rows(TASK, samples(count, characters), "m@1"))
    for _ in range(2):
        assert sum(1 for _ in made.rows) == count + len(TASK.few_shots)
    middle = made.rows[count // 2 : count // 2 + 10]
    assert len(list(middle)) == 10
    return peak_mb() - before


def report(folder: Path, count: int, characters: int) -> float:
    """Make report and card of a dataset that is there."""
    made = DatasetFolder(folder)
    warm_up(folder)
    before = peak_mb()
    write_report(made, count)
    return peak_mb() - before


def in_memory(folder: Path, count: int, characters: int) -> float:
    """Write rows, report and card while all samples are in memory, as at the end of a run."""
    warm_up(folder)
    kept = list(samples(count, characters))
    before = peak_mb()
    made = write_folder(folder / "again", sample_rows(TASK, kept, "m@1"))
    write_report(made, count)
    return peak_mb() - before


def warm_up(folder: Path) -> None:
    """Import and draw once, so that the step itself is measured."""
    write_report(write_folder(folder / "small", sample_rows(TASK, samples(10, 100), "m@1")), 10)


def write_report(made: DatasetFolder, count: int) -> None:
    """Write report and card of what is in a folder."""
    found = make_report(
        TASK, config_id="c", created="", identity={}, index={}, funnel=[Stage("kept", "kept", count)], usage={},
        rows=made.rows, rejects=made.rejects, notes=[], versions={},
    )  # fmt: skip
    made.write_report(found, made.rows, made.rejects)
    made.write_card(found, made.rows)


def _measure(step: Callable[..., float], *arguments: object) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(step, arguments)


def main() -> None:
    """Print a line a step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=25_000)
    parser.add_argument("--characters", type=int, default=10_000)
    parser.add_argument("--parquet-only", action="store_true")
    asked = parser.parse_args()
    size = asked.rows * asked.characters / 1e6
    steps = {"parquet": parquet, "report": report, "samples": in_memory}
    with tempfile.TemporaryDirectory() as folder:
        for name, step in list(steps.items())[: 1 if asked.parquet_only else None]:
            print(f"{name} {size:.0f} {_measure(step, Path(folder), asked.rows, asked.characters):.0f}", flush=True)


if __name__ == "__main__":
    main()
