"""The command `craft-hf evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from craft_hf.base import check_target, write_target

_MODEL = '"embedded", a Hub id, or a model folder.'
_DATA = "JSONL, plain or compressed: rows with the task's fields, or its short forms (see the README)."
_ADAPTER = "Folder or Hub id of a LoRA adapter for the model; may be given several times."
_AGAINST = (
    "What to compare with on the same items: a model, the folder of an adapter for MODEL, or what --out wrote "
    "(default: the first of several adapters)."
)
_MEASURES = (
    "Separated by commas. Multiple choice: letter, option_text, bits_per_byte, written (default: the first two). "
    "Other tasks: bits_per_byte, written (default: both)."
)
_JUDGE = (
    'Judge of written answers against human ones: "embedded", a Hub id, a folder, or the URL of a server (several '
    "are separated by commas), or vllm:MODEL or llamacpp:FILE.gguf, which is started."
)


def evaluate(
    model: Annotated[str, typer.Argument(help=_MODEL)],
    task: Annotated[str, typer.Option(help="A shipped task, or a task folder.")],
    data: Annotated[Path, typer.Option(help=_DATA)],
    adapter: Annotated[list[str] | None, typer.Option(help=_ADAPTER)] = None,
    against: Annotated[str | None, typer.Option(help=_AGAINST)] = None,
    measures: Annotated[str | None, typer.Option(help=_MEASURES)] = None,
    judge: Annotated[str | None, typer.Option(help=_JUDGE)] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge's name on its server.")] = None,
    limit: Annotated[int | None, typer.Option(help="Rows to draw (default: all).", min=2)] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Limit of a written answer (default: the task's; 8 for a letter).", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the rows and the bootstrap samples.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Batch size of the model.", min=1)] = 16,
    device: Annotated[str | None, typer.Option(help="torch device (default: CUDA where there is one).")] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file for all results, with scores and answers of each row.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a Markdown table.")] = False,
) -> None:
    """Evaluate a model or its adapters on rows with human answers: scores with 95% intervals, and paired comparisons.

    Example: craft-hf evaluate embedded --task bioqa --adapter finetuned/bioqa/adapter --against embedded
    --data questions.jsonl --limit 200 --out results.json
    """
    import craft_hf

    if out is not None:
        check_target(out)
    found = craft_hf.evaluate(
        model, task, data, adapters=adapter or (), against=against,
        measures=measures.split(",") if measures is not None else None, judge=judge, judge_model=judge_model,
        limit=limit, max_new_tokens=max_new_tokens, seed=seed, batch_size=batch_size, device=device,
    )  # fmt: skip
    everything = found.to_json()
    typer.echo(everything if as_json else found.to_markdown())  # first, as it is paid for
    if out is not None:
        write_target(out, everything.encode(), b"\n")
