"""Which prompts are decoded together: tokenized prompts come in, batches with what their rows share go out.

Prompts are a tree: at the root all of them, below it those with the same first few-shot, then with the same second one,
and so on. A branch with enough prompts is decoded in batches of its own, which share all that is above; small branches
are put together one level higher. The batches follow from the prompts alone, so a run that was stopped makes the same
ones again, and its answers are the same to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from craft_hf.base import Prompt

Tokens = tuple[int, ...]

ENOUGH = 4
"""A branch is decoded apart if it fills this part of a batch: then reading what it shares once saves more time than
decoding in more batches costs."""


@dataclass(frozen=True)
class Encoded:
    """A prompt as token ids: the parts that others may begin with too, in order, and what is its own."""

    prompt: Prompt
    path: tuple[Tokens, ...]
    own: Tokens

    def __len__(self) -> int:
        return sum(map(len, self.path)) + len(self.own)

    def after(self, depth: int) -> Tokens:
        """Return the tokens behind the first `depth` parts."""
        return tuple(token for part in (*self.path[depth:], self.own) for token in part)


@dataclass(frozen=True)
class Batch:
    """Prompts to decode together, and the parts that all of them begin with."""

    shared: tuple[Tokens, ...]
    rows: tuple[Encoded, ...]

    @property
    def suffixes(self) -> list[Tokens]:
        """What follows the shared parts, for each row."""
        return [row.after(len(self.shared)) for row in self.rows]


def plan(prompts: Sequence[Encoded], most_rows: int, most_tokens: int, new_tokens: int) -> Iterator[Batch]:
    """Yield batches that hold every prompt once; batches that share a beginning come one after the other.

    Args:
        prompts: in any order; the batches do not depend on it.
        most_rows: rows of a batch at most, 1 or more.
        most_tokens: tokens of a batch at most that are not shared, counted as its longest row times its rows; a single
            row may have more.
        new_tokens: tokens that an answer may have; they count too.
    """
    yield from _branch(prompts, (), most_rows, most_tokens, new_tokens)


def _branch(
    prompts: Sequence[Encoded], shared: tuple[Tokens, ...], most_rows: int, most_tokens: int, new_tokens: int
) -> Iterator[Batch]:
    depth = len(shared)
    branches: dict[Tokens, list[Encoded]] = defaultdict(list)
    rest: list[Encoded] = []
    for prompt in prompts:
        (branches[prompt.path[depth]] if len(prompt.path) > depth else rest).append(prompt)
    for part in sorted(branches):
        if len(branches[part]) >= max(2, most_rows // ENOUGH):
            yield from _branch(branches[part], (*shared, part), most_rows, most_tokens, new_tokens)
        else:
            rest += branches[part]
    rest.sort(key=lambda e: (len(e.after(depth)), e.prompt.key))
    while rest:
        count = 1
        while (
            count < min(most_rows, len(rest))
            and (len(rest[count].after(depth)) + new_tokens) * (count + 1) <= most_tokens
        ):
            count += 1
        yield Batch(shared, tuple(rest[:count]))
        del rest[:count]
