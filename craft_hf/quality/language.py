"""Is the sample in the task's language?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from craft_hf.base import JSON, Verdict
from craft_hf.tasks import texts_of

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LEAST_PROBABILITY = 0.03
"""Probability of the task's language under which a sample is dropped; `tests/benchmarks/bench_quality.py` has figures.
The least of 1,158 questions of biology with their options is 0.09; sentences in other languages have 0.007 at most."""

LEAST_LETTERS = 20
"""Letters that a sample needs for its language to be told."""


class LanguageCheck:
    """Asks py3langid, a naive Bayes classifier over bytes, for the probability of the task's language.

    Args:
        language: ISO 639-1 code; nothing is checked for one that py3langid does not know.
    """

    def __init__(self, language: str) -> None:
        self._language = language if language in _identifier().nb_classes else ""

    def check(self, fields: Mapping[str, JSON]) -> Verdict:
        """Judge a sample by all its texts together."""
        text = "\n".join(texts_of(fields))
        if not self._language or sum(c.isalpha() for c in text) < LEAST_LETTERS:
            return Verdict("language", True)
        ranked = _identifier().rank(text)
        probability = round(float(dict(ranked)[self._language]), 4)
        if probability >= LEAST_PROBABILITY:
            return Verdict("language", True, score=probability)
        return Verdict("language", False, f"not in {self._language}: most like {ranked[0][0]}", probability)


@lru_cache
def _identifier() -> LanguageIdentifier:
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
