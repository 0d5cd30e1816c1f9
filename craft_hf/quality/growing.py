"""An array that grows at its end, without being copied for each row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import numpy as np

Number = TypeVar("Number", bound=np.generic)


class GrowingArray(Generic[Number]):
    """Rows of numbers.

    Args:
        kind: of the numbers.
        shape: of a row; none for single numbers.

    Attributes:
        values: the rows so far, shape (rows, *shape).
    """

    def __init__(self, kind: type[Number], *shape: int) -> None:
        self._all: np.ndarray[tuple[int, ...], np.dtype[Number]] = np.zeros((1024, *shape), kind)
        self.values = self._all[:0]

    def append(self, rows: Iterable[object]) -> None:
        """Put rows behind those that there are."""
        added = np.asarray(rows, self._all.dtype).reshape(-1, *self._all.shape[1:])
        size = len(self.values) + len(added)
        while size > len(self._all):
            self._all = np.concatenate([self._all, np.zeros_like(self._all)])
        self._all[len(self.values) : size] = added
        self.values = self._all[:size]
