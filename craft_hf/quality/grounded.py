"""Does the document say what the sample says? Words and numbers first, then the meaning of sentences."""

from __future__ import annotations

import functools
import math
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from craft_hf.base import JSON, Document, Embedder, Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.quality.quantities import Measured, quantities
from craft_hf.quality.text import sentences, stem_set, stems
from craft_hf.tasks import Task, texts_of

SAME_MEANING = 0.42
"""Cosine similarity to a sentence of the document from which a sentence counts as supported whatever its words.

`tests/benchmarks/bench_quality.py --thresholds` shows how many sentences of summaries and right options that people
wrote are dropped by it, and how many of those of another document or question.
"""

SAME_ITEM, SHORT = 0.6, 3
"""The same for an item of a list, such as an ingredient, which says little beside its name; and how many content words
an item has of which more than the task's share must be in the document."""

WRITTEN, SPOKEN = 0.98, 0.78
"""Least sum, for a text in own words, of the share of its words that the document has, that of its pairs of words in a
row, and the cosine similarity to a passage; of documents that people wrote, and of records of what they said.

`make bench-quality` has the figures: summaries that people wrote of textbooks, papers, web pages and talks that are
dropped for it, and such as belong to the nearest other document.
"""

LEAST_OF_WHOLE = 10
"""Different content words that a text must have to be looked at as a whole."""

PASSAGE, MOST_PASSAGES = 800, 3
"""Characters of a passage, and passages that are embedded for a text."""

REQUEST = "instruction"
"""The field in which somebody asks for something: words by which few-shots ask, and which are not of their texts, need
not be in the document."""

MOST_SENTENCES = 32
"""Sentences of the document that are embedded for a sentence, those that share most words with it."""


_OF_EXAMS = (
    "following statement true untrue false correct incorrect best describes likely example select apply answer choose "
    "option characteristic type term refers"
)
"""Words by which exams ask."""

_OF_REQUESTS = "want try explain show tell give write step please need help know"
"""Words by which people ask for something, whether few-shots have them or not."""

_OF_OTHERS = re.compile(
    r"^\W*(?:all|none|both|neither|either|any|some)\b(?:.*\b(?:above|answers?|options?|choices?|these|correct|[a-e])\b)?\W*$",
    re.IGNORECASE,
)
_ASKS_WHAT_IS_NOT = re.compile(
    r"\bNOT\b|(?i:\bexcept\W*$|\b(?:following|these|those|all)\b.{0,300}\bexcept\b|"
    r"\b(?:is|are|was|were|be|following|not) (?:\w+ )?(?:false|incorrect|untrue|wrong)\W*$|"
    r"\b(?:false|incorrect|untrue|wrong) (?:statements?|answers?|options?|choices?|claims?|ones?)\b|"
    r"\bnot (?:true|correct)\b|"
    r"\b(?:which|what|all) (?:one )?of (?:the|these)\b.{0,300}"
    r"(?:\b(?:not|least|cannot|never|lacks?|unlikely|inconsistent|false|incorrect|untrue|wrong)|n['’]t)\b|"
    r"\b(?:which|what)(?: \w+){0,3} (?:is|are|was|were|do|does|did|can|could|would)(?: ?not|n['’]t)\b)",
    re.DOTALL,
)
"""What asks, in the sentence that asks, for the exception."""

