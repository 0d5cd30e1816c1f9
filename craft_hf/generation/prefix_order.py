"""The order in which prompts are sent: early ones soon, and those that begin alike one after the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")


def prefix_order(items: Sequence[T], path: Callable[[T], Sequence[Hashable]]) -> list[T]:
    """Return items so that those whose paths begin alike follow each other, and otherwise in the order given.

    Args:
        items: in any order, of which the first ones are needed first.
        path: gives the parts that an item begins with.
    """
    first: dict[tuple[Hashable, ...], int] = {}
    keys: list[list[int]] = []
    for number, item in enumerate(items):
        parts = tuple(path(item))
        keys.append([first.setdefault(parts[:depth], number) for depth in range(1, len(parts) + 1)])
    return [items[number] for number in sorted(range(len(items)), key=keys.__getitem__)]
