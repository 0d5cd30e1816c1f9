"""Does the document say what the sample says? Words and numbers first, then the meaning of sentences."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from craft_hf.base import JSON, Document, Embedder, Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.quality.text import digits, numbers, sentences, stem_set, stems
from craft_hf.tasks import Task, texts_of

SAME_MEANING = 0.45
"""Cosine similarity to a sentence of the document from which a sentence counts as supported whatever its words.

Of 1,340 sentences of summaries that people wrote 6% share too few words with their document for the task, and 15% of
these reach it; of as many sentences of another document's summary 85%, and 1%. So a summary's sentence is dropped
wrongly in 5% of the cases, and a strange one noticed in 84%. Of 720 questions that people wrote 8% are dropped with
their own right option, and 91% with that of another question (`tests/benchmarks/bench_quality.py --thresholds`).
"""

MOST_SENTENCES = 32
"""Sentences of the document that are embedded for a sentence, those that share most words with it."""


@dataclass(frozen=True)
class _Claim:
    """Something that the sample says: the field's name, the text, and the share of its words in the document."""

    field: str
    text: str
    support: float


class GroundedCheck(Check):
    """Finds the sample's words, numbers and, where the words are others, its meaning in the document.

    A claim is a sentence of a field, an item of a list, or the text of the right option. It is supported if the
    document has at least the task's share of the stems of its content words and, a question's aside, all its numbers;
    or if a sentence of the document means nearly the same.
    """

    name = "grounded"
    label = "supported by the document"
    about = "words and numbers of question, right option, ingredients, steps or summary in the document, or its meaning"
    reject_reason = "not supported by the document"

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        self._embedder = context.embedder

    @classmethod
    def applies(cls, context: CheckContext) -> bool:
        """Return whether the task names fields that the document must support."""
        return bool(context.task.grounded)

    @classmethod
    def limit(cls, task: Task) -> Limit | None:
        """Return the least share of words that the task asks for."""
        return Limit(min(task.grounded.values()), near=0.4) if task.grounded else None

    @classmethod
    def summary(cls, verdicts: Sequence[Verdict]) -> str:
        """Say how much of the least supported claims stands in the documents."""
        shares = [verdict.score for verdict in verdicts if verdict.score is not None]
        if not shares:
            return ""
        return (
            f"All {len(shares):,} generated rows passed the check of their words against their documents: of a row's "
            f"least supported claim {statistics.mean(shares):.0%} of the content words stand there on average, and "
            f"{min(shares):.0%} at least."
        )

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample; the score is the share of words of its least supported claim, or the missing number."""
        document = sample.document
        verdict, doubted = self._read(document, sample.fields)
        pairs = [(claim.text, self._nearest(document.text, claim.text)) for claim in doubted]
        for claim, similarity in zip(doubted, _similarities(self._embedder, pairs), strict=True):
            if similarity < SAME_MEANING:
                reason = f"{claim.field}: the document does not say this"
                return self.drop(reason, round(claim.support, 4), document.id)
        return verdict

    def _read(self, document: Document, fields: Mapping[str, JSON]) -> tuple[Verdict, list[_Claim]]:
        """Return the verdict by words and numbers, and the claims whose words are not in the document."""
        words = stem_set(document.text, self.task.language)
        there: set[str] | None = None
        least, doubted = 1.0, list[_Claim]()
        for field, share, text, asked in self._claims(fields):
            claimed = set() if asked else digits(text)
            if claimed and there is None:
                there = numbers(document.text)
            if missing := sorted(claimed - (there or set())):
                reason = f"{field}: a number that the document does not have"
                return self.drop(reason, _number(missing[0]), document.id), []
            wanted = stems(text, self.task.language)
            support = sum(word in words for word in wanted) / len(wanted) if wanted else 1.0
            least = min(least, support)
            if support < share:
                doubted.append(_Claim(field, text, support))
        return self.keep(round(least, 4)), doubted

    def _claims(self, fields: Mapping[str, JSON]) -> Iterator[tuple[str, float, str, bool]]:
        """Yield the field, the share that is asked for, the claim, and whether it is part of a question.

        A question may suppose numbers that its document does not have ("a population of 1,000 birds").
        """
        choices = self.task.multiple_choice
        for name, share in self.task.grounded.items():
            if choices and name == choices.answer_field:
                yield name, share, choices.read(fields).right_text, False
            else:
                for text in texts_of(fields.get(name)):
                    asked = text.rstrip().endswith("?")
                    yield from ((name, share, sentence, asked) for sentence in sentences(text))

    def _nearest(self, text: str, claim: str) -> list[str]:
        """Return the sentences of a document that share most words with a claim."""
        wanted = set(stems(claim, self.task.language))
        ranked = sorted(sentences(text), key=lambda s: -len(wanted & set(stems(s, self.task.language))))
        return ranked[:MOST_SENTENCES]


def _similarities(embedder: Embedder, pairs: Sequence[tuple[str, Sequence[str]]]) -> list[float]:
    """Return for each pair of a claim and sentences the greatest cosine similarity; -1 where there is no sentence."""
    texts = list(dict.fromkeys(text for claim, others in pairs for text in (claim, *others)))
    if not texts:
        return []
    vectors, row = embedder.encode(texts), {text: n for n, text in enumerate(texts)}
    return [
        float(np.max(vectors[[row[o] for o in others]] @ vectors[row[claim]])) if others else -1.0
        for claim, others in pairs
    ]


def _number(text: str) -> float | None:
    """The number as the score, where it is a plain one that a float can hold."""
    number = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else math.inf
    return number if math.isfinite(number) else None
