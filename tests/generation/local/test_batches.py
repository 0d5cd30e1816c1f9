"""Which prompts are decoded together: all of them, once, within the limits, and the same whatever their order."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.records import Prompt
from craft_hf.generation.local.batches import EncodedPrompt, plan_batches


def encoded(key: str, path: tuple[int, ...], own: int) -> EncodedPrompt:
    """A prompt whose parts are ten tokens each, with `own` tokens behind them."""
    parts = tuple((part,) * 10 for part in path)
    return EncodedPrompt(Prompt(key, key, (), ()), parts, tuple(range(own)))


PROMPTS = st.lists(st.tuples(st.lists(st.integers(0, 2), max_size=3), st.integers(1, 50)), max_size=60)


@given(PROMPTS, st.integers(1, 9), st.integers(1, 600), st.integers(1, 20), st.randoms())
def test_every_prompt_once_within_the_limits(
    drawn: list[tuple[list[int], int]], rows: int, tokens: int, new: int, rng: random.Random
) -> None:
    """Each prompt is in one batch, behind parts that are its own; a batch keeps to rows and tokens."""
    prompts = [encoded(f"p{i}", tuple(path), own) for i, (path, own) in enumerate(drawn)]
    batches = list(plan_batches(prompts, rows, tokens, new))
    assert Counter(row.prompt.key for batch in batches for row in batch.rows) == Counter(p.prompt.key for p in prompts)
    for batch in batches:
        assert 1 <= len(batch.rows) <= rows
        assert len(batch.rows) == 1 or len(batch.rows) * (max(map(len, batch.suffixes)) + new) <= tokens
        for row, suffix in zip(batch.rows, batch.suffixes, strict=True):
            assert row.prefix_parts[: len(batch.shared)] == batch.shared
            assert len(suffix) + 10 * len(batch.shared) == len(row)
    rng.shuffle(prompts)
    assert list(plan_batches(prompts, rows, tokens, new)) == batches


def test_prompts_of_a_group_share_all_their_few_shots() -> None:
    """Two groups of twelve give batches of like length behind their three parts, one group after the other."""
    prompts = [encoded(f"p{i:02}", (1, 2, 3) if i % 2 else (4, 5, 6), 24 - i) for i in range(24)]
    batches = list(plan_batches(prompts, 8, 10_000, 10))
    assert [len(batch.rows) for batch in batches] == [8, 4, 8, 4]
    assert [batch.shared[0][0] for batch in batches] == [1, 1, 4, 4]
    assert all(len(batch.shared) == 3 for batch in batches)
    assert [len(suffix) for suffix in batches[0].suffixes] == [1, 3, 5, 7, 9, 11, 13, 15]


def test_few_shots_drawn_per_prompt_share_what_is_worth_it() -> None:
    """Where triples are rare but their first few-shots are not, batches share the first ones."""
    prompts = [encoded(f"p{i}", (i % 2, 10 + i, 50 + i), 5) for i in range(16)]
    assert [(len(batch.shared), len(batch.rows)) for batch in plan_batches(prompts, 8, 10_000, 10)] == [(1, 8), (1, 8)]
    assert [len(batch.shared) for batch in plan_batches(prompts[:2], 8, 10_000, 10)] == [0]