_ASKS_WHAT_WOULD_BE = re.compile(r"\bwould\b|\btotal\b", re.IGNORECASE)
_SPEAKER = re.compile(r"\s*[\[(]?[A-Z]?[\w.' -]{1,40}[\])]?:\s|\s*\[\w+\]\s")


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
        language = self.task.language
        self._frames = {
            name: frozenset().union(*(
                _stem_set(" ".join(texts_of(shot.sample.get(name))), language) - _stem_set(shot.text, language)
                for shot in self.task.few_shots
            ))
            for name in self.task.grounded
            if name == REQUEST or self.task.multiple_choice
        }  # fmt: skip

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
        verdict, doubted, wholes = self._read(document, sample.fields)
        if not verdict.keep:
            return verdict
        pairs = [(claim.text, self._nearest(document.text, claim.text)) for claim in doubted]
        for claim, similarity in zip(doubted, _similarities(self._embedder, pairs), strict=True):
            if similarity < (SAME_ITEM if isinstance(sample.fields.get(claim.field), list) else SAME_MEANING):
                reason = f"{claim.field}: the document does not say this"
                return self.drop(reason, round(claim.support, 4), document.id)
        for claim in wholes:
            least = SPOKEN if _is_spoken(document.text) else WRITTEN
            if claim.support < least and not self._is_near(claim, document.text, least):
                reason = f"{claim.field}: says something else than the document"
                return self.drop(reason, round(claim.support, 4), document.id)
        return verdict

    def _read(
        self, document: Document, fields: Mapping[str, JSON]
    ) -> tuple[Verdict, Sequence[_Claim], Sequence[_Claim]]:
        """Return the verdict by words and numbers, the claims whose words are not in the document, and whole texts."""
        there = stems(document.text, self.task.language)
        words = set(there)
        measured = functools.cache(lambda: Measured(document.text))
        least, doubted, spoken = 1.0, list[_Claim](), _is_spoken(document.text)
        for field, share, text, asked in self._claims(fields):
            if problem := _number_problem(text, measured, asked, spoken):
                what, quantity = problem
                reason = f"{field}: a {what} that the document does not have"
                return self.drop(reason, _number(quantity), document.id), (), ()
            frame = self._frames.get(field, frozenset()) | (_words(_OF_EXAMS) if asked else frozenset())
            if field == REQUEST:
                frame |= _words(_OF_REQUESTS)
            wanted = [word for word in stems(text, self.task.language) if word not in frame]
            support = sum(word in words for word in wanted) / len(wanted) if wanted else 1.0
            least = min(least, support)
            if spoken and field in self.task.own_words:
                continue  # notes of a talk say it in other words; the whole is compared
            if support < share and field == REQUEST:
                reason = f"{field}: asks for something else than the document is about"
                return self.drop(reason, round(support, 4), document.id), (), ()
            is_short = isinstance(fields.get(field), list) and len(wanted) <= SHORT
            if support < share or (is_short and support == share):
                doubted.append(_Claim(field, text, support))
        wholes = [
            _Claim(name, text, self._support_of_whole(text, there))
            for name in (() if self.task.multiple_choice else self.task.own_words)
            if name in self.task.grounded
            for text in texts_of(fields.get(name))
            if len(stem_set(text, self.task.language)) >= LEAST_OF_WHOLE
        ]
        return self.keep(round(least, 4)), doubted, wholes

    def _claims(self, fields: Mapping[str, JSON]) -> Iterator[tuple[str, float, str, bool]]:
        """Yield the field, the share that is asked for, the claim, and whether it is part of a question.

        A question may suppose numbers that its document does not have ("a population of 1,000 birds"). One of several
        sentences may tell of a case that somebody made up around what the document says, and is no claim. What is not
        so ("all of these except") is right because the document does not say it, and what would be, or a total, follows
        from it and from numbers of the question, where it has any.
        """
        choices = self.task.multiple_choice
        for name, share in self.task.grounded.items():
            if choices and name == choices.answer_field:
                asking = [text for other in fields for text in self._asked(other, fields)]
                right = choices.read(fields).right_text
                if not (any(map(_asks_what_is_not, asking)) or _OF_OTHERS.match(right)):
                    follows = any(map(_ASKS_WHAT_WOULD_BE.search, asking))
                    yield name, share / 2 if follows else share, right, follows and any(map(_has_number, asking))
                continue
            for text in texts_of(fields.get(name)):
                parts = sentences(text)
                asked = text.rstrip().endswith(("?", ":", "_")) or "_" in text
                if asked and len(parts) > 1:
                    if len(parts) == 2:
                        yield name, share / 2, text, True
                else:
                    yield from ((name, share, sentence, asked) for sentence in parts)

    def _asked(self, name: str, fields: Mapping[str, JSON]) -> Iterator[str]:
        """Yield the texts of a field of a multiple-choice sample that is neither options nor answer."""
        choices = self.task.multiple_choice
        if choices and name not in (choices.options_field, choices.answer_field):
            yield from texts_of(fields[name])

    def _support_of_whole(self, text: str, document: Sequence[str]) -> float:
        """Return the share of a text's different stems that are a document's, and that of its pairs in a row."""
        mine = stems(text, self.task.language)
        single, pairs = set(mine), list(pairwise(mine))
        words, there = set(document), set(pairs) & set(pairwise(document))
        return sum(w in words for w in single) / len(single) + sum(p in there for p in pairs) / max(1, len(pairs))

    def _is_near(self, claim: _Claim, text: str, least: float) -> bool:
        """Whether a whole text is near enough to a passage; the best by words mostly is, and embedded first."""
        passages = self._passages(text, claim.text)
        return any(
            claim.support + _similarities(self._embedder, [(claim.text, some)])[0] >= least
            for some in (passages[:1], passages[1:])
            if some
        )

    def _passages(self, text: str, claim: str) -> list[str]:
        """Return the passages of a document that share most words with a text."""
        wanted, passages = stem_set(claim, self.task.language), [""]
        for sentence in sentences(text):
            if passages[-1] and len(passages[-1]) + len(sentence) > PASSAGE:
                passages.append("")
            passages[-1] = f"{passages[-1]} {sentence}".strip()
        ranked = sorted(passages, key=lambda passage: -len(wanted & _stem_set(passage, self.task.language)))
        return [passage[: 2 * PASSAGE] for passage in ranked[:MOST_PASSAGES] if passage]

    def _nearest(self, text: str, claim: str) -> list[str]:
        """Return the sentences of a document that share most words with a claim."""
        wanted = _stem_set(claim, self.task.language)
        ranked = sorted(sentences(text), key=lambda s: -len(wanted & _stem_set(s, self.task.language)))
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


