"""The commands `craft-hf generate`, `retrieve` and `estimate`."""

from __future__ import annotations

import itertools
import json
import os
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from craft_hf.base import JSON
from craft_hf.cli.settings_options import CONFIG, takes_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@takes_settings("retrieve")
def retrieve_only(
    given: dict[str, object],
    k: Annotated[int, typer.Option("-k", help="Documents to retrieve; CRAFT takes two per sample.", min=1)] = 100,
    config: CONFIG = None,
    as_json: AsJson = False,
) -> None:
    """Retrieve documents without generating, and report how well the index covers the few-shots, as Markdown.

    Example: craft-hf retrieve bioqa --index my-index -k 200
    """
    import craft_hf
    from craft_hf.base import render
    from craft_hf.run import settings_from

    retrieved = craft_hf.retrieve(settings_from(given, config), k=k)
    coverage = asdict(retrieved.coverage)
    found = {"task": retrieved.task.name, "asked": k, "index": retrieved.index, "coverage": coverage}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False))
    else:
        typer.echo(render("retrieval.md.j2", plots=[], **found).rstrip())


@takes_settings("estimate")
def estimate_only(
    given: dict[str, object],
    pilot: Annotated[int, typer.Option(help="Prompts to send; the run reuses their answers. 0 sends none.")] = 8,
    config: CONFIG = None,
    show: Annotated[int, typer.Option(help="Prompts to print as they would be sent.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Estimate prompts, tokens, time and price of a run by sending a few of its own prompts.

    Give it what you will give to `generate`: then the run reuses the answers of the pilot.

    Example: craft-hf estimate bioqa --size M --generator http://localhost:8000/v1 --price-in 0.15 --price-out 0.6

    Read two prompts before you pay for any: craft-hf estimate bioqa --pilot 0 --show 2
    """
    import craft_hf
    from craft_hf import run as runs

    found = craft_hf.estimate(runs.settings_from(given, config), pilot=pilot, show=show)
    typer.echo(runs.estimate_as_json(found) if as_json else runs.estimate_as_text(found))


@takes_settings("generate")
def generate(
    given: dict[str, object],
    out: Annotated[Path, typer.Option(help="Folder for dataset, report and card; new, or with a dataset to replace.")],
    config: CONFIG = None,
    show: Annotated[int, typer.Option(help="Rows to print at the end.", min=0)] = 3,
    fresh: Annotated[
        bool,
        typer.Option(
            help="Ask the model anew for everything, as after a change of its server. Leave it out to go on with a run "
            "that was stopped."
        ),
    ] = False,
) -> None:
    """Generate a dataset: retrieve documents, let the model rewrite each into a sample, keep the good ones.

    Stop it at any time and run it again: it goes on where it stopped and pays for no answer twice.

    Example: craft-hf generate bioqa --num-samples 4 --out my-dataset

    With your GPUs: craft-hf generate bioqa --generator vllm:user/name --tensor-parallel 2 --size S --out my-dataset

    The same rows again: craft-hf generate --config my-dataset/run.yaml --out again
    """
    import craft_hf
    from craft_hf.dataset import CARD, REPORT_HTML, ROWS, is_few_shot
    from craft_hf.run import settings_from
    from craft_hf.tasks import load_task

    settings = settings_from(given, config)
    try:
        made = craft_hf.generate(settings, out, fresh=fresh)
    except KeyboardInterrupt:
        typer.echo("\nStopped; every answer is in the journal. Run the same command again to go on.", err=True)
        os._exit(130)  # all is written; with torch loaded, Python takes two more seconds to leave in order
    for row in itertools.islice((row for row in made.rows if not is_few_shot(row)), show):
        _print_row(row)
    report = made.report
    typer.echo("\n" + "; ".join(f"{stage.label}: {stage.count}" for stage in report.funnel))
    for note in report.notes:
        typer.echo(note)
    counts = f"{report.rows['rows']} rows, {report.rows['generated']} of them generated; the others are the few-shots"
    typer.echo(f"\ndataset {out}/{ROWS} ({counts})")
    typer.echo(f"report  {out}/{REPORT_HTML}\ncard    {out}/{CARD}\nrejects craft-hf rejected {out}")
    if not report.rows["generated"] and settings.rows_wanted(load_task(settings.task)):
        raise typer.Exit(1)


def _print_row(row: Mapping[str, JSON]) -> None:
    from craft_hf.tasks import COLUMNS

    typer.echo("\n" + "-" * 100)
    for name, value in row.items():
        if name not in COLUMNS:
            typer.echo(f"{name}: " + ("\n  ".join(["", *map(str, value)]) if isinstance(value, list) else str(value)))
    typer.echo(
        f"\nfrom {row['document_id']} ({row['title']}; {row['license']}), "
        f"similarity {row['similarity']:.3f}\n{row['url']}"
    )
    typer.echo(textwrap.indent(textwrap.shorten(str(row["document"]), 400, placeholder=" ..."), "  | "))
