"""Does the sample go round in circles: within a text, or from the question to the answer?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from craft_hf.base import JSON, Verdict
from craft_hf.quality.check import Check, GeneratedSample, Limit
from craft_hf.quality.text import ngrams, stems, tokens
from craft_hf.tasks import Task, texts_of

MOST_REPEATED = 0.25
"""Share of a text's word 3-grams that may be repetitions of others before them.

Of 5,414 questions, 1,303 summaries and 155 recipes that people wrote, the 99th percentile is 0.14 at most
(`tests/benchmarks/bench_quality.py --thresholds`).
"""

LEAST_GRAMS = 8
"""3-grams that a text must have for repetitions to count: 10 words."""

LONG, THRICE = 20, 3
"""3-grams of a text from which it counts however often each is repeated; in a shorter one, such as "50 percent male and
50 percent female", one must come three times."""

RUN, MOST_TIMES = 5, 3
"""Words in a row that may stand so often in a text of a few sentences, however much else it says."""

MOST_WORDS = 300
"""Words of such a text at most."""

LEAST_WORDS = 2
"""Content words that a right option must have to count as repeating the question."""


class RepetitiveCheck(Check):
    """Looks for what small models do when they have nothing more to say."""

    name = "repetitive"
    label = "not repetitive"
    about = "no text that goes round in circles, no answer that only repeats the question"

    @classmethod
    def limit(cls, task: Task) -> Limit:
        """Return the share of repeated 3-grams."""
        return Limit(MOST_REPEATED, drops_above=True)

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a well-formed sample; the score is the greatest share of repeated 3-grams in a text of it."""
        most = 0.0
        for name, text in ((name, text) for name, value in sample.fields.items() for text in texts_of(value)):
            words = tokens(text)
            grams = list(ngrams(words, 3))
            share = round(1 - len(set(grams)) / len(grams), 4) if len(grams) >= LEAST_GRAMS else 0.0
            parallel = len(grams) < LONG and max(Counter(grams).values(), default=0) < THRICE
            if share > MOST_REPEATED and not parallel:
                return self.drop(f"{name}: repeats itself", share)
            if len(words) <= MOST_WORDS and share and max(Counter(ngrams(words, RUN)).values(), default=0) > MOST_TIMES:
                return self.drop(f"{name}: says the same words again and again", share)
            most = max(most, share)
        if reason := self._question_again(sample.fields):
            return self.drop(reason)
        return self.keep(most)

    def _question_again(self, fields: Mapping[str, JSON]) -> str:
        """Say whether an option is the question again, or the right one has no content word beyond the question's."""
        choices = self.task.multiple_choice
        if choices is None:
            return ""
        options = choices.read(fields)
        asked = [text for name, value in fields.items() if name not in (choices.options_field, choices.answer_field)
                 for text in texts_of(value)]  # fmt: skip
        questions = [tokens(text) for text in asked]
        if any(tokens(text) in questions for text in options.texts):
            return f"{choices.options_field}: one is the question again"
        words = set(stems(options.right_text, self.task.language))
        repeats = len(words) >= LEAST_WORDS and words <= set(stems("\n".join(asked), self.task.language))
        return f"{choices.answer_field}: only repeats the question" if repeats else ""
