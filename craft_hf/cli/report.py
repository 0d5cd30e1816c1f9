"""The command `craft-hf report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    dataset: Annotated[Path, typer.Argument(help="Folder that `craft-hf generate` wrote.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the report (default: the dataset's).")] = None,
    task: Annotated[str | None, typer.Option(help="Folder of the task, if it is your own.")] = None,
) -> None:
    """Write a dataset's report again, from its present rows and rejects: HTML, Markdown, JSON and plots.

    Example: craft-hf report my-dataset --out my-report
    """
    from craft_hf.base import number
    from craft_hf.dataset import PLOTS, REPORT, REPORT_PAGES, rebuild_report

    folder = out or dataset
    made = rebuild_report(dataset, folder, task)
    typer.echo(f"{made.rows['generated']} rows made by the model, {made.rows['few_shots']} few-shots")
    typer.echo(f"{made.rows['rejected']} documents became no row, for {len(made.drops)} reasons")
    typer.echo(f"self-BLEU {number(made.diversity.get('self_bleu'))} (0 to 1, high where rows repeat each other)")
    for name in (*REPORT_PAGES, REPORT, PLOTS):
        typer.echo(folder / name)
