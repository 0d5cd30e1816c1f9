"""The commands `craft-hf review`, which opens the review page, and `craft-hf reviews`, for the decisions made there."""

from __future__ import annotations

import getpass
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from craft_hf.base import InputError, check_target, file_json, write_target

PASSWORD = "CRAFT_HF_REVIEW_PASSWORD"  # noqa: S105 (the variable's name)

app = typer.Typer(no_args_is_help=True, help="Human decisions: export, import, agreement, preference pairs.")

File = Annotated[Path, typer.Argument(help="File of reviews (NAME.reviews.sqlite).")]
Task = Annotated[str | None, typer.Option(help="Name or folder of the task, if it is your own.")]


def review(
    source: Annotated[
        str, typer.Argument(help="Dataset folder, Hub dataset, or the reviews file of a run in progress.")
    ],
    reviews: Annotated[Path | None, typer.Option(help="Decisions file (default: SOURCE.reviews.sqlite).")] = None,
    task: Task = None,
    reviewer: Annotated[str, typer.Option(help="Your name, recorded with your decisions.")] = "",
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a password.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0 picks a free port.", min=0, max=65535)] = 7861,
) -> None:
    """Review samples in the browser: accept, reject with a reason, or edit, beside the document, by keyboard or mouse.

    Every decision is on the disk when the page says so. Give it back to a run with --review FILE, or
    load_dataset("craft", ..., review=FILE). With a --host that others reach, the password is asked for, or taken from
    the environment variable CRAFT_HF_REVIEW_PASSWORD.

    Examples:

      craft-hf review my-dataset

      craft-hf generate bioqa --size S --out my-dataset --review my-dataset.reviews.sqlite &
      craft-hf review my-dataset.reviews.sqlite --reviewer ann
    """
    from craft_hf.base import require

    for package in ("starlette", "uvicorn"):
        require(package, "review")
    from craft_hf.review import LOOPBACK_HOSTS, open_review_store, serve

    password = os.environ.get(PASSWORD) or None
    if host not in LOOPBACK_HOSTS and password is None:
        if not sys.stdin.isatty():
            raise InputError(f"--host {host} lets others in: set a password in the environment variable {PASSWORD}.")
        password = getpass.getpass("Password for the page: ") or None
        if password is None:
            raise InputError(f"--host {host} lets others in, which takes a password; none was given.")
    store, loaded = open_review_store(source, reviews, task)
    with store:
        serve(store, loaded, host, port, reviewer, password)


@app.command("export")
def export_decisions(reviews: File) -> None:
    """Print all decisions, including undone ones, as JSON Lines.

    Example: craft-hf reviews export my-dataset.reviews.sqlite > decisions.jsonl
    """
    from dataclasses import asdict

    from craft_hf.review import ReviewStore

    with ReviewStore(reviews) as store:
        for decision in store.history():
            typer.echo(json.dumps(asdict(decision), ensure_ascii=False))


@app.command("import")
def import_decisions(
    reviews: File, decisions: Annotated[Path, typer.Argument(help="JSON Lines written by `export`.")], task: Task = None
) -> None:
    """Import decisions made elsewhere; those already present are not counted twice.

    Example: craft-hf reviews import my-dataset.reviews.sqlite decisions.jsonl
    """
    from craft_hf.review import ReviewStore
    from craft_hf.review import import_decisions as take_in
    from craft_hf.tasks import load_task

    with ReviewStore(reviews) as store:
        typer.echo(f"{take_in(store, decisions, load_task(task or store.task))} new decisions")


@app.command()
def agreement(reviews: File) -> None:
    """Print the agreement between reviewers, and of the judge with each of them.

    Example: craft-hf reviews agreement my-dataset.reviews.sqlite
    """
    from craft_hf.review import ReviewStore, agreements

    with ReviewStore(reviews) as store:
        found = agreements(store, store.current_decisions())
    if not found:
        typer.echo("No two reviewers have decided on the same samples yet.")
    for pair in found:
        kappa = "not defined (both always said the same)" if pair.kappa is None else f"{pair.kappa:.2f}"
        typer.echo(f"{pair.first} and {pair.second}: {pair.share:.0%} of {pair.samples:,} samples, kappa {kappa}")


@app.command()
def pairs(
    reviews: File,
    out: Annotated[Path, typer.Option(help="JSONL file to write, for `recipes/dpo.py`.")],
    task: Task = None,
) -> None:
    """Write preference pairs of edits and rejections, as TRL's DPOTrainer takes them.

    Example: craft-hf reviews pairs my-dataset.reviews.sqlite --out pairs.jsonl
    """
    from collections import Counter

    from craft_hf.review import ReviewStore, preference_pairs
    from craft_hf.tasks import load_task

    check_target(out)
    with ReviewStore(reviews) as store:
        found = list(preference_pairs(store, load_task(task or store.task)))
    if not found:
        raise InputError(f"{reviews} has no edits, and no rejections beside accepted samples; review some first.")
    write_target(out, *(file_json(pair) + b"\n" for pair in found))
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(pair["kind"] for pair in found).items())
    typer.echo(f"{len(found)} pairs ({kinds}): {out}")
