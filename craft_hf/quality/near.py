"""Nearest-neighbour search over texts by a ratio of rapidfuzz, without comparing with all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rapidfuzz import fuzz, process, utils

from craft_hf.quality.candidates import Candidates

_FEW = 64
"""Texts that are compared faster than candidates among them are found."""


class Near(NamedTuple):
    """The text that is nearest to another one: its name, and the ratio of both, 0 to 100."""

    name: str
    ratio: float


class NearTexts:
    """Texts in which the nearest is found without comparing with all; two may have the same name.

    Two texts are near if their ratio reaches the threshold; those whose words share less than half of their letters may
    be passed over (see `Candidates`). thefuzz, which CRAFT's authors use, lower-cases and strips punctuation before
    comparing; `default_process` is the same.

    Args:
        threshold: least ratio, 0 to 100.
        is_set: compare by the token-set ratio, to which a word that repeats counts once and a text is near another one
            that holds it; otherwise by the token-sort ratio.
    """

    def __init__(self, threshold: float, is_set: bool) -> None:
        self._threshold, self._is_set = threshold, is_set
        # of words that are in order already, the token-sort ratio is the plain one
        self._scorer: Callable[..., float] = fuzz.token_set_ratio if is_set else fuzz.ratio
        self._names, self._texts = list[str](), list[str]()
        self._candidates = Candidates(threshold)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str, text: str) -> None:
        """Remember a text."""
        prepared = self._prepared(text)
        self._names.append(name)
        self._texts.append(prepared)
        self._candidates.add(prepared)

    def nearest(self, text: str, start: int = 0, accepts: Callable[[int], bool] | None = None) -> Near | None:
        """Return the text that is nearest to this one, the first of several; None if none is near.

        Args:
            text: any text.
            start: compare with those alone that were added after the first `start`.
            accepts: whether the text with a number, counted from 0 in the order in which they were added, counts.
        """
        if start >= len(self):
            return None
        prepared = self._prepared(text)
        rows: Sequence[int]
        if not self._is_set and len(self) <= _FEW:
            rows, others = range(start, len(self)), self._texts[start:]
        else:
            rows = self._candidates.find(prepared, start)
            others = [self._texts[row] for row in rows]
        if accepts is None:
            best = process.extractOne(prepared, others, scorer=self._scorer, score_cutoff=self._threshold)
            return None if best is None else Near(self._names[rows[best[2]]], float(best[1]))
        near = process.extract(prepared, others, scorer=self._scorer, score_cutoff=self._threshold, limit=None)
        for _, ratio, place in sorted(near, key=lambda found: (-found[1], found[2])):
            if accepts(rows[place]):
                return Near(self._names[rows[place]], float(ratio))
        return None

    def _prepared(self, text: str) -> str:
        prepared: str = utils.default_process(text)
        return prepared if self._is_set else " ".join(sorted(prepared.split()))
