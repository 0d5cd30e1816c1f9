"""Key-value caches: one for the prefix that batches share, one for the tokens of a batch's own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from craft_hf.generation.local.batches import Tokens
from craft_hf.generation.local.shared_prefix_attention import Layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MAX_TOKENS_ON_CPU = 32_768

_STEP = 64
"""Tokens by which a layer grows at a time, so that it is copied every 64 tokens instead of at every token."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types here
    """A cache layer whose buffers grow in steps of `_STEP` tokens."""

    is_initialized: bool

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, each (rows, heads, new tokens, head dimension); return all of them."""
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
            self._buffers = (self.keys, self.values)
            self.is_initialized = True
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            self._buffers = (_grown(self.keys, end + _STEP), _grown(self.values, end + _STEP))
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = new
        self.keys, self.values = (buffer[:, :, :end] for buffer in self._buffers)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows."""
        super().batch_select_indices(indices)
        self._buffers = (self.keys, self.values)


def _grown(tensor: torch.Tensor, length: int) -> torch.Tensor:
    rows, heads, used, dimension = tensor.shape
    grown = tensor.new_empty(rows, heads, length, dimension)
    grown[:, :, :used] = tensor
    return grown


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """Return an empty cache for the rows of a batch."""
    cache = DynamicCache(config=model.config)
    if keeps_all_tokens(model):
        cache.layers = [GrowingLayer() for _ in cache.layers]
    return cache


def keeps_all_tokens(model: PreTrainedModel) -> bool:
    """Whether the model keeps the keys and values of all tokens (no sliding window, no recurrent state).

    Only then can rows share a prefix.
    """
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def max_batch_tokens(model: PreTrainedModel) -> int:
    """Return how many tokens a batch's cache may hold: on a GPU, half of the memory beside the weights."""
    if model.device.type != "cuda":
        return _MAX_TOKENS_ON_CPU
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    free = torch.cuda.get_device_properties(model.device).total_memory - weights
    return max(int(free // 2 // token), 1)


class PrefixCache:
    """The keys and values of shared prefix parts; those that the next batch shares too are not computed again.

    Each part is computed in a pass of its own, whatever is cached, so that the numbers do not depend on the order of
    batches.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._parts: tuple[Tokens, ...] = ()
        self._layers: list[Layers] = [()]

    def get(self, parts: tuple[Tokens, ...]) -> tuple[Layers, int]:
        """Return the keys and values of these parts, concatenated, and how many tokens had to be computed."""
        same = 0
        while same < min(len(parts), len(self._parts)) and parts[same] == self._parts[same]:
            same += 1
        self._parts = parts[:same]
        del self._layers[same + 1 :]
        for part in parts[same:]:
            self._layers.append(self._compute(part))
            self._parts = (*self._parts, part)
        return self._layers[-1], sum(map(len, parts[same:]))

    @torch.inference_mode()
    def _compute(self, part: Tokens) -> Layers:
        """Run the model over one more part, behind those that are cached."""
        before = self._layers[-1]
        start = before[0][0].shape[2] if before else 0
        ids = torch.tensor([part], device=self._model.device)
        positions = torch.arange(start, start + len(part), device=self._model.device)[None]
        cache = DynamicCache(config=self._model.config)
        self._model(
            input_ids=ids, attention_mask=causal_mask(torch.ones_like(ids), len(part), self._model.dtype),
            position_ids=positions, past_key_values=cache, shared_prefix=before, logits_to_keep=1,
        )  # fmt: skip
        new = [(layer.keys, layer.values) for layer in cache.layers]
        if not before:
            return new
        return [
            (torch.cat([k, more_k], dim=2), torch.cat([v, more_v], dim=2))
            for (k, v), (more_k, more_v) in zip(before, new, strict=True)
        ]


def causal_mask(tokens: torch.Tensor, new: int, dtype: torch.dtype) -> torch.Tensor:
    """Return the mask, added to attention scores, that hides later tokens and padding from each token.

    Args:
        tokens: 1 for a token, 0 for padding, (rows, tokens).
        new: how many of the tokens, from the end, are queries.
        dtype: of the model.

    Returns:
        (rows, 1, new, tokens); padding sees itself, because softmax is not defined for a row that sees nothing.
    """
    columns = torch.arange(tokens.shape[1], device=tokens.device)
    rows = columns[-new:, None]
    visible = ((columns <= rows) & tokens[:, None, None, :].bool()) | (columns == rows)
    return torch.zeros(visible.shape, dtype=dtype, device=tokens.device).masked_fill_(~visible, torch.finfo(dtype).min)
