"""Evaluation of a model or adapter on a task's reference items, with 95% confidence intervals.

Each measure is a function `score_...` that takes the items and the loaded model, or its written answers, and returns
`Scores`: the value of each item, their mean, and its interval. `evaluate` runs the measures that suit the task and
collects them in `Results`; `to_markdown` and `to_json` compare the results of several models on the same items.

    items = read_items(Path("questions.jsonl"), task, limit=200)
    model = EvaluatedModel("embedded")
    base = evaluate(model, task, items)
    model.set_adapter("finetuned/bioqa/adapter")
    print(to_markdown([evaluate(model, task, items)], against=base))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from craft_hf.base import Embedder, InputError, fingerprint
from craft_hf.evaluation.choice import score_letters, score_option_texts
from craft_hf.evaluation.items import Item
from craft_hf.evaluation.judge import score_win_rate
from craft_hf.evaluation.likelihood import score_bits_per_byte
from craft_hf.evaluation.model import EvaluatedModel
from craft_hf.evaluation.results import Results
from craft_hf.evaluation.statistics import Scores
from craft_hf.evaluation.text_similarity import score_embedding_similarity, score_rouge
from craft_hf.evaluation.written import open_answer_journal, score_written, write_answers
from craft_hf.generation import Generator
from craft_hf.tasks import Task


def measures_for(task: Task, names: Sequence[str] | None = None, judge: bool = False) -> tuple[str, ...]:
    """Return the measures for a task: those named, or else its defaults.

    Multiple choice: by default "letter" and "option_text"; "bits_per_byte" and "written" are available. Other tasks:
    "bits_per_byte" and "written", which covers format, length, ROUGE, embedding similarity and, with a judge, win rate.

    Raises:
        InputError: a name is unknown or does not suit the task, or a judge was given but no answers are written.
    """
    defaults = ("letter", "option_text") if task.multiple_choice else ("bits_per_byte", "written")
    known = tuple(dict.fromkeys([*defaults, "bits_per_byte", "written"]))
    chosen = tuple(dict.fromkeys(names)) if names is not None else defaults
    if unknown := [name for name in chosen if name not in known] or (not chosen and [""]):
        raise InputError(f"{task.name} has no measure {unknown[0]!r}; expected one or more of {', '.join(known)}.")
    if judge and (task.multiple_choice or "written" not in chosen):
        raise InputError(
            f"a judge needs written answers to compare, but {task.name} with the measures {', '.join(chosen)} has "
            "none; leave the judge out."
        )
    return chosen


def evaluate(
    model: EvaluatedModel,
    task: Task,
    items: Sequence[Item],
    *,
    measures: Sequence[str] | None = None,
    judge: Generator | None = None,
    max_new_tokens: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    data: str = "",
) -> Results:
    """Evaluate a model, with the adapter attached to it, on the items of a task.

    Written answers are kept in a journal, so an interrupted evaluation continues where it stopped.

    Args:
        model: the model under evaluation.
        task: defines the format that written answers should follow.
        items: from `read_items` for this task; two or more.
        measures: see `measures_for`.
        judge: compares written answers with the human ones.
        max_new_tokens: limit for a written answer; by default the task's own, or 8 for multiple choice.
        batch_size: most items in a batch, 1 or more.
        seed: of the bootstrap.
        data: name of the data, recorded in the results.

    Raises:
        InputError: a measure does not suit the task, or an item exceeds the model's context.
        MissingExtra: rouge-score, or the package with the embedding model, is not installed.
        GeneratorError: the judge cannot be reached.
    """
    chosen = measures_for(task, measures, judge is not None)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}, expected 1 or more.")
    scores: list[Scores] = []
    for name, score in (
        ("letter", score_letters), ("option_text", score_option_texts), ("bits_per_byte", score_bits_per_byte)
    ):  # fmt: skip
        if name in chosen:
            scores += score(model, items, batch_size=batch_size, seed=seed)
    outputs = {}
    if "written" in chosen:
        limit = max_new_tokens or (8 if task.multiple_choice else task.max_new_tokens)
        with open_answer_journal(model) as journal:
            answers = write_answers(model, items, limit, batch_size=batch_size, journal=journal)
        outputs = {item.id: answer.text for item, answer in zip(items, answers, strict=True)}
        scores += score_written(task, items, answers, seed=seed)
        if not task.multiple_choice:
            scores += score_rouge(items, answers, seed=seed)
            scores += score_embedding_similarity(items, answers, Embedder(), seed=seed)
        if judge is not None:
            scores += score_win_rate(items, answers, judge, seed=seed)
    items_hash = fingerprint([[asdict(item)[k] for k in ("id", "prompt", "reference")] for item in items])
    return Results(model.name, task.name, data, items_hash, model.identity, tuple(scores), outputs)
