"""Train a task on datasets of several sizes and seeds, and plot the scores, as in the paper's main figure.

    python recipes/scaling.py bioqa --dataset craft=my-dataset --sizes 0,XS,S,M --data questions.jsonl --out study
    python recipes/scaling.py bioqa --dataset craft=mixed --dataset random=random --model embedded --sizes 0,XS,S \\
        --seeds 1234,2024 --data questions.jsonl --limit 200 --out study -- --learning_rate 5e-4  # on a CPU

Datasets are folders that `craft-hf generate` wrote, or Hub ids. Arguments after -- are passed to the task's recipe. An
interrupted study continues with the same command. On several GPUs: --launch "accelerate launch ...".
"""

import argparse
import shlex
import sys
from pathlib import Path

from craft_hf.base import CraftError, InputError
from craft_hf.evaluation import measures_for, read_items
from craft_hf.tasks import load_task
from craft_hf.training import DEFAULT_MODEL, Study, evaluate_points, study_markdown, train_points, write_study

RECIPES = Path(__file__).parent


def main(argv: list[str]) -> None:
    """Parse the command line, train, evaluate, and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", help="name of a task, or a task folder")
    parser.add_argument("--dataset", action="append", required=True, metavar="NAME=FOLDER", help="may be repeated")
    parser.add_argument("--data", type=Path, required=True, help="reference file (JSONL), as for craft-hf evaluate")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument("--sizes", default="0,XS,S,M,L,XL", help="default: %(default)s; or numbers of rows")
    parser.add_argument("--seeds", default="1234,2024,9999", help="default: %(default)s, the paper's")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: %(default)s")
    parser.add_argument("--measures", help="comma-separated, as for craft-hf evaluate")
    parser.add_argument("--limit", type=int, help="size of a random sample of --data")
    parser.add_argument("--batch_size", type=int, default=16, help="rows per batch in evaluation")
    parser.add_argument(
        "--launch", default=shlex.quote(sys.executable), help="command that runs a recipe; default: Python"
    )
    end = argv.index("--") if "--" in argv else len(argv)
    given = parser.parse_args(argv[:end])
    task = load_task(given.task)
    if wrong := [text for text in given.dataset if not all(text.partition("="))]:
        raise InputError(f"--dataset is {wrong[0]!r}, expected NAME=FOLDER.")
    if wrong := [seed for seed in given.seeds.split(",") if not seed.isdecimal()]:
        raise InputError(f"--seeds has {wrong[0]!r}, expected comma-separated integers.")
    own = RECIPES / f"{task.name}.py"
    study = Study(
        task=task,
        datasets=dict(text.split("=", 1) for text in given.dataset),
        sizes=given.sizes.split(","),
        seeds=[int(seed) for seed in given.seeds.split(",")],
        model=given.model,
        recipe=own if own.is_file() else RECIPES / "bioqa.py",
        out=given.out,
        arguments=["--task", given.task, *argv[end + 1 :]],
        launch=shlex.split(given.launch),
    )
    measures = measures_for(task, given.measures.split(",") if given.measures else None)
    items = read_items(given.data, task, given.limit)
    train_points(study)
    found = evaluate_points(study, items, measures, given.data.name, given.batch_size)
    write_study(found, given.out)
    print(f"{study_markdown(found)}\ntable, plot and JSON: {given.out}/scaling.*")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CraftError as e:
        raise SystemExit(f"error: {e}") from e
