"""Attention in two parts gives what attention over everything gives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.generation.local import shared_prefix_attention as attend_module
from craft_hf.generation.local.kv_cache import causal_mask
from craft_hf.generation.local.shared_prefix_attention import attend


def whole(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, prefix: list[torch.Tensor]
) -> torch.Tensor:
    """The reference: prefix and own tokens in one, keys repeated for their heads, all scores at once, in float64."""
    rows, heads, _, dimension = query.shape
    keys, values = (
        torch.cat([before.expand(rows, -1, -1, -1), own], dim=2).double().repeat_interleave(heads // own.shape[1], 1)
        for before, own in zip(prefix, (key, value), strict=True)
    )
    mask = torch.nn.functional.pad(mask.double(), (prefix[0].shape[2], 0))
    scores = query.double() @ keys.transpose(2, 3) / dimension**0.5 + mask
    return (scores.softmax(-1) @ values).transpose(1, 2)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 4), groups=st.integers(1, 3), key_heads=st.integers(1, 3), before=st.integers(0, 40),
    past=st.integers(0, 20), new=st.integers(1, 20), in_steps=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_two_parts_are_the_whole(
    rows: int, groups: int, key_heads: int, before: int, past: int, new: int, in_steps: bool, seed: int
) -> None:
    """Any number of rows, heads and tokens, with padding; by the kernel, and step by step as on a GPU."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    query = draw(rows, groups * key_heads, new, 8)
    key, value = draw(rows, key_heads, past + new, 8), draw(rows, key_heads, past + new, 8)
    prefix = [draw(1, key_heads, before, 8), draw(1, key_heads, before, 8)]
    own = torch.ones(rows, past + new, dtype=torch.long)
    for row in range(rows):
        own[row, : seed * row % (past + new)] = 0
    mask = causal_mask(own, new, torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        if in_steps:
            patch.setattr(attend_module, "_partial_attention", attend_module._partial_attention_chunked)
            patch.setattr(attend_module, "_MAX_SCORES", 50)
        shared = [None, tuple(prefix)] if before else ()
        found, _ = attend(SimpleNamespace(layer_idx=1), query, key, value, mask, shared_prefix=shared)  # type: ignore[arg-type]
    torch.testing.assert_close(found.double(), whole(query, key, value, mask, prefix), rtol=1e-4, atol=1e-5)


def test_mask_hides_later_tokens_and_padding() -> None:
    """A token sees itself and the earlier ones; padding sees itself only."""
    own = torch.tensor([[0, 1, 1], [1, 1, 1]])
    seen = causal_mask(own, 3, torch.float32)[:, 0] == 0
    assert seen[0].int().tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert seen[1].int().tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert torch.equal(causal_mask(own, 1, torch.float32), causal_mask(own, 3, torch.float32)[:, :, -1:])