@functools.lru_cache(4096)
def _stem_set(text: str, language: str) -> frozenset[str]:
    """Return the stems of a few-shot or of a sentence, which is compared with many claims."""
    return frozenset(stem_set(text, language))


def _asks_what_is_not(text: str) -> bool:
    """Whether a question asks for what is not so; what it tells before it asks does not count."""
    parts = sentences(text)
    asking = [part for part in parts if part.rstrip().endswith(("?", ":", "_"))] or parts[-1:]
    return any(map(_ASKS_WHAT_IS_NOT.search, asking))


def _has_number(text: str) -> bool:
    """Whether a question has numbers from which others may follow; "one of these" is none."""
    return any(quantity.in_digits or quantity.value != 1 for quantity in quantities(text))


@functools.cache
def _words(words: str) -> frozenset[str]:
    return frozenset(stem_set(words))


def _number_problem(text: str, measured: Callable[[], Measured], asked: bool, spoken: bool) -> tuple[str, float] | None:
    """Return what of a claim's first quantity that the document does not have is missing, and its number.

    Units are left away where people speak.
    """
    for quantity in quantities(text):
        if asked:
            if quantity.unit and measured().has_other_unit(quantity):
                return "unit", quantity.value
        elif quantity.is_checked and (what := measured().problem(quantity)) and not (spoken and what == "unit"):
            return what, quantity.value
    return None


def _is_spoken(text: str) -> bool:
    """Whether a text is a record of what several people said: most of its lines begin with a name."""
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and sum(bool(_SPEAKER.match(line)) for line in lines) > len(lines) / 2


def _number(value: float) -> float | None:
    """The number as the score, where a float can hold it."""
    return value if math.isfinite(value) else None
