"""The command `craft-hf tasks`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from craft_hf.base import JSON, Document, FewShot, InputError, StorageError, Verdict
from craft_hf.tasks import NAMES, TASK_KEYS, Task, load_task

app = typer.Typer(no_args_is_help=True, help="List, show, check and create tasks.")

TEMPLATE = Path(__file__).parents[1] / "tasks" / "template"
ENOUGH = 8
"""Few-shots of the smallest tasks in the paper (arXiv 2409.02098)."""
UNEVEN = 1.5
"""Times an equal part from which an answer is given too often over the few-shots; a rule of thumb."""

_Name = Annotated[str, typer.Argument(metavar="TASK", help="A shipped task, or the folder of your own.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_tasks(
    folder: Annotated[list[str] | None, typer.Argument(help="Folders of your own tasks, to be listed too.")] = None,
) -> None:
    """List the shipped tasks, and those in folders of your own: name, few-shots, metric, description.

    Example: craft-hf tasks list my-task
    """
    for name in [*NAMES, *(folder or [])]:
        task = load_task(name)
        typer.echo(f"{task.name:<14} {len(task.few_shots):>3} few-shots  {task.metric:<9} {task.description}")


@app.command()
def show(name: _Name, as_json: _AsJson = False) -> None:
    """Show a task: its instructions, fields, rules, checks and few-shots.

    Example: craft-hf tasks show bioqa
    """
    task = load_task(name)
    if as_json:
        typer.echo(json.dumps(asdict(task), ensure_ascii=False, indent=2))
        return
    from craft_hf.quality import checks_for

    typer.echo(f"{task.name}: {task.description}")
    typer.echo(f"metric {task.metric}, language {task.language}, at most {task.max_new_tokens} new tokens")
    for instruction in task.instructions:
        typer.echo(f"\ninstruction\n  {instruction.strip()}")
    typer.echo("\nfields")
    for field, shape in _properties(task).items():
        typer.echo(f"  {field}: {_short(json.dumps(shape, ensure_ascii=False), 120)}")
    typer.echo("\nrules")
    for rule, value in _rules(task):
        typer.echo(f"  {rule}: {json.dumps(value, ensure_ascii=False)}")
    typer.echo("\nchecks, in order (* can be left out with --skip-checks)")
    for kind in checks_for(task):
        typer.echo(f"  {'*' if kind.optional else ' '} {kind.name:<14} {kind.about or kind.label}")
    typer.echo(f"\n{len(task.few_shots)} few-shots")
    for shot in task.few_shots:
        typer.echo(f"  {shot.id} ({shot.source or 'source not stated'}; {shot.license or 'licence not stated'})")
        typer.echo(f"    {_short(task.prompt(shot.sample))} -> {_short(task.completion(shot.sample), 40)}")


@app.command()
def check(name: _Name) -> None:
    """Check a task: that it loads, that its few-shots pass the checks of samples, and for likely mistakes.

    Exits with 1 if the task does not load or a few-shot would be dropped; warnings alone are no failure.

    Example: craft-hf tasks check my-task
    """
    from craft_hf.base import Embedder
    from craft_hf.quality import check_few_shots

    task = load_task(name)
    dropped = [(shot, verdict) for shot, verdict in check_few_shots(task, Embedder()) if not verdict.keep]
    for shot, verdict in dropped:
        typer.echo(_drop(shot, verdict))
    for warning in warnings(task):
        typer.echo(f"warning: {warning}")
    typer.echo(f"{task.name}: {len(task.few_shots) - len(dropped)} of {len(task.few_shots)} few-shots pass the checks")
    if dropped:
        raise typer.Exit(1)


@app.command()
def new(path: Annotated[Path, typer.Argument(help="Folder to write; must not exist yet, or be empty.")]) -> None:
    """Create a task folder to edit: task.yaml, in which every key is explained, and three few-shots.

    Example: craft-hf tasks new my-task
    """
    write_template(path)
    typer.echo(f"{path}/task.yaml: what the task is; every key is explained there")
    typer.echo(f"{path}/few_shots.jsonl: its few-shots, one a line; replace the three by 8 to 32 of yours")
    typer.echo(f"then: craft-hf tasks check {path}")


def write_template(folder: Path) -> None:
    """Write a complete task of three few-shots, named like the folder.

    Raises:
        InputError: something is there already, or the folder's name is none for a task.
        StorageError: the folder cannot be written.
    """
    name = folder.absolute().name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name in NAMES:
        raise InputError(
            f"the folder {name!r} gives the task its name: expected letters, digits, '_' and '-', "
            f"and none of {', '.join(NAMES)}."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists already; give a path where nothing is yet.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sorted(TEMPLATE.iterdir()):
            text = source.read_text(encoding="utf-8").replace("\nname: my-task\n", f"\nname: {name}\n")
            (folder / source.name).write_text(text, encoding="utf-8")
    except OSError as e:
        raise StorageError(f"{folder} cannot be written: {e}") from e


def warnings(task: Task) -> tuple[str, ...]:
    """Return a sentence for everything about a task that is allowed and yet likely to do harm.

    Raises:
        InputError: the embedded generator, in whose tokens prompts are measured, is not installed.
    """
    return (*_few(task), *_unstated(task), *_uneven(task), *_long(task))


def _few(task: Task) -> Iterator[str]:
    if len(task.few_shots) < ENOUGH:
        yield f"{len(task.few_shots)} few-shots are few; CRAFT uses {ENOUGH} to 32. With more, samples vary more."


def _unstated(task: Task) -> Iterator[str]:
    for what in ("source", "license"):
        if lacking := [shot.id for shot in task.few_shots if not getattr(shot, what)]:
            yield (
                f"{len(lacking)} few-shots ({_short(', '.join(lacking), 60)}) state no {what}; their texts become rows "
                "of the dataset, and whoever uses it must know."
            )


def _uneven(task: Task) -> Iterator[str]:
    """Name the answer that most few-shots give, and those that none gives: the model imitates them."""
    if not task.answer_field:
        return
    shape = _properties(task)[task.answer_field]
    named = shape.get("enum") if isinstance(shape, Mapping) else None
    answers = dict.fromkeys(map(str, named if isinstance(named, list) else []), 0)
    counts = Counter({**answers, **Counter(task.answer_name(shot.sample) for shot in task.few_shots)})
    if len(counts) < 2 or len(task.few_shots) < len(counts):
        return
    most, least = max(counts.values()), min(counts.values())
    if most > UNEVEN * len(task.few_shots) / len(counts) or not least:
        said = ", ".join(f"{answer} {count}" for answer, count in counts.items())
        yield f"the few-shots' answers are uneven ({said}); the model will imitate that. Give each about as often."


def _long(task: Task) -> Iterator[str]:
    """Warn where the longest prompt does not fit into the context of the embedded generator."""
    from transformers import AutoConfig, AutoTokenizer

    from craft_hf.base import generator_weights
    from craft_hf.generation import FEW_SHOTS_IN_PROMPT, PromptBuilder

    location = generator_weights().location
    context = int(AutoConfig.from_pretrained(location).max_position_embeddings)
    longest = sorted(task.few_shots, key=lambda shot: -len(shot.text) - len(str(shot.sample)))[:FEW_SHOTS_IN_PROMPT]
    document = Document("", max((shot.text for shot in task.few_shots), key=len))
    messages = PromptBuilder(replace(task, few_shots=tuple(longest)), prefix_groups=1).build(document).messages
    chat = [dict(message) for message in messages]
    tokens = len(AutoTokenizer.from_pretrained(location).apply_chat_template(chat, return_dict=True)["input_ids"])
    if tokens + task.max_new_tokens > context:
        yield (
            f"a prompt of the three longest few-shots and a document as long as theirs has {tokens:,} tokens, and an "
            f"answer up to {task.max_new_tokens:,}; the embedded generator takes {context:,}. Shorten the texts, or "
            "use a generator with a longer context."
        )


def _drop(shot: FewShot, verdict: Verdict) -> str:
    """What a few-shot would be dropped for, on one line."""
    score = "" if verdict.score is None else f", score {verdict.score:g}"
    return f"{shot.id}: {verdict.check}: {verdict.reason}{score}" + (f", of {verdict.partner}" * bool(verdict.partner))


def _properties(task: Task) -> Mapping[str, JSON]:
    properties = task.schema["properties"]
    assert isinstance(properties, Mapping)
    return properties


def _rules(task: Task) -> Iterator[tuple[str, JSON]]:
    """The rules that the task has, under their keys in task.yaml."""
    for name, key in TASK_KEYS.items():
        if key.is_rule and (value := getattr(task, name)):
            yield name, value


def _short(text: str, most: int = 80) -> str:
    """Text on one line, cut after `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 4] + " ..."
