"""Which prompts are decoded together: batches of prompts that share as long a prefix as is worth it.

Prompts form a tree: all of them at the root, below it those with the same first few-shot, then with the same second
one, and so on. A branch with enough prompts gets batches of its own, which share the whole path to it; smaller branches
are merged one level higher. The batches follow from the prompts alone, so a resumed run forms the same ones, and its
answers are the same to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from craft_hf.base import Prompt
from craft_hf.generation.prefix_order import prefix_order

Tokens = tuple[int, ...]

MIN_BRANCH_DIVISOR = 4
"""A branch is decoded apart if it has at least the rows of a batch divided by this (and 2): from then on, reading its
prefix only once saves more time than the additional batches cost."""


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as token ids.

    Attributes:
        prompt: what was encoded.
        prefix_parts: the turns that it begins with and that other prompts may share, in order.
        suffix: the tokens behind them, at least one.
    """

    prompt: Prompt
    prefix_parts: tuple[Tokens, ...]
    suffix: Tokens

    def __len__(self) -> int:
        return sum(map(len, self.prefix_parts)) + len(self.suffix)

    def after(self, depth: int) -> Tokens:
        """Return the tokens behind the first `depth` prefix parts."""
        return tuple(token for part in (*self.prefix_parts[depth:], self.suffix) for token in part)


@dataclass(frozen=True)
class Batch:
    """Prompts to decode together, and the prefix parts that all of them share."""

    shared: tuple[Tokens, ...]
    rows: tuple[EncodedPrompt, ...]

    @property
    def suffixes(self) -> list[Tokens]:
        """The tokens behind the shared parts, for each row."""
        return [row.after(len(self.shared)) for row in self.rows]


def plan_batches(
    prompts: Sequence[EncodedPrompt], max_rows: int, max_tokens: int, max_new_tokens: int
) -> Iterator[Batch]:
    """Yield batches that hold every prompt once; batches with the same shared parts come one after the other.

    Args:
        prompts: in any order; the batches do not depend on it.
        max_rows: rows of a batch at most, 1 or more.
        max_tokens: tokens of a batch at most, shared parts aside and answers included, counted as its longest row times
            its rows; a single row may have more.
        max_new_tokens: tokens that an answer may have.
    """
    yield from _branch(prompts, (), max_rows, max_tokens, max_new_tokens)


def early_first(batches: Iterable[Batch], keys: Sequence[str]) -> list[Batch]:
    """Return batches in the order to decode them: each shared prefix is read once, and early prompts are answered soon.

    Args:
        batches: of `plan_batches`.
        keys: of their prompts, those that are needed first before the others.
    """
    places = {key: place for place, key in enumerate(keys)}

    def earliest(batch: Batch) -> int:
        return min(places[row.prompt.key] for row in batch.rows)

    return prefix_order(sorted(batches, key=earliest), lambda batch: (*batch.shared, earliest(batch)))


def _branch(
    prompts: Sequence[EncodedPrompt], shared: tuple[Tokens, ...], max_rows: int, max_tokens: int, max_new_tokens: int
) -> Iterator[Batch]:
    depth = len(shared)
    branches: dict[Tokens, list[EncodedPrompt]] = defaultdict(list)
    rest: list[EncodedPrompt] = []
    for prompt in prompts:
        (branches[prompt.prefix_parts[depth]] if len(prompt.prefix_parts) > depth else rest).append(prompt)
    for part in sorted(branches):
        if len(branches[part]) >= max(2, max_rows // MIN_BRANCH_DIVISOR):
            yield from _branch(branches[part], (*shared, part), max_rows, max_tokens, max_new_tokens)
        else:
            rest += branches[part]
    rest.sort(key=lambda e: (len(e.after(depth)), e.prompt.key))
    while rest:
        count = 1
        while (
            count < min(max_rows, len(rest))
            and (len(rest[count].after(depth)) + max_new_tokens) * (count + 1) <= max_tokens
        ):
            count += 1
        yield Batch(shared, tuple(rest[:count]))
        del rest[:count]
