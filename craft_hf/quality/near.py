"""Nearest-neighbour search over texts by a rapidfuzz score, without comparing with all of them."""

from __future__ import annotations

from collections.abc import Callable

from rapidfuzz import process, utils

from craft_hf.quality.candidates import Candidates


class NearTexts:
    """Texts in which the nearest is found without comparing with all; two may have the same name.

    thefuzz, which CRAFT's authors use, lower-cases and strips punctuation before comparing; `default_process` is the
    same.

    Args:
        scorer: of rapidfuzz. With token_set_ratio no text is missed; with others, those that are near only because of
            repeated words.
        threshold: least score, 0 to 100.
    """

    def __init__(self, scorer: Callable[..., float], threshold: float) -> None:
        self._scorer, self._threshold = scorer, threshold
        self._names, self._texts = list[str](), list[str]()
        self._candidates = Candidates(threshold)

    def add(self, name: str, text: str) -> None:
        """Remember a text."""
        prepared = utils.default_process(text)
        self._names.append(name)
        self._texts.append(prepared)
        self._candidates.add(prepared)

    def nearest(self, text: str) -> tuple[str, float] | None:
        """Return name and score of the text that is nearest to this one, the first of several; None if none is near."""
        if not self._texts:
            return None
        prepared = utils.default_process(text)
        rows = self._candidates.find(prepared)
        others = [self._texts[row] for row in rows]
        best = process.extractOne(prepared, others, scorer=self._scorer, score_cutoff=self._threshold)
        return None if best is None else (self._names[rows[best[2]]], float(best[1]))
