"""Answers that a model writes under greedy decoding, and scores of their format."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from craft_hf.base import Answer, Bar, InputError, cache_folder, fingerprint
from craft_hf.evaluation.choice import chance
from craft_hf.evaluation.completion_parser import CompletionParser
from craft_hf.evaluation.items import Item
from craft_hf.evaluation.model import EvaluatedModel, pad
from craft_hf.evaluation.statistics import Scores, summarize
from craft_hf.generation import Journal, max_batch_tokens
from craft_hf.tasks import Task, leading_option

_logger = logging.getLogger("craft_hf")


def write_answers(
    model: EvaluatedModel,
    items: Sequence[Item],
    max_new_tokens: int,
    *,
    batch_size: int = 16,
    journal: Journal | None = None,
) -> list[Answer]:
    """Return the model's answers to the items' prompts under greedy decoding, in the same order.

    Args:
        model: the model under evaluation.
        items: only their ids and prompts are used.
        max_new_tokens: limit after which an answer is cut off (finish_reason "length" instead of "stop").
        batch_size: most answers in a batch; affects an answer only where rounding decides between equal tokens.
        journal: holds the answers of earlier calls, and receives the new ones; None to keep nothing.

    Raises:
        InputError: a prompt leaves less room than `max_new_tokens` in the model's context.
    """
    identity = {**model.identity, "max_new_tokens": max_new_tokens}
    keys = [fingerprint({**identity, "prompt": item.prompt}) for item in items]
    known = [journal.get(key) if journal is not None else None for key in keys]
    prompts = [model.tokenize(model.render_chat(item.prompt)) for item in items]
    for item, ids in zip(items, prompts, strict=True):
        if len(ids) + max_new_tokens > model.context_length:
            raise InputError(
                f"{item.id} has {len(ids)} tokens, which leaves no room for {max_new_tokens} new ones in the context "
                f"of {model.context_length} tokens of {model.base}; remove it from the data, or lower max_new_tokens."
            )
    missing = [i for i, answer in enumerate(known) if answer is None]
    with Bar("Writing", len(items), "answers") as bar:
        bar.update(len(items) - len(missing))
        for batch in _batches(missing, prompts, batch_size, max_new_tokens, max_batch_tokens(model.model)):
            for i, answer in zip(
                batch, _generate_batch(model, [prompts[i] for i in batch], max_new_tokens), strict=True
            ):
                known[i] = answer
                if journal is not None:
                    journal.put(keys[i], answer)
            bar.update(len(batch))
    return [answer for answer in known if answer is not None]


def open_answer_journal(model: EvaluatedModel) -> Journal:
    """Open the journal of the answers that a model, with its adapter, has written in evaluations."""
    return Journal(cache_folder() / "journal" / f"written-{fingerprint(model.identity)}")


def score_written(task: Task, items: Sequence[Item], answers: Sequence[Answer], *, seed: int = 0) -> list[Scores]:
    """Return scores of the answers' format and length.

    - "format": share of answers that match the task's completion template, with fields that satisfy schema and rules
      (see `CompletionParser`); omitted, with a warning, where the template cannot be inverted.
    - "ended": share of answers that ended before the limit of new tokens.
    - "length": characters of the answers per character of the human answers.
    - "valid_letter", "written_letter" (multiple choice only): shares of answers that begin with the letter of any
      option, and with the right letter.

    Args:
        task: with its template, schema and rules.
        items: with their references.
        answers: one for each item, in the same order.
        seed: of the bootstrap.
    """
    ids = [item.id for item in items]
    ended = [float(answer.finish_reason == "stop") for answer in answers]
    sizes = [len(item.reference) for item in items]
    lengths = [len(answer.text) / size for answer, size in zip(answers, sizes, strict=True)]
    scores = [
        *_score_format(task, ids, answers),
        summarize("ended", "written answers that ended before the limit of new tokens", ids, ended),
        summarize(
            "length", "characters of the written answers per character of the human ones", ids, lengths, weights=sizes,
            higher_is_better=None, seed=seed,
        ),
    ]  # fmt: skip
    if not task.multiple_choice:
        return scores
    named = [leading_option(answer.text, item.labels) for answer, item in zip(answers, items, strict=True)]
    valid = [float(place is not None) for place in named]
    right = [float(place == item.answer) for place, item in zip(named, items, strict=True)]
    return [
        *scores,
        summarize("valid_letter", "written answers that begin with the letter of an option", ids, valid),
        summarize(
            "written_letter", "written answers that begin with the right letter", ids, right, chance=chance(items)
        ),
    ]


def _score_format(task: Task, ids: Sequence[str], answers: Sequence[Answer]) -> list[Scores]:
    try:
        parser = CompletionParser(task)
    except InputError as e:
        _logger.warning('the measure "format" is omitted: %s', e)
        return []
    followed = [float(parser.problem(answer.text) == "") for answer in answers]
    description = "written answers in the task's format: template, schema and rules"
    return [summarize("format", description, ids, followed)]


def _batches(
    order: Sequence[int], prompts: Sequence[Sequence[int]], batch_size: int, max_new_tokens: int, most: int
) -> Iterator[list[int]]:
    """Yield batches of prompt indices, longest first: at most `most` tokens with the new ones, or a single prompt."""
    batch: list[int] = []
    for i in sorted(order, key=lambda i: len(prompts[i]), reverse=True):
        longest = len(prompts[batch[0] if batch else i]) + max_new_tokens
        if batch and (len(batch) == batch_size or (len(batch) + 1) * longest > most):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _generate_batch(model: EvaluatedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> Iterator[Answer]:
    import torch

    tokenizer = model.tokenizer
    own = model.model.generation_config.eos_token_id
    stop_ids = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    ids, mask = pad(prompts, model.model.device, left=True)
    with torch.inference_mode():
        generated = model.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, temperature=None,
            top_p=None, top_k=None, eos_token_id=sorted(stop_ids), pad_token_id=min(stop_ids),
        )  # fmt: skip
    for prompt, row in zip(prompts, generated[:, ids.shape[1] :].tolist(), strict=True):
        end = next((i for i, token in enumerate(row) if token in stop_ids), len(row))
        text = tokenizer.decode(row[:end], skip_special_tokens=True).strip()
        yield Answer(text, "stop" if end < len(row) else "length", len(prompt), end)
