"""Is the sample in the task's language?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from craft_hf.base import Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.tasks import Task, texts_of

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LEAST_PROBABILITY = 0.03
"""Probability of the task's language under which a sample is dropped; `tests/benchmarks/bench_quality.py` has figures.
The least of 1,158 questions of biology with their options is 0.09; sentences in other languages have 0.007 at most."""

LEAST_LETTERS = 20
"""Letters that a sample needs for its language to be told."""


class LanguageCheck(Check):
    """Asks py3langid, a naive Bayes classifier over bytes, for the probability of the task's language.

    Nothing is checked in a language that py3langid does not know.
    """

    name = "language"
    label = "in the task's language"
    about = "the task's language"

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        self._language = self.task.language if self.task.language in _identifier().nb_classes else ""

    @classmethod
    def limit(cls, task: Task) -> Limit:
        """Return the probability of the task's language."""
        return Limit(LEAST_PROBABILITY)

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample by all its texts together."""
        text = "\n".join(texts_of(sample.fields))
        if not self._language or sum(c.isalpha() for c in text) < LEAST_LETTERS:
            return self.keep()
        ranked = _identifier().rank(text)
        probability = round(float(dict(ranked)[self._language]), 4)
        if probability >= LEAST_PROBABILITY:
            return self.keep(probability)
        return self.drop(f"not in {self._language}: most like {ranked[0][0]}", probability)


@lru_cache
def _identifier() -> LanguageIdentifier:
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
