"""Decoding a batch: prompts behind a shared prefix come in, answers go out, each as soon as its row is finished."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from craft_hf.base import Answer, fingerprint
from craft_hf.generation.generator import Sampling
from craft_hf.generation.local.attention import Layers
from craft_hf.generation.local.batches import Batch
from craft_hf.generation.local.cache import causal_mask, own_cache
from craft_hf.generation.local.grammar import JsonGrammar

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\.")
_LOOK_EVERY = 16
"""Tokens between two looks at whether a row still can become a valid answer."""


@torch.inference_mode()
def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    batch: Batch,
    shared: Layers | None,
    grammar: JsonGrammar,
    sampling: Sampling,
) -> Iterator[tuple[int, Answer]]:
    """Yield (row, answer); a row leaves when its JSON is complete or can no longer be valid, or at the token limit.

    Args:
        model: a causal language model.
        tokenizer: the model's.
        batch: what to answer.
        shared: keys and values of what the batch shares, for a model with our attention; None for one with its own.
        grammar: what an answer may be.
        sampling: how tokens are drawn.
    """
    suffixes, device = batch.suffixes, model.device
    before = shared[0][0].shape[2] if shared else 0
    own = torch.tensor([[0] * (max(map(len, suffixes)) - len(s)) + [1] * len(s) for s in suffixes], device=device)
    ids = torch.zeros_like(own)
    for row, suffix in enumerate(suffixes):
        ids[row, -len(suffix) :] = torch.tensor(suffix, device=device)
    positions = before + (own.cumsum(1) - 1).clamp(min=0)
    cache, extra = own_cache(model), {} if shared is None else {"shared_prefix": shared}
    states, longest = grammar.rows(len(suffixes)), grammar.longest_string
    draws = np.stack([_uniforms(e.prompt.key, sampling) for e in batch.rows])
    open_rows = list(range(len(suffixes)))
    tokens: list[list[int]] = [[] for _ in suffixes]
    for step in range(sampling.max_new_tokens):
        mask = own if shared is None else causal_mask(own, ids.shape[1], model.dtype)
        out = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1, **extra
        )
        logits = out.logits[:, -1].float()
        states.mask(logits)
        drawn = sample_tokens(logits, sampling, draws[open_rows, step])
        for row, token in zip(open_rows, drawn, strict=True):
            tokens[row].append(token)
        complete = states.accept(drawn)
        last = step + 1 == sampling.max_new_tokens
        going = []
        for i, row in enumerate(open_rows):
            look = complete[i] or last or (step + 1) % _LOOK_EVERY == 0
            text = tokenizer.decode(tokens[row], skip_special_tokens=True) if look else ""
            if complete[i] or last or characters_of_last_string(text) > longest:
                reason = "stop" if complete[i] else "length" if last else "overlong"
                yield row, Answer(text, reason, len(batch.rows[row]), len(tokens[row]), before)
            else:
                going.append(i)
        if not going:
            return
        if len(going) < len(open_rows):
            states.keep(going)
            cache.batch_select_indices(torch.tensor(going, device=device))
            own, positions = own[going], positions[going]
            open_rows = [open_rows[i] for i in going]
        ids = torch.tensor([[tokens[row][-1]] for row in open_rows], device=device)
        own = torch.cat([own, own.new_ones((len(open_rows), 1))], dim=1)
        positions = positions[:, -1:] + 1


def characters_of_last_string(json_text: str) -> int:
    """Return how many characters are behind the last quote that is not escaped; an escape counts as one."""
    return len(_ESCAPE.sub("x", json_text).rpartition('"')[2])


def _uniforms(key: str, sampling: Sampling) -> np.ndarray:
    """Return one uniform number in [0, 1) for every token that the prompt's answer may have."""
    seed = int(fingerprint([key, sampling.seed]), 16)
    return np.random.default_rng(seed).random(sampling.max_new_tokens)


def sample_tokens(logits: torch.Tensor, sampling: Sampling, uniforms: np.ndarray) -> list[int]:
    """Draw one token a row: temperature, then top-k, then top-p, then the inverse of the cumulative distribution.

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
    # A draw of exactly the total, through rounding, must not land on a token of probability 0.
    choice = torch.minimum(choice, (probabilities > 0).sum(-1, keepdim=True) - 1)
    return cast(list[int], tokens.gather(-1, choice)[:, 0].tolist())
