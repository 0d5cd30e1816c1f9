"""Attention over a prefix that all rows of a batch share: its keys and values are read once a step, not once a row.

A row attends to the prefix and to its own tokens. Both parts are computed apart, the first for all rows in one product,
and put together by the logarithms of their softmax sums, which gives what attention over all tokens would give (as in
Hydragen, arXiv 2402.05099). transformers calls `attend` for models that were loaded with `NAME` as their attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface

NAME = "craft_hf"
"""Name under which transformers knows this attention."""

_MOST_SCORES = 2**27
"""Scores that are held at a time where there is no kernel that holds none (512 MiB)."""

Layers = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of a prefix, for each layer, each (1, key heads, tokens, head dimension)."""


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    shared_prefix: Layers = (),
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend to the shared prefix and to the rows' own tokens.

    Args:
        module: the attention layer; its `layer_idx` says which part of the prefix is meant.
        query: (rows, heads, new tokens, head dimension).
        key: (rows, key heads, own tokens, head dimension); heads may be a multiple of key heads.
        value: as key.
        attention_mask: added to the scores of the own tokens, (rows, 1, new tokens, own tokens); no row of it may hide
            every token. None hides nothing.
        scaling: factor of the scores; by default 1 / sqrt(head dimension).
        shared_prefix: keys and values that come before those of all rows, for each layer; nothing for no prefix.
        softcap: what a model bends its scores with.

    Returns:
        (rows, new tokens, heads, head dimension), and nothing for the weights.

    Raises:
        ValueError: there is a softcap, which the kernels here do not know.
    """
    if softcap is not None:
        raise ValueError(f"softcap is {softcap}, expected none.")
    rows, heads, new, dimension = query.shape
    key_heads = key.shape[1]
    group = heads // key_heads
    scaling = dimension**-0.5 if scaling is None else scaling
    folded = query.reshape(rows, key_heads, group * new, dimension)  # heads with the same keys, one after the other
    mask = None if attention_mask is None else attention_mask.expand(rows, 1, new, key.shape[2]).repeat(1, 1, group, 1)
    out, weight = _part(folded, key, value, mask, scaling)
    if shared_prefix:
        before_key, before_value = shared_prefix[int(module.layer_idx)]  # type: ignore[arg-type]
        together = folded.transpose(0, 1).reshape(1, key_heads, rows * group * new, dimension)
        before, before_weight = _part(together, before_key, before_value, None, scaling)
        before = before.reshape(key_heads, rows, group * new, dimension).transpose(0, 1)
        before_weight = before_weight.reshape(key_heads, rows, group * new).transpose(0, 1)
        share = torch.sigmoid(before_weight - weight)[..., None]
        out = torch.lerp(out.float(), before.float(), share).to(query.dtype)
    return out.reshape(rows, heads, new, dimension).transpose(1, 2), None


def _part(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention over some keys, (rows, heads, queries, dimension), and its log-sum-exp, (rows, heads, queries).

    As many query heads as key heads.
    """
    if query.device.type == "cpu":
        out, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=mask, scale=scaling
        )
        return out, weight
    return _part_in_steps(query, key, value, mask, scaling)


def _part_in_steps(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do the same with nothing but matrix products, for some queries at a time."""
    size = max(1, _MOST_SCORES // (query.shape[0] * query.shape[1] * key.shape[2]))
    outs, weights = [], []
    for start in range(0, query.shape[2], size):
        some = slice(start, start + size)
        scores = (query[:, :, some] @ key.transpose(2, 3)).float() * scaling
        if mask is not None:
            scores = scores + mask[:, :, some]
        weights.append(scores.logsumexp(-1))
        outs.append((scores - weights[-1][..., None]).exp().to(value.dtype) @ value)
    return torch.cat(outs, dim=2), torch.cat(weights, dim=2)


AttentionInterface.register(NAME, attend)
