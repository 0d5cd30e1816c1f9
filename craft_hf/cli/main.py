"""The command `craft-hf`: options and output; the work is done by the package."""

from __future__ import annotations

import difflib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from craft_hf.base import CraftError, InputError, __version__
from craft_hf.cli import evaluate as evaluate_cli
from craft_hf.cli import generate as generate_cli
from craft_hf.cli import index as index_cli
from craft_hf.cli import publish as publish_cli
from craft_hf.cli import report as report_cli
from craft_hf.cli import review as review_cli
from craft_hf.cli import tasks as tasks_cli
from craft_hf.cli import withdraw as withdraw_cli

_EXAMPLES = """
Examples:

  craft-hf generate bioqa --num-samples 4 --out my-dataset

  craft-hf tasks new my-task

  craft-hf index build articles.jsonl.gz --out my-index

  craft-hf retrieve bioqa --index my-index -k 200

  craft-hf generate path/to/my-task --index my-index --generator http://localhost:8000/v1 --size S --out my-dataset

  craft-hf estimate bioqa --size M --generator http://localhost:8000/v1 --price-in 0.15 --price-out 0.6

  craft-hf rejected my-dataset

  craft-hf report my-dataset

  craft-hf review my-dataset

  craft-hf evaluate embedded --task bioqa --data questions.jsonl --limit 200

  craft-hf publish my-dataset user/name

  craft-hf withdraw my-dataset --document article-17
"""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    help=f"Turn a handful of examples into task-specific fine-tuning data (CRAFT, arXiv 2409.02098).\n{_EXAMPLES}",
)
app.command("generate")(generate_cli.generate)
app.command("estimate")(generate_cli.estimate_only)
app.command("retrieve")(generate_cli.retrieve_only)
app.command("report")(report_cli.report)
app.command("evaluate")(evaluate_cli.evaluate)
app.command("publish")(publish_cli.publish)
app.command("withdraw")(withdraw_cli.withdraw)
app.command("review")(review_cli.review)
app.add_typer(review_cli.app, name="reviews")
app.add_typer(index_cli.app, name="index")
app.add_typer(tasks_cli.app, name="tasks")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"craft_hf {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def rejected(
    dataset: Annotated[Path, typer.Argument(help="Folder that `craft-hf generate` wrote.")],
    check: Annotated[
        str | None, typer.Option(help="Only samples that this check rejected; any other name lists those there are.")
    ] = None,
) -> None:
    """Print rejected samples with the reasons, as JSON Lines.

    Example: craft-hf rejected my-dataset --check duplicate
    """
    from craft_hf.dataset import DatasetFolder

    found = Counter[str]()
    for row in DatasetFolder(dataset).rejects:
        found[str(row["check"])] += 1
        if check in (None, row["check"]):
            typer.echo(json.dumps(row, ensure_ascii=False))
    if check is not None and check not in found:
        near = difflib.get_close_matches(check, found, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        there = ", ".join(f"{name} ({count:,})" for name, count in found.most_common()) or "none"
        raise InputError(f"no sample in {dataset} was rejected by {check!r}.{hint} Checks that rejected some: {there}.")


def main() -> None:
    """Run the command; what a user can mend is one line on stderr and exit code 1."""
    try:
        app()
    except CraftError as e:
        typer.echo(f"craft-hf: {e}", err=True)
        sys.exit(1)
