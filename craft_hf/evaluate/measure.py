"""Scores of a model or an adapter: a `Student` and `Item`s come in, values for each item with 95% intervals go out.

Each measure is a function that takes the loaded model, or what it wrote, and the items, and returns `Scores`: the
values of single items, their mean, its interval. `evaluate` makes several of them and puts them into `Results`;
`compare` tests two models on the same items.

    items = read_items(Path("questions.jsonl"), task, limit=200)
    student = Student("embedded")
    plain = evaluate(student, task, items)
    student.use("finetuned/bioqa/adapter")
    print(markdown([evaluate(student, task, items)], against=plain))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from craft_hf.base import Embedder, InputError, fingerprint
from craft_hf.evaluate.alike import rouge, similarity
from craft_hf.evaluate.choice import letter, option_text
from craft_hf.evaluate.form import Form
from craft_hf.evaluate.items import Item, read_items
from craft_hf.evaluate.judge import equal_length, win_rate
from craft_hf.evaluate.likelihood import bits_per_byte
from craft_hf.evaluate.model import Student
from craft_hf.evaluate.results import Results, as_json, differences, markdown, read_results
from craft_hf.evaluate.statistics import Difference, Scores, compare, summarize
from craft_hf.evaluate.written import form, open_written, write
from craft_hf.generate import Generator
from craft_hf.tasks import Task

__all__ = [
    "Difference", "Form", "Item", "Results", "Scores", "Student", "as_json", "bits_per_byte", "compare", "differences",
    "equal_length", "evaluate", "form", "letter", "markdown", "measures_of", "open_written", "option_text",
    "read_items", "read_results", "rouge", "similarity", "summarize", "win_rate", "write",
]  # fmt: skip


def measures_of(task: Task, wanted: Sequence[str] | None = None, judge: bool = False) -> tuple[str, ...]:
    """Return what is measured for a task: what is wanted, or else what suits it.

    Multiple choice: "letter" and "option_text", and on demand "bits_per_byte" and "written". Other tasks:
    "bits_per_byte" and "written", which gives format, length, ROUGE, similarity, and with a judge the win rate.

    Raises:
        InputError: a name is unknown or does not fit the task, or there is a judge of nothing.
    """
    usual = ("letter", "option_text") if task.options_field else ("bits_per_byte", "written")
    known = tuple(dict.fromkeys([*usual, "bits_per_byte", "written"]))
    chosen = tuple(dict.fromkeys(wanted)) if wanted is not None else usual
    if unknown := [name for name in chosen if name not in known] or (not chosen and [""]):
        raise InputError(f"{task.name} has no measure {unknown[0]!r}; expected some of {', '.join(known)}.")
    if judge and (task.options_field or "written" not in chosen):
        raise InputError(
            f"a judge compares written answers: {task.name} with {', '.join(chosen)} gives none to compare."
        )
    return chosen


def evaluate(
    student: Student,
    task: Task,
    items: Sequence[Item],
    *,
    measures: Sequence[str] | None = None,
    judge: Generator | None = None,
    max_new_tokens: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    data: str = "",
    progress: bool = True,
) -> Results:
    """Measure a model, with the adapter that it has on, on items of a task.

    Args:
        student: the model.
        task: whose format written answers should have.
        items: as `read_items` gives them for the task, two or more.
        measures: see `measures_of`.
        judge: compares written answers with the human ones.
        max_new_tokens: limit of a written answer; the task's by default, 8 for multiple choice.
        batch_size: items that the model reads at once, at most.
        seed: draws the bootstrap samples.
        data: where the items are from, for the record.
        progress: show bars.

    What the model writes is kept in a journal, so that a call that was stopped goes on where it was.

    Raises:
        InputError: a measure does not fit the task, or an item the model.
        MissingExtra: rouge-score, or the package of the embedding model, is not installed.
        GeneratorError: the judge cannot be reached.
    """
    chosen = measures_of(task, measures, judge is not None)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, expected 1 or more.")
    scores: list[Scores] = []
    for name, measure in (("letter", letter), ("option_text", option_text), ("bits_per_byte", bits_per_byte)):
        if name in chosen:
            scores += measure(student, items, batch_size=batch_size, seed=seed, progress=progress)
    outputs = {}
    if "written" in chosen:
        limit = max_new_tokens or (8 if task.options_field else task.max_new_tokens)
        with open_written(student) as journal:
            answers = write(student, items, limit, batch_size=batch_size, journal=journal, progress=progress)
        outputs = {item.id: answer.text for item, answer in zip(items, answers, strict=True)}
        scores += form(task, items, answers, seed=seed)
        if not task.options_field:
            scores += rouge(items, answers, seed=seed)
            scores += similarity(items, answers, Embedder(), seed=seed)
        if judge is not None:
            scores += win_rate(items, answers, judge, seed=seed, progress=progress)
    items_hash = fingerprint([[asdict(item)[k] for k in ("id", "prompt", "reference")] for item in items])
    return Results(student.name, task.name, data, items_hash, student.identity, tuple(scores), outputs)
