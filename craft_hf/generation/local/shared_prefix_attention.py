"""Attention over a prefix that all rows of a batch share: its keys and values are read once a step, not once a row.

Attention to the prefix is computed for all rows in one product, attention to a row's own tokens as usual. The two are
combined by their log-sum-exps, which equals attention over all tokens (as in Hydragen, arXiv 2402.05099). transformers
calls `attend` in models that use the attention implementation `NAME`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface

NAME = "craft_hf"
"""Name of this attention implementation in transformers."""

_MAX_SCORES = 2**27
"""Attention scores that are in memory at a time (512 MiB), where no fused kernel is used."""

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
    """Compute attention to the shared prefix and to each row's own tokens.

    Args:
        module: the attention layer; its `layer_idx` says which part of the prefix is meant.
        query: (rows, heads, new tokens, head dimension).
        key: (rows, key heads, own tokens, head dimension); heads may be a multiple of key heads.
        value: as key.
        attention_mask: added to the scores of the own tokens, (rows, 1, new tokens, own tokens); no row of it may hide
            every token. None hides nothing.
        scaling: factor of the scores; by default 1 / sqrt(head dimension).
        shared_prefix: keys and values of the prefix of all rows, for each layer; empty for none.
        softcap: the model's cap of attention scores; not supported.

    Returns:
        (rows, new tokens, heads, head dimension), and None for the attention weights.

    Raises:
        ValueError: the model caps its attention scores.
    """
    if softcap is not None:
        raise ValueError(f"softcap is {softcap}, expected none.")
    rows, heads, new, dimension = query.shape
    key_heads = key.shape[1]
    group = heads // key_heads
    scaling = dimension**-0.5 if scaling is None else scaling
    folded = query.reshape(rows, key_heads, group * new, dimension)  # query heads of the same key head are adjacent
    mask = None if attention_mask is None else attention_mask.expand(rows, 1, new, key.shape[2]).repeat(1, 1, group, 1)
    out, log_sum = _partial_attention(folded, key, value, mask, scaling)
    if shared_prefix:
        prefix_key, prefix_value = shared_prefix[int(module.layer_idx)]  # type: ignore[arg-type]
        all_rows = folded.transpose(0, 1).reshape(1, key_heads, rows * group * new, dimension)
        prefix_out, prefix_log_sum = _partial_attention(all_rows, prefix_key, prefix_value, None, scaling)
        prefix_out = prefix_out.reshape(key_heads, rows, group * new, dimension).transpose(0, 1)
        prefix_log_sum = prefix_log_sum.reshape(key_heads, rows, group * new).transpose(0, 1)
        share = torch.sigmoid(prefix_log_sum - log_sum)[..., None]
        out = torch.lerp(out.float(), prefix_out.float(), share).to(query.dtype)
    return out.reshape(rows, heads, new, dimension).transpose(1, 2), None


def _partial_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention over some keys, (rows, heads, queries, dimension), and its log-sum-exp, (rows, heads, queries).

    There must be as many query heads as key heads.
    """
    if query.device.type == "cpu":
        out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, attn_mask=mask, scale=scaling
        )
        return out, log_sum
    return _partial_attention_chunked(query, key, value, mask, scaling)


def _partial_attention_chunked(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do the same with matrix products, in chunks of queries."""
    size = max(1, _MAX_SCORES // (query.shape[0] * query.shape[1] * key.shape[2]))
    outs, log_sums = [], []
    for start in range(0, query.shape[2], size):
        chunk = slice(start, start + size)
        scores = (query[:, :, chunk] @ key.transpose(2, 3)).float() * scaling
        if mask is not None:
            scores = scores + mask[:, :, chunk]
        log_sums.append(scores.logsumexp(-1))
        outs.append((scores - log_sums[-1][..., None]).exp().to(value.dtype) @ value)
    return torch.cat(outs, dim=2), torch.cat(log_sums, dim=2)


AttentionInterface.register(NAME, attend)
