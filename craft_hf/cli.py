"""The command `craft-hf`: thin words around what the package does."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from craft_hf import index_cli
from craft_hf.errors import CraftError, StorageError
from craft_hf.models import EMBEDDED
from craft_hf.report import read_report
from craft_hf.rows import LINEAGE
from craft_hf.version import __version__

_EXAMPLES = """
Examples:

  craft-hf generate bioqa --num-samples 4 --out my-dataset

  craft-hf index build articles.jsonl.gz --out my-index

  craft-hf retrieve bioqa --index my-index -k 200

  craft-hf generate path/to/my-task --index my-index --generator http://localhost:8000/v1 --size S --out my-dataset

  craft-hf rejected my-dataset

  craft-hf evaluate embedded --data questions.jsonl --limit 200
"""

_INDEX = "Folder of an index, or user/name on the Hub (default: the sample corpus)."

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    help=f"Turn a handful of examples into task-specific fine-tuning data (CRAFT, arXiv 2409.02098).\n{_EXAMPLES}",
)
app.add_typer(index_cli.app, name="index")


def _version(show: bool) -> None:
    if show:
        typer.echo(f"craft_hf {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    pass


@app.command()
def generate(
    task: Annotated[
        str, typer.Argument(help="A shipped task (bioqa, csqa, medqa, recipegen, summarization), or a task folder.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for dataset, report and card; must not exist yet, or hold an earlier one.")
    ],
    num_samples: Annotated[int | None, typer.Option(help="Generated rows to keep (default 10).")] = None,
    size: Annotated[str | None, typer.Option(help="S, M, L or XL, in place of --num-samples.")] = None,
    index: Annotated[str | None, typer.Option(help=_INDEX)] = None,
    generator: Annotated[
        str, typer.Option(help='"embedded", a Hub id, a model folder, or the URL of a server.')
    ] = EMBEDDED,
    generator_model: Annotated[str | None, typer.Option(help="The model's name on the server.")] = None,
    few_shots: Annotated[str | None, typer.Option(help="JSONL file to use in place of the task's few-shots.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Limit of an answer (default: the task's).")] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.7,
    seed: Annotated[int, typer.Option(help="Draws few-shots and tokens.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Answers that a local generator decodes at a time.")] = 8,
    concurrency: Annotated[int, typer.Option(help="Requests that a server gets at a time.")] = 16,
    timeout_s: Annotated[float, typer.Option(help="Seconds that a request to a server may take.")] = 120.0,
    max_retries: Annotated[int, typer.Option(help="How often a failed request is sent again.")] = 4,
    show: Annotated[int, typer.Option(help="Rows to print at the end.")] = 3,
) -> None:
    """Make a dataset: retrieve documents, let the model rewrite them, keep what is good.

    Stop it at any time and run it again: it goes on where it stopped and pays for no answer twice.

    Example: craft-hf generate bioqa --num-samples 4 --out my-dataset
    """
    import pyarrow.parquet

    from craft_hf.run import ROWS, ensure_run
    from craft_hf.settings import Resources, RunSettings, resolve

    _check_out(out)
    settings = RunSettings(
        task=task,
        few_shots=few_shots,
        index=index,
        generator=generator,
        generator_model=generator_model,
        num_samples=num_samples,
        size=size,
        seed=seed,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
    )
    resources = Resources(batch_size=batch_size, concurrency=concurrency, timeout_s=timeout_s, max_retries=max_retries)
    run = resolve(settings, resources)
    try:
        folder = ensure_run(run)
    except KeyboardInterrupt:
        typer.echo("\nStopped; every answer is in the journal. Run the same command again to go on.", err=True)
        raise typer.Exit(130) from None
    _copy(folder, out)
    rows = pyarrow.parquet.read_table(out / ROWS).to_pylist()
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    generated = [row for row in rows if not row["is_few_shot"]]
    for row in generated[:show]:
        _print_row(row)
    typer.echo("\n" + "; ".join(f"{stage}: {count}" for stage, count in report["funnel"]))
    for note in report["notes"]:
        typer.echo(note)
    typer.echo(
        f"\ndataset {out}/data ({len(rows)} rows, {len(generated)} of them generated; the others are the few-shots)"
    )
    typer.echo(f"report  {out}/report.md\ncard    {out}/README.md\nrejects craft-hf rejected {out}")


@app.command("retrieve")
def retrieve_only(
    task: Annotated[
        str, typer.Argument(help="A shipped task (bioqa, csqa, medqa, recipegen, summarization), or a task folder.")
    ],
    index: Annotated[str | None, typer.Option(help=_INDEX)] = None,
    k: Annotated[int, typer.Option("-k", help="Documents; CRAFT takes two for each sample wanted.", min=1)] = 100,
    few_shots: Annotated[str | None, typer.Option(help="JSONL file to use in place of the task's few-shots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """See whether few-shots and index fit each other before anything is generated: retrieval alone, as Markdown.

    Example: craft-hf retrieve bioqa --index my-index -k 200
    """
    from craft_hf.markdown import render
    from craft_hf.pipeline import index_summary, look, open_index
    from craft_hf.tasks import load_task

    loaded = load_task(task, few_shots)
    opened = open_index(index)
    found = {
        "task": loaded.name, "asked": k, "index": index_summary(opened), "coverage": asdict(look(loaded, opened, k))
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False))
    else:
        typer.echo(render("retrieval.md.j2", plots=[], **found).rstrip())


_PARTS = {"README.md", "assets", "data", "rejected", "report.json", "report.md"}


def _check_out(out: Path) -> None:
    """Never write over a folder that is not ours, and find out before the run whether it can be written at all."""
    if out.is_symlink() or out.is_file() or (out.is_dir() and (names := {p.name for p in out.iterdir()})):
        if not out.is_symlink() and out.is_dir() and "report.json" in names and names <= _PARTS:
            read_report(out)
        else:
            raise CraftError(f"{out} exists and is no dataset of craft_hf alone; give another --out, or remove it.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(dir=out.parent, prefix=".craft-hf-")).rmdir()
    except OSError as e:
        raise StorageError(f"--out {out} cannot be written: {e}; give another folder.") from e


def _copy(folder: Path, out: Path) -> None:
    """Put a copy of a run's folder at `out`, whole or not at all."""
    beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=".craft-hf-"))
    try:
        shutil.copytree(folder, beside / out.name)
        (beside / out.name).chmod(0o755)
        if out.exists():
            out.rename(beside / "old")
        (beside / out.name).rename(out)
    except OSError as e:
        raise StorageError(
            f"{out} cannot be written: {e}. The run is safe; make room and run the command again."
        ) from e
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _print_row(row: dict[str, object]) -> None:
    typer.echo("\n" + "-" * 100)
    for name, value in row.items():
        if name not in LINEAGE:
            typer.echo(f"{name}: " + ("\n  ".join(["", *map(str, value)]) if isinstance(value, list) else str(value)))
    typer.echo(
        f"\nfrom {row['document_id']} ({row['title']}; {row['license']}), "
        f"similarity {row['similarity']:.3f}\n{row['url']}"
    )
    typer.echo(textwrap.indent(textwrap.shorten(str(row["document"]), 400, placeholder=" ..."), "  | "))


