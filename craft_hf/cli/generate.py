"""The commands that make a dataset, or look ahead: `craft-hf retrieve`, `estimate` and `generate`."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from craft_hf.base import EMBEDDED
from craft_hf.retrieval import MIXED

_GROUPS = "Triples of few-shots to begin prompts with, or per-prompt (default: a third as many as few-shots)."
_BUDGET = "Most that the run may cost: tokens, or money if there are prices."
_GENERATOR = '"embedded", a Hub id, a model folder, or the URL of a server; several URLs are separated by commas.'
_SKIP = "Checks not to make, separated by commas: repetitive, language, copied, contaminated, grounded, semantic."
_TEST_SETS = "JSONL files or Hub datasets (REPO:CONFIG:SPLIT) no row may be taken from (default: the task's)."
_JUDGE = 'A model to ask about every sample: "generator" for the same, or as --generator is given (default: none).'
_INDEX = "Folder of an index, or user/name on the Hub (default: the sample corpus)."

Task = Annotated[
    str, typer.Argument(help="A shipped task (bioqa, csqa, medqa, recipegen, summarization), or a task folder.")
]
NumSamples = Annotated[int | None, typer.Option(help="Generated rows to keep (default 10).")]
Size = Annotated[str | None, typer.Option(help="S, M, L or XL, in place of --num-samples.")]
Index = Annotated[str | None, typer.Option(help=_INDEX)]
Generator = Annotated[str, typer.Option(help=_GENERATOR)]
GeneratorModel = Annotated[str | None, typer.Option(help="The model's name on the server.")]
FewShots = Annotated[str | None, typer.Option(help="JSONL file to use in place of the task's few-shots.")]
MaxNewTokens = Annotated[int | None, typer.Option(help="Limit of an answer (default: the task's).")]
Temperature = Annotated[float, typer.Option(help="0 takes the likeliest token.")]
Seed = Annotated[int, typer.Option(help="Draws few-shots and tokens.")]
PrefixGroups = Annotated[str | None, typer.Option(help=_GROUPS)]
Retrieval = Annotated[str, typer.Option(help='"mixed", near the few-shots, or "random", to compare with.')]
MinSimilarity = Annotated[float, typer.Option(help="Least similarity of a document that is used.")]
MaxBudget = Annotated[float | None, typer.Option(help=_BUDGET)]
PriceIn = Annotated[float, typer.Option(help="Price of a million tokens read.")]
PriceOut = Annotated[float, typer.Option(help="Price of a million tokens written.")]
SkipChecks = Annotated[str | None, typer.Option(help=_SKIP)]
TestSets = Annotated[str | None, typer.Option(help=_TEST_SETS)]
Earlier = Annotated[str | None, typer.Option(help="Dataset folders whose rows no row may repeat.")]
Judge = Annotated[str | None, typer.Option(help=_JUDGE)]
JudgeModel = Annotated[str | None, typer.Option(help="The judge's name on its server.")]
JudgeDraws = Annotated[int, typer.Option(help="How often the judge is asked about a sample.")]
Review = Annotated[
    str | None, typer.Option(help="File of reviews, to open with `craft-hf review` meanwhile; made if not there.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Say it as JSON.")]


def retrieve_only(
    task: Task,
    index: Index = None,
    k: Annotated[int, typer.Option("-k", help="Documents; CRAFT takes two for each sample wanted.", min=1)] = 100,
    few_shots: FewShots = None,
    as_json: AsJson = False,
) -> None:
    """See whether few-shots and index fit each other before anything is generated: retrieval alone, as Markdown.

    Example: craft-hf retrieve bioqa --index my-index -k 200
    """
    from craft_hf.base import render
    from craft_hf.retrieval import index_summary, open_index, retrieval_coverage
    from craft_hf.tasks import load_task

    loaded = load_task(task, few_shots)
    opened = open_index(index)
    found = {
        "task": loaded.name, "asked": k, "index": index_summary(opened),
        "coverage": asdict(retrieval_coverage(loaded, opened, k)),
    }  # fmt: skip
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False))
    else:
        typer.echo(render("retrieval.md.j2", plots=[], **found).rstrip())


def estimate_only(
    task: Task,
    pilot: Annotated[int, typer.Option(help="Prompts to send, whose answers the run reuses; 0 for none.")] = 8,
    num_samples: NumSamples = None,
    size: Size = None,
    index: Index = None,
    generator: Generator = EMBEDDED,
    generator_model: GeneratorModel = None,
    few_shots: FewShots = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    prefix_groups: PrefixGroups = None,
    retrieval: Retrieval = MIXED,
    min_similarity: MinSimilarity = -1.0,
    max_budget: MaxBudget = None,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    skip_checks: SkipChecks = None,
    test_sets: TestSets = None,
    earlier: Earlier = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    judge_draws: JudgeDraws = 1,
    as_json: AsJson = False,
) -> None:
    """Say what a run will cost: prompts, tokens, time and money, from a few of its own prompts.

    Give it what you will give to `generate`: then the run reuses the answers of the pilot.

    Example: craft-hf estimate bioqa --size M --generator http://localhost:8000/v1 --price-in 0.15 --price-out 0.6
    """
    from craft_hf import run as runs
    from craft_hf.run import RunSettings, resolve

    settings = RunSettings(
        task=task,
        few_shots=few_shots,
        index=index,
        generator=generator,
        generator_model=generator_model,
        num_samples=num_samples,
        size=size,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        prefix_groups=prefix_groups,
        retrieval=retrieval,
        min_similarity=min_similarity,
        max_budget=max_budget,
        price_in=price_in,
        price_out=price_out,
        skip_checks=skip_checks,
        test_sets=test_sets,
        earlier=earlier,
        judge=judge,
        judge_model=judge_model,
        judge_draws=judge_draws,
    )
    found = runs.estimate(resolve(settings), pilot)
    typer.echo(runs.estimate_as_json(found) if as_json else runs.estimate_as_text(found))


def generate(
    task: Task,
    out: Annotated[
        Path, typer.Option(help="Folder for dataset, report and card; must not exist yet, or hold an earlier one.")
    ],
    num_samples: NumSamples = None,
    size: Size = None,
    index: Index = None,
    generator: Generator = EMBEDDED,
    generator_model: GeneratorModel = None,
    few_shots: FewShots = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    prefix_groups: PrefixGroups = None,
    retrieval: Retrieval = MIXED,
    min_similarity: MinSimilarity = -1.0,
    max_budget: MaxBudget = None,
    price_in: PriceIn = 0.0,
    price_out: PriceOut = 0.0,
    skip_checks: SkipChecks = None,
    test_sets: TestSets = None,
    earlier: Earlier = None,
    judge: Judge = None,
    judge_model: JudgeModel = None,
    judge_draws: JudgeDraws = 1,
    review: Review = None,
    batch_size: Annotated[int | None, typer.Option(help="Answers that a local generator decodes at a time.")] = None,
    concurrency: Annotated[int, typer.Option(help="Most requests in flight at a time.")] = 64,
    timeout_s: Annotated[float, typer.Option(help="Seconds that a request to a server may take.")] = 120.0,
    max_retries: Annotated[int, typer.Option(help="How often a failed request is sent again.")] = 4,
    show: Annotated[int, typer.Option(help="Rows to print at the end.")] = 3,
) -> None:
    """Make a dataset: retrieve documents, let the model rewrite them, keep what is good.

    Stop it at any time and run it again: it goes on where it stopped and pays for no answer twice.

    Example: craft-hf generate bioqa --num-samples 4 --out my-dataset
    """
    import pyarrow.parquet

    from craft_hf.dataset import ROWS, check_out, export
    from craft_hf.run import Resources, RunSettings, ensure_reviewed_run

    check_out(out)
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
        prefix_groups=prefix_groups,
        retrieval=retrieval,
        min_similarity=min_similarity,
        max_budget=max_budget,
        price_in=price_in,
        price_out=price_out,
        skip_checks=skip_checks,
        test_sets=test_sets,
        earlier=earlier,
        judge=judge,
        judge_model=judge_model,
        judge_draws=judge_draws,
        review=review,
    )
    resources = Resources(batch_size=batch_size, concurrency=concurrency, timeout_s=timeout_s, max_retries=max_retries)
    try:
        folder = ensure_reviewed_run(settings, resources)
    except KeyboardInterrupt:
        typer.echo("\nStopped; every answer is in the journal. Run the same command again to go on.", err=True)
        os._exit(130)  # all is written; with torch loaded, Python takes two more seconds to leave in order
    export(folder, out)
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
    typer.echo(f"report  {out}/report.html\ncard    {out}/README.md\nrejects craft-hf rejected {out}")


def _print_row(row: dict[str, object]) -> None:
    from craft_hf.dataset import LINEAGE

    typer.echo("\n" + "-" * 100)
    for name, value in row.items():
        if name not in LINEAGE:
            typer.echo(f"{name}: " + ("\n  ".join(["", *map(str, value)]) if isinstance(value, list) else str(value)))
    typer.echo(
        f"\nfrom {row['document_id']} ({row['title']}; {row['license']}), "
        f"similarity {row['similarity']:.3f}\n{row['url']}"
    )
    typer.echo(textwrap.indent(textwrap.shorten(str(row["document"]), 400, placeholder=" ..."), "  | "))
