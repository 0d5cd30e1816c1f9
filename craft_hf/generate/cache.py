"""Key-value caches: that of a shared prefix is computed once, and put before the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_STEP = 64
"""Tokens by which a layer grows at a time: it is copied every 64 tokens instead of with every token."""


def shares_prefixes(model: PreTrainedModel) -> bool:
    """Whether the model keeps all keys and values, so that a prefix can be reused (no sliding window, no state)."""
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of a prefix, for each layer (1, heads, tokens, head dimension)."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    length: int

    @classmethod
    def compute(cls, model: PreTrainedModel, ids: Sequence[int]) -> PrefixCache:
        """Run the prefix through the model; an empty prefix gives an empty cache."""
        if not ids:
            return cls((), 0)
        cache = DynamicCache(config=model.config)
        model(input_ids=torch.tensor([list(ids)], device=model.device), past_key_values=cache, logits_to_keep=1)
        return cls(tuple((layer.keys, layer.values) for layer in cache.layers), len(ids))

    @property
    def nbytes(self) -> int:
        """Memory that the cache takes, in bytes."""
        return sum(k.nbytes + v.nbytes for k, v in self.layers)


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types here
    """A cache layer that starts with the prefixes of its rows and grows in steps."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.dtype, self.device = keys.dtype, keys.device
        self.keys, self.values = keys, values
        self._buffers = (keys, values)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, each (rows, heads, new tokens, head dimension); returns all of them."""
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            self._buffers = (_grown(self.keys, end + _STEP), _grown(self.values, end + _STEP))
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = new
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows only."""
        super().batch_select_indices(indices)
        self._buffers = (self.keys, self.values)


def _grown(tensor: torch.Tensor, length: int) -> torch.Tensor:
    rows, heads, used, dimension = tensor.shape
    grown = tensor.new_empty(rows, heads, length, dimension)
    grown[:, :, :used] = tensor
    return grown


def batch_cache(model: PreTrainedModel, prefixes: Sequence[PrefixCache]) -> tuple[DynamicCache, torch.Tensor]:
    """Put the prefixes of a batch side by side, padded on the left to the longest.

    Args:
        model: decides the kind of cache where there are no prefixes.
        prefixes: one for each row; rows of one group pass the same object.

    Returns:
        The cache, and the attention mask of what is in it, int64 (rows, longest prefix).
    """
    longest = max(p.length for p in prefixes)
    mask = torch.tensor([[0] * (longest - p.length) + [1] * p.length for p in prefixes], dtype=torch.long)
    cache = DynamicCache(config=model.config)
    if longest:
        cache.layers = [
            GrowingLayer(_side_by_side(prefixes, i, 0, longest), _side_by_side(prefixes, i, 1, longest))
            for i in range(len(cache.layers))
        ]
    return cache, mask.reshape(len(prefixes), longest)


def _side_by_side(prefixes: Sequence[PrefixCache], layer: int, part: int, longest: int) -> torch.Tensor:
    some = next(p.layers[layer][part] for p in prefixes if p.length)
    _, heads, _, dimension = some.shape
    out = some.new_zeros(len(prefixes), heads, longest, dimension)
    for row, prefix in enumerate(prefixes):
        if prefix.length:
            out[row, :, longest - prefix.length :] = prefix.layers[layer][part][0]
    return out
