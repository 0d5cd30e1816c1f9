"""What a model writes: prompts come in, its answers under greedy decoding go out, and whether they are of use."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence

from craft_hf.base import Answer, InputError, cache_folder, fingerprint
from craft_hf.evaluate.choice import chance
from craft_hf.evaluate.form import Form
from craft_hf.evaluate.items import LETTERS, Item
from craft_hf.evaluate.model import Student, padded
from craft_hf.evaluate.statistics import Scores, summarize
from craft_hf.generate import Journal, most_tokens
from craft_hf.tasks import Task

_logger = logging.getLogger("craft_hf")


def write(
    student: Student,
    items: Sequence[Item],
    max_new_tokens: int,
    *,
    batch_size: int = 16,
    journal: Journal | None = None,
    progress: bool = True,
) -> list[Answer]:
    """Return what the model answers to each prompt, always taking the likeliest token.

    Args:
        student: the model.
        items: of which only the prompts are used.
        max_new_tokens: after which an answer is cut: finish_reason "length" in place of "stop".
        batch_size: answers that are written at once, at most; changes an answer only where rounding turns a tie.
        journal: keeps the answers as they come, and has those of earlier calls; without one nothing is kept.
        progress: show a bar.

    Raises:
        InputError: a prompt with its answer may not fit into the model's context.
    """
    from datasets.utils import tqdm

    identity = {**student.identity, "max_new_tokens": max_new_tokens}
    keys = [fingerprint({**identity, "prompt": item.prompt}) for item in items]
    known = [journal.get(key) if journal is not None else None for key in keys]
    prompts = [student.tokens(student.head(item.prompt)) for item in items]
    for item, ids in zip(items, prompts, strict=True):
        if len(ids) + max_new_tokens > student.context:
            raise InputError(
                f"{item.id} has {len(ids)} tokens, which leaves {student.base} with its context of {student.context} "
                f"no room for {max_new_tokens} new ones; leave it out, or allow fewer new tokens."
            )
    missing = [i for i, answer in enumerate(known) if answer is None]
    with tqdm(
        total=len(items), initial=len(items) - len(missing), desc="written", unit=" answers", disable=not progress
    ) as bar:
        for batch in _batches(missing, prompts, batch_size, max_new_tokens, most_tokens(student.model)):
            for i, answer in zip(batch, _answers(student, [prompts[i] for i in batch], max_new_tokens), strict=True):
                known[i] = answer
                if journal is not None:
                    journal.put(keys[i], answer)
            bar.update(len(batch))
    return [answer for answer in known if answer is not None]


def open_written(student: Student) -> Journal:
    """Open the journal of what a model, with its adapter, has written in evaluations."""
    return Journal(cache_folder() / "journal" / f"written-{fingerprint(student.identity)}")


def form(task: Task, items: Sequence[Item], answers: Sequence[Answer], *, seed: int = 0) -> list[Scores]:
    """Return the share of answers in the task's format, the share that ended by themselves, and their length.

    An answer is in the format if the task's completion template can have made it from fields that follow the schema
    and the task's rules (see `Form`); a template that cannot be read back gives no such figure, but a warning. For
    multiple choice come two more: the share that begins with the letter of an option, and the share that begins with
    the right one.

    Args:
        task: with its templates, schema and rules.
        items: what was asked.
        answers: one for each item, in order.
        seed: draws the bootstrap samples.
    """
    ids = [item.id for item in items]
    ended = [float(answer.finish_reason == "stop") for answer in answers]
    sizes = [len(item.reference) for item in items]
    lengths = [len(answer.text) / size for answer, size in zip(answers, sizes, strict=True)]
    scores = [
        *_followed(task, ids, answers),
        summarize("ended", "written answers that ended before the limit of new tokens", ids, ended),
        summarize(
            "length", "characters written for each of the human answers", ids, lengths, weights=sizes,
            higher_is_better=None, seed=seed,
        ),
    ]  # fmt: skip
    if not task.options_field:
        return scores
    said = [_letter(answer.text) for answer in answers]
    valid = [float(bool(s) and s in LETTERS[: len(item.options)]) for s, item in zip(said, items, strict=True)]
    right = [float(s == LETTERS[item.answer]) for s, item in zip(said, items, strict=True)]
    return [
        *scores,
        summarize("valid_letter", "written answers that begin with the letter of an option", ids, valid),
        summarize(
            "written_letter", "written answers that begin with the right letter", ids, right, chance=chance(items)
        ),
    ]


def _followed(task: Task, ids: Sequence[str], answers: Sequence[Answer]) -> list[Scores]:
    try:
        read = Form(task)
    except InputError as e:
        _logger.warning("the share of answers in the format is not measured: %s", e)
        return []
    followed = [float(read.problem(answer.text) == "") for answer in answers]
    return [
        summarize("format", "written answers in the task's format, by its template, schema and rules", ids, followed)
    ]


def _letter(text: str) -> str:
    """The letter that an answer begins with, "" if it begins with a word or anything else: "B", "B.", "(B) because"."""
    found = re.match(r"\s*\(?([A-Z])(?![\w'’])", text)
    return found[1] if found else ""


def _batches(
    order: Sequence[int], prompts: Sequence[Sequence[int]], batch_size: int, max_new_tokens: int, most: int
) -> Iterator[list[int]]:
    """Yield places of prompts, longest first, with at most so many tokens, those to write too; one at least."""
    batch: list[int] = []
    for i in sorted(order, key=lambda i: len(prompts[i]), reverse=True):
        longest = len(prompts[batch[0] if batch else i]) + max_new_tokens
        if batch and (len(batch) == batch_size or (len(batch) + 1) * longest > most):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _answers(student: Student, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> Iterator[Answer]:
    import torch

    tokenizer = student.tokenizer
    own = student.model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    ids, mask = padded(prompts, student.model.device, left=True)
    with torch.inference_mode():
        made = student.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, temperature=None,
            top_p=None, top_k=None, eos_token_id=sorted(ends), pad_token_id=min(ends),
        )  # fmt: skip
    for prompt, row in zip(prompts, made[:, ids.shape[1] :].tolist(), strict=True):
        end = next((place for place, token in enumerate(row) if token in ends), len(row))
        text = tokenizer.decode(row[:end], skip_special_tokens=True).strip()
        yield Answer(text, "stop" if end < len(row) else "length", len(prompt), end)