@app.command()
def rejected(
    dataset: Annotated[Path, typer.Argument(help="Folder that `craft-hf generate` wrote.")],
    check: Annotated[
        str | None, typer.Option(help="Only what this check dropped: schema, wellformed, duplicate, ...")
    ] = None,
) -> None:
    """Show what became no row, and why, as JSON lines.

    Example: craft-hf rejected my-dataset --check duplicate
    """
    import pyarrow.parquet

    from craft_hf.run import REJECTS

    path = dataset / REJECTS
    if not path.is_file():
        raise CraftError(f"there is no {path}; give the folder that `craft-hf generate ... --out` wrote.")
    for row in pyarrow.parquet.read_table(path).to_pylist():
        if check in (None, row["check"]):
            typer.echo(json.dumps(row, ensure_ascii=False))


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help='"embedded", a Hub id, or a model folder.')],
    data: Annotated[Path, typer.Option(help="JSONL[.gz] with question, options, and answer_index or answer.")],
    adapter: Annotated[str | None, typer.Option(help="Folder or Hub id of a LoRA adapter for the model.")] = None,
    limit: Annotated[int | None, typer.Option(help="Questions to draw (default: all).", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Draws the questions.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Questions read at once.", min=1)] = 16,
    device: Annotated[str | None, typer.Option(help="torch device (default: CUDA where there is one).")] = None,
) -> None:
    """Give the accuracy of a model on multiple-choice questions, with its 95% interval.

    Example: craft-hf evaluate embedded --adapter finetuned/bioqa/adapter --data questions.jsonl --limit 200
    """
    from craft_hf import evaluate as evaluation

    scores = evaluation.evaluate(
        model, data, adapter=adapter, limit=limit, seed=seed, batch_size=batch_size, device=device
    )
    for score in scores:
        typer.echo(str(score))


def main() -> None:
    """Run the command; what a user can mend is one line on stderr and exit code 1."""
    try:
        app()
    except CraftError as e:
        typer.echo(f"craft-hf: {e}", err=True)
        sys.exit(1)
