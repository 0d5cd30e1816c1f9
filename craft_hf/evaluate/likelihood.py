"""How likely a model finds texts: prefixes and continuations come in, log-probabilities and bits per byte go out.

Bits per byte move where a small model gets no question right yet: every token of a human answer counts, and no format
has to be learnt first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from craft_hf.base import InputError
from craft_hf.evaluate.items import Item
from craft_hf.evaluate.model import Student, padded
from craft_hf.evaluate.statistics import Scores, summarize
from craft_hf.generate import most_tokens

Asked = tuple[list[int], list[list[int]]]
"""Token ids of a prefix, and of the continuations of it, one or more each."""

_SAID = {"cpu": 2_048, "cuda": 16_384}
"""Tokens of the continuations that a batch has at most, by device: they need logits of all tokens."""


def bits_per_byte(
    student: Student, items: Sequence[Item], *, batch_size: int = 16, seed: int = 0, progress: bool = True
) -> list[Scores]:
    """Return what the human answers cost, in bits for each of their UTF-8 bytes, given the prompt; less is better.

    The mean is all bits over all bytes. The end of the assistant's turn is not counted.

    Args:
        student: the model.
        items: with their references.
        batch_size: items that the model reads at once, at most; changes no value but by rounding.
        seed: draws the bootstrap samples.
        progress: show a bar.

    Raises:
        InputError: an item does not fit into the model's context, or there are fewer than two.
    """
    asked = [continuations(student, item.prompt, [item.reference], item.id) for item in items]
    found = log_probabilities(student, asked, batch_size, "bits_per_byte" if progress else "")
    sizes = [len(item.reference.encode()) for item in items]
    values = [-value / math.log(2) / size for [value], size in zip(found, sizes, strict=True)]
    what = "bits for each UTF-8 byte of the human answer, given the prompt"
    ids = [item.id for item in items]
    return [
        summarize("bits_per_byte", what, ids, values, weights=sizes, higher_is_better=False, seed=seed),
    ]  # fmt: skip


def continuations(student: Student, prompt: str, answers: Sequence[str], name: str) -> Asked:
    """Return the tokens of a prompt, up to where the answers begin, and of each answer.

    Prompt and answer are tokenized together, so that an answer's first token is the one that the model would write.

    Raises:
        InputError: the longest of them does not fit into the model's context; `name` is the item that it names.
    """
    head = student.head(prompt)
    start = student.tokens(head)
    whole = [student.tokens(head + answer) for answer in answers]
    if (longest := max(map(len, whole))) > student.context:
        raise InputError(
            f"{name} has {longest} tokens, but {student.base} reads {student.context} at most; leave it out."
        )
    shared = min(_common(start, ids) for ids in whole)
    return start[:shared], [ids[shared:] for ids in whole]


def log_probabilities(student: Student, asked: Sequence[Asked], batch_size: int, bar: str = "") -> list[list[float]]:
    """Return the natural log-probability of each continuation of each prefix, in the order given.

    Args:
        student: a causal language model with a key-value cache.
        asked: prefixes with their continuations.
        batch_size: prefixes that the model reads at once, at most.
        bar: name of the progress bar; no bar without one.
    """
    from datasets.utils import tqdm

    results: list[list[float]] = [[] for _ in asked]
    with tqdm(total=len(asked), desc=bar, unit=" items", disable=not bar) as progress:
        said = _SAID.get(student.model.device.type, _SAID["cpu"])
        for batch in _batches(asked, batch_size, most_tokens(student.model), said):
            for i, sums in zip(batch, _score(student, [asked[i] for i in batch]), strict=True):
                results[i] = sums
            progress.update(len(batch))
    return results


def _batches(asked: Sequence[Asked], batch_size: int, most: int, most_said: int) -> Iterator[list[int]]:
    """Yield places of prefixes with as many continuations each, longest first, within the limits; one at least."""
    order = sorted(range(len(asked)), key=lambda i: (len(asked[i][1]), len(asked[i][0])), reverse=True)
    for count, group in itertools.groupby(order, key=lambda i: len(asked[i][1])):
        batch: list[int] = []
        longest = 0
        for i in group:
            said = max(longest, *map(len, asked[i][1]))
            read = len(asked[batch[0] if batch else i][0])
            rows = len(batch) + 1
            if batch and (rows > batch_size or rows * count * (read + said) > most or rows * count * said > most_said):
                yield batch
                batch, said = [], max(map(len, asked[i][1]))
            batch.append(i)
            longest = said
        yield batch


def _score(student: Student, batch: Sequence[Asked]) -> list[list[float]]:
    """Read each prefix once, then all of its continuations on copies of its cache."""
    import torch

    model, k = student.model, len(batch[0][1])
    tails = [tail for _, answers in batch for tail in answers]
    ids, mask = padded([prefix for prefix, _ in batch], model.device, left=True)
    with torch.inference_mode():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        more = max(map(len, tails)) > 1
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=more, logits_to_keep=1)
        first = out.logits[:, -1].float().log_softmax(-1).repeat_interleave(k, 0)
        sums = first[torch.arange(len(tails)), torch.tensor([tail[0] for tail in tails], device=model.device)]
        if more:
            cache = out.past_key_values
            cache.batch_repeat_interleave(k)
            said, said_mask = padded([tail[:-1] for tail in tails], model.device, left=False)
            target, _ = padded([tail[1:] for tail in tails], model.device, left=False)
            before = mask.repeat_interleave(k, 0)
            logits = model(
                input_ids=said,
                attention_mask=torch.cat([before, said_mask], 1),
                position_ids=before.sum(-1, keepdim=True) + torch.arange(said.shape[1], device=model.device),
                past_key_values=cache,
            ).logits
            each = logits.float().log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
            sums = sums + (each * said_mask).sum(-1)
    values: list[list[float]] = sums.view(len(batch), k).tolist()
    return values


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common start of two sequences."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
