"""Decoding of one batch: sampling, constrained to JSON, with each answer yielded as soon as its row is finished."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from craft_hf.base import CUT, OVERLONG, Answer, fingerprint
from craft_hf.generation.generator import Sampling
from craft_hf.generation.local.batches import Batch
from craft_hf.generation.local.constrained_decoding import JsonConstraint
from craft_hf.generation.local.kv_cache import causal_mask, new_cache
from craft_hf.generation.local.shared_prefix_attention import Layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\.")
_CHECK_EVERY = 16
"""Tokens between two checks of whether a row can still become a valid answer."""


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Batch,
    shared: Layers | None,
    constraint: JsonConstraint,
    sampling: Sampling,
) -> Iterator[tuple[int, Answer]]:
    """Yield (row, answer) for each row once its JSON is complete, can no longer be valid, or is at the token limit.

    Args:
        model: a causal language model.
        tokenizer: the model's.
        batch: the prompts to answer.
        shared: keys and values of the batch's shared parts, for a model with `shared_prefix_attention`; None for a
            model with its own attention.
        constraint: the form of an answer.
        sampling: sampling parameters.
    """
    suffixes, device = batch.suffixes, model.device
    prefix_length = shared[0][0].shape[2] if shared else 0
    token_mask = torch.tensor(
        [[0] * (max(map(len, suffixes)) - len(s)) + [1] * len(s) for s in suffixes], device=device
    )
    ids = torch.zeros_like(token_mask)
    for row, suffix in enumerate(suffixes):
        ids[row, -len(suffix) :] = torch.tensor(suffix, device=device)
    positions = prefix_length + (token_mask.cumsum(1) - 1).clamp(min=0)
    cache, extra = new_cache(model), {} if shared is None else {"shared_prefix": shared}
    grammar, longest = constraint.start(len(suffixes)), constraint.max_string_length
    uniforms = np.stack([_uniforms(e.prompt.key, sampling) for e in batch.rows])
    active = list(range(len(suffixes)))
    tokens: list[list[int]] = [[] for _ in suffixes]
    for step in range(sampling.max_new_tokens):
        mask = token_mask if shared is None else causal_mask(token_mask, ids.shape[1], model.dtype)
        out = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1, **extra
        )
        logits = out.logits[:, -1].float()
        grammar.mask(logits)
        sampled = sample_tokens(logits, sampling, uniforms[active, step])
        for row, token in zip(active, sampled, strict=True):
            tokens[row].append(token)
        complete = grammar.accept(sampled)
        last = step + 1 == sampling.max_new_tokens
        remaining = []
        for i, row in enumerate(active):
            check = complete[i] or last or (step + 1) % _CHECK_EVERY == 0
            text = tokenizer.decode(tokens[row], skip_special_tokens=True) if check else ""
            if complete[i] or last or characters_of_last_string(text) > longest:
                reason = "stop" if complete[i] else CUT if last else OVERLONG
                yield row, Answer(text, reason, len(batch.rows[row]), len(tokens[row]), prefix_length)
            else:
                remaining.append(i)
        if not remaining:
            return
        if len(remaining) < len(active):
            grammar.keep(remaining)
            cache.batch_select_indices(torch.tensor(remaining, device=device))
            token_mask, positions = token_mask[remaining], positions[remaining]
            active = [active[i] for i in remaining]
        ids = torch.tensor([[tokens[row][-1]] for row in active], device=device)
        token_mask = torch.cat([token_mask, token_mask.new_ones((len(active), 1))], dim=1)
        positions = positions[:, -1:] + 1


def characters_of_last_string(json_text: str) -> int:
    """Return how many characters follow the last unescaped quote; an escape sequence counts as one."""
    return len(_ESCAPE.sub("x", json_text).rpartition('"')[2])


def _uniforms(key: str, sampling: Sampling) -> np.ndarray:
    """Return a uniform random number in [0, 1) for every token that the prompt's answer may have."""
    seed = int(fingerprint([key, sampling.seed]), 16)
    return np.random.default_rng(seed).random(sampling.max_new_tokens)


def sample_tokens(logits: torch.Tensor, sampling: Sampling, uniforms: np.ndarray) -> list[int]:
    """Sample one token a row: temperature, then top-k, then top-p, then the inverse of the cumulative distribution.

    Args:
        logits: (rows, vocabulary), masked tokens at minus infinity.
        sampling: a temperature of 0 takes the likeliest token.
        uniforms: (rows,), in [0, 1).
    """
    if sampling.temperature == 0:
        return cast(list[int], logits.argmax(-1).tolist())
    k = min(sampling.top_k, logits.shape[-1]) if sampling.top_k > 0 else logits.shape[-1]
    best, tokens = (logits / sampling.temperature).topk(k, dim=-1)
    probabilities = best.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    cumulative = probabilities.cumsum(-1)
    threshold = torch.as_tensor(uniforms, device=logits.device, dtype=cumulative.dtype)[:, None] * cumulative[:, -1:]
    choice = (cumulative <= threshold).sum(-1, keepdim=True).clamp(max=k - 1)
    # Rounding can make the threshold equal the total, which must not select a token of probability 0.
    choice = torch.minimum(choice, (probabilities > 0).sum(-1, keepdim=True) - 1)
    return cast(list[int], tokens.gather(-1, choice)[:, 0].tolist())
