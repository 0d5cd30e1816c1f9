"""Log-probabilities of continuations, and the bits per byte of human answers that follow from them.

Bits per byte react even in models too small to answer a question right: every token of the reference answer counts, and
no answer format has to be learnt first.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from craft_hf.base import Bar, InputError
from craft_hf.evaluation.items import Item
from craft_hf.evaluation.model import EvaluatedModel, pad
from craft_hf.evaluation.statistics import Scores, summarize
from craft_hf.generation import max_batch_tokens

LikelihoodRequest = tuple[list[int], list[list[int]]]
"""Token ids of a prefix, and of its continuations; at least one continuation, of at least one token each."""

_MAX_CONTINUATION_TOKENS = {"cpu": 2_048, "cuda": 16_384}
"""Limit of continuation tokens per batch, by device type: logits are kept for each of them."""


def score_bits_per_byte(
    model: EvaluatedModel, items: Sequence[Item], *, batch_size: int = 16, seed: int = 0
) -> list[Scores]:
    """Return the bits per UTF-8 byte of the reference answers, given their prompts; lower is better.

    The mean is the sum of bits over the sum of bytes. The token that ends the assistant's turn is not counted.

    Args:
        model: the model under evaluation.
        items: with their references; two or more.
        batch_size: most items in a batch; affects values only by rounding.
        seed: of the bootstrap.

    Raises:
        InputError: an item exceeds the model's context, or there are fewer than two items.
    """
    requests = [likelihood_request(model, item.prompt, [item.reference], item.id) for item in items]
    found = log_probabilities(model, requests, batch_size, "Scoring human answers")
    sizes = [len(item.reference.encode()) for item in items]
    values = [-value / math.log(2) / size for [value], size in zip(found, sizes, strict=True)]
    description = "bits per UTF-8 byte of the human answer, given the prompt"
    ids = [item.id for item in items]
    return [
        summarize("bits_per_byte", description, ids, values, weights=sizes, higher_is_better=False, seed=seed),
    ]  # fmt: skip


def likelihood_request(model: EvaluatedModel, prompt: str, answers: Sequence[str], item_id: str) -> LikelihoodRequest:
    """Return the token ids of a prompt in the chat template, and of each answer as its continuation.

    Prompt and answer are tokenized together, so an answer's first token is the one that the model would generate.

    Raises:
        InputError: prompt and longest answer exceed the model's context; the message names `item_id`.
    """
    rendered = model.render_chat(prompt)
    prefix = model.tokenize(rendered)
    sequences = [model.tokenize(rendered + answer) for answer in answers]
    if (longest := max(map(len, sequences))) > model.context_length:
        raise InputError(
            f"{item_id} has {longest} tokens, which exceeds the context of {model.context_length} tokens of "
            f"{model.base}; remove it from the data."
        )
    shared = min(_common_prefix_length(prefix, ids) for ids in sequences)
    return prefix[:shared], [ids[shared:] for ids in sequences]


def log_probabilities(
    model: EvaluatedModel, requests: Sequence[LikelihoodRequest], batch_size: int, activity: str = "Scoring"
) -> list[list[float]]:
    """Return the natural log-probability of each continuation of each request, in the order given.

    Args:
        model: a causal language model with a key-value cache.
        requests: prefixes with their continuations.
        batch_size: most prefixes in a batch.
        activity: what the progress says.
    """
    results: list[list[float]] = [[] for _ in requests]
    most_continued = _MAX_CONTINUATION_TOKENS.get(model.model.device.type, _MAX_CONTINUATION_TOKENS["cpu"])
    with Bar(activity, len(requests), "items") as bar:
        for batch in _batches(requests, batch_size, max_batch_tokens(model.model), most_continued):
            for i, sums in zip(batch, _score_batch(model, [requests[i] for i in batch]), strict=True):
                results[i] = sums
            bar.update(len(batch))
    return results


def _batches(
    requests: Sequence[LikelihoodRequest], batch_size: int, most: int, most_continued: int
) -> Iterator[list[int]]:
    """Yield batches of request indices, longest prefixes first, each within the limits or of a single request.

    All requests of a batch have the same number of continuations. `most` limits the tokens of prefixes and
    continuations together, `most_continued` those of continuations alone.
    """
    order = sorted(range(len(requests)), key=lambda i: (len(requests[i][1]), len(requests[i][0])), reverse=True)
    for count, group in itertools.groupby(order, key=lambda i: len(requests[i][1])):
        batch: list[int] = []
        longest = 0
        for i in group:
            continued = max(longest, *map(len, requests[i][1]))
            prefix = len(requests[batch[0] if batch else i][0])
            rows = len(batch) + 1
            if batch and (
                rows > batch_size
                or rows * count * (prefix + continued) > most
                or rows * count * continued > most_continued
            ):
                yield batch
                batch, continued = [], max(map(len, requests[i][1]))
            batch.append(i)
            longest = continued
        yield batch


def _score_batch(model: EvaluatedModel, batch: Sequence[LikelihoodRequest]) -> list[list[float]]:
    """Run each prefix through the model once, then all of its continuations on copies of its key-value cache."""
    import torch

    network, k = model.model, len(batch[0][1])
    continuations = [ids for _, answers in batch for ids in answers]
    ids, mask = pad([prefix for prefix, _ in batch], network.device, left=True)
    with torch.inference_mode():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        more = max(map(len, continuations)) > 1
        out = network(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=more, logits_to_keep=1)
        first = out.logits[:, -1].float().log_softmax(-1).repeat_interleave(k, 0)
        first_tokens = torch.tensor([tokens[0] for tokens in continuations], device=network.device)
        sums = first[torch.arange(len(continuations)), first_tokens]
        if more:
            cache = out.past_key_values
            cache.batch_repeat_interleave(k)
            inputs, inputs_mask = pad([tokens[:-1] for tokens in continuations], network.device, left=False)
            targets, _ = pad([tokens[1:] for tokens in continuations], network.device, left=False)
            before = mask.repeat_interleave(k, 0)
            logits = network(
                input_ids=inputs,
                attention_mask=torch.cat([before, inputs_mask], 1),
                position_ids=before.sum(-1, keepdim=True) + torch.arange(inputs.shape[1], device=network.device),
                past_key_values=cache,
            ).logits
            token_log_probs = logits.float().log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
            sums = sums + (token_log_probs * inputs_mask).sum(-1)
    values: list[list[float]] = sums.view(len(batch), k).tolist()
    return values


def _common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
