"""Is the sample in the task's language?"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from craft_hf.base import Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.quality.text import stop_words
from craft_hf.tasks import Task, texts_of

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

LEAST_PROBABILITY = 0.03
"""Probability of the task's language under which a sample is dropped; `tests/benchmarks/bench_quality.py` has figures.
The least of 1,158 questions of biology with their options is 0.09; sentences in other languages have 0.007 at most."""

LEAST_LETTERS = 20
"""Letters that a sample needs for its language to be told."""

LEAST_OF_OPTION = 0.01
"""The same for an option, which is short: terms from Latin often have less than `LEAST_PROBABILITY`."""

LEAST_WORDS, SHORT = 2, 3
"""Words of an option whose language is looked at, one more where all letters are those of English, and letters of the
words that join others in a language."""

_WORD = re.compile(r"[^\W\d_]+")


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
        """Judge a sample by all its texts together, then each option of several words."""
        text = "\n".join(texts_of(sample.fields))
        if not self._language or sum(c.isalpha() for c in text) < LEAST_LETTERS:
            return self.keep()
        ranked = _identifier().rank(text)
        probability = round(float(dict(ranked)[self._language]), 4)
        if probability < LEAST_PROBABILITY:
            return self.drop(f"not in {self._language}: most like {ranked[0][0]}", probability)
        if foreign := self._foreign_option(sample):
            return self.drop(f"{self.task.options_field}: one is not in {self._language}", foreign)
        return self.keep(probability)

    def _foreign_option(self, sample: GeneratedSample) -> float | None:
        """Return the probability of the task's language for an option that is in another one; None if none is.

        Names and terms from Latin look foreign as well. So most of its words must be unknown to the document and the
        question, and one of them be short, as the words between names are, or be spelled with a letter that is not in
        the document.
        """
        choices = self.task.multiple_choice
        if choices is None:
            return None
        known: set[str] = set()
        others = [v for name, v in sample.fields.items() if name != choices.options_field]
        for option in choices.read(sample.fields).texts:
            words = _WORD.findall(option)
            if not any(_joins(word) or not word.isascii() for word in words):
                continue
            if len(words) < LEAST_WORDS or not (len(words) > LEAST_WORDS or _is_foreign_spelling(option)):
                continue
            common = stop_words(self._language)
            if all(word.casefold() in common for word in words if _joins(word) or not word.isascii()):
                continue
            known = known or set(_WORD.findall("\n".join([sample.document.text, *texts_of(others)]).casefold()))
            new = [word for word in words if word.casefold() not in common and word.casefold() not in known]
            if 2 * len(new) < len(words) or not any(_joins(word) or not word.isascii() for word in new):
                continue
            probability = round(float(dict(_identifier().rank(option))[self._language]), 4)
            if probability < LEAST_OF_OPTION:
                return probability
        return None


def _is_foreign_spelling(text: str) -> bool:
    return any(c.isalpha() and not c.isascii() for c in text)


def _joins(word: str) -> bool:
    """Whether a word may be one of those that join others: short, and all in small letters."""
    return len(word) <= SHORT and word.islower()


@lru_cache
def _identifier() -> LanguageIdentifier:
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
