"""The task's own check: are the steps those of the document, in its order, and do list and steps fit each other?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import combinations

from craft_hf.base import Verdict
from craft_hf.quality import Check, CheckContext, GeneratedSample, sentences, stems
from craft_hf.tasks import texts_of

LEAST_ORDER = 0.0
"""Of pairs of steps that stand in different sentences of the document, those in its order less those against it, as a
share: below this the order is another one."""

MOST_MISSING = 0.3
"""Share of the steps that a document lists that may be missing."""

LEAST_TOLD = 3
"""Steps that a document must list for it to count how many are missing, and words that each must have."""

LEAST_WORDS = 4
"""Words of a sentence that tells something."""

IN_STEPS, LEAST_COVERED = 0.6, 0.3
"""Share of the words of a listed step that the sample's steps have where it is there, and at least where it may be."""

PREPARED = frozenset(stems(
    "large small medium fresh chopped sliced diced minced cup tablespoon teaspoon tbsp tsp gram ounce pound optional "
    "finely taste grated peeled cut melted warm cold hot ground dried whole piece plus extra can pack package clove "
    "handful pinch bunch room temperature softened beaten inch fluid quart pint stick slices halved thinly about more "
    "divided mixed raw cooked ready good quality size topping serving garnish needed ml kg cl dl white red black "
    "green brown yellow dark light sweet plain juice sauce powder leaf leaves seed seeds paste "
    "litre liter millilitre kilogram quart plenty half little bit some extra fluid squeeze dash sprig knob thick thin "
    "ripe "
    "big heaped level coarse fine virgin baby frozen canned tinned organic unsalted skinless boneless"
))  # fmt: skip
"""Words of a list of ingredients that name none."""

AT_HAND = frozenset(stems("water salt pepper oil optional ice"))
"""What every kitchen has, and recipes use without a word, or leave away."""

_NUMBERED = re.compile(r"^\W*(?:\d{1,2}[.)])?\s*")
_STEP = re.compile(r"\s*(?:[-*•+]|\d{1,2}[.)])\s+\S")
_LISTED = re.compile(r"\s*(?:[-*•+]\s+\S|(?!\d{1,2}[.)]\s)(?:\d|[½¼¾⅓⅔]))")
"""The beginning of a line that lists an ingredient: a bullet, or how much it is."""

_MOST_WORDS = 12
"""Words of such a line at most."""


class RecipeCheck(Check):
    """Drops recipes whose steps are not those of the document, or do not fit the list of ingredients."""

    name = "recipe"
    label = "a recipe that can be cooked"
    about = "the document's steps, all of them and in its order, with the ingredients that are listed"
    reject_reason = "the recipe is not that of the document"

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        shots = [stems(step) for shot in self.task.few_shots for step in texts_of(shot.sample.get("steps"))]
        self._verbs = frozenset(words[0] for words in shots if words)

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a recipe; the score is that of the first rule that it breaks."""
        recipe = _Recipe(sample, self._verbs)
        if (order := recipe.order) < LEAST_ORDER:
            return self.drop("steps: in another order than in the document", order, sample.document.id)
        if lost := recipe.lost:
            return self.drop("steps: leave out an ingredient that the document tells what to do with", float(lost))
        if shares := recipe.covered:
            missing = round(sum(share < IN_STEPS for share in shares) / len(shares), 4)
            if missing > MOST_MISSING or min(shares) < LEAST_COVERED:
                return self.drop("steps: one or more that the document lists are missing", missing, sample.document.id)
        if unlisted := recipe.unlisted:
            return self.drop("ingredients: one is missing that the steps use", float(unlisted))
        return self.keep()


class _Recipe:
    """A recipe beside its document; words are stems."""

    def __init__(self, sample: GeneratedSample, verbs: frozenset[str]) -> None:
        self._stems = cache(stems)  # most lines are compared several times
        steps = [self._stems(text) for text in texts_of(sample.fields.get("steps"))]
        self._steps = [set(words) for words in steps]
        self._all_steps = set[str]().union(*self._steps)
        self._first = {words[0] for words in steps if words}
        self._ingredients = [
            set(self._stems(text)) & AT_HAND | self._named(text) for text in texts_of(sample.fields.get("ingredients"))
        ]
        self._text = sample.document.text
        self._sentences = [_NUMBERED.sub("", sentence) for sentence in sentences(self._text)]
        self._verbs = verbs | self._first

    @property
    def order(self) -> float:
        """How the order of the steps agrees with that of the document: 1 the same, -1 the reverse."""
        pairs = [(one, other) for one, other in combinations(self._places, 2) if one != other]
        return round(sum(1 if one < other else -1 for one, other in pairs) / len(pairs), 4) if len(pairs) > 2 else 1.0

    @property
    def lost(self) -> int:
        """How many listed ingredients the document does something with, and no step of the sample.

        It does so in sentences that tell the cook to do something, and in all between the first and the last of the
        sentences that the steps are made of.
        """
        between = range(min(self._places, default=0), max(self._places, default=-1) + 1)
        sentences = [self._words_of_sentences[n] for n in between if self._is_sentence(self._sentences[n])]
        told = set[str]().union(*self._told, *sentences)
        named = [words for words in self._ingredients if not words & AT_HAND]
        return sum(bool(words & told) and not words & told & self._all_steps for words in named)

    @cached_property
    def covered(self) -> Sequence[float]:
        """Of each step that the document lists, the share of its words that the sample's steps have; none for prose."""
        lines = [line for line in self._text.split("\n") if _STEP.match(line) and self._is_told(line)]
        told = [words for line in lines if len(words := set(self._stems(line))) >= LEAST_TOLD]
        return [len(words & self._all_steps) / len(words) for words in told] if len(told) >= LEAST_TOLD else []

    @property
    def unlisted(self) -> int:
        """How many ingredients the document lists, and the steps use, but the sample's list does not have."""
        listed = set[str]().union(*self._ingredients)
        lines = [self._named(line) for line in self._text.split("\n") if self._is_listed(line)]
        return sum(bool(words & self._all_steps) and not words & listed for words in lines)

    def _is_told(self, line: str) -> bool:
        """Whether a line of a list is a step: it has a number, or begins with a verb; "Cook time: 10 min" is none."""
        if ":" in line and len(line.split()) <= _MOST_WORDS // 2 + 2:
            return False
        return line.lstrip()[:1].isdigit() or bool(
            self._verbs & set(self._stems(_NUMBERED.sub("", line).split(" ")[0]))
        )

    def _is_sentence(self, text: str) -> bool:
        return len(text.split()) >= LEAST_WORDS and not self._is_listed(text)

    def _is_listed(self, line: str) -> bool:
        words = line.split()
        if not _LISTED.match(line) or len(words) > _MOST_WORDS or ":" in line:
            return False
        return not self._verbs & set(self._stems(" ".join(words[:2])))

    @cached_property
    def _told(self) -> Sequence[set[str]]:
        """The words of the sentences that begin with a verb by which steps begin."""
        found = []
        for sentence in self._sentences:
            words = self._stems(sentence)
            if len(sentence.split()) >= LEAST_WORDS and words and words[0] in self._verbs and sentence[:1].isupper():
                first = self._stems(sentence.split()[0])
                if first and first[0] == words[0]:
                    found.append(set(words))
        return found

    @cached_property
    def _places(self) -> Sequence[int]:
        return [place for step in self._steps if (place := self._place(step)) is not None]

    @cached_property
    def _words_of_sentences(self) -> Sequence[set[str]]:
        return [set(self._stems(sentence)) for sentence in self._sentences]

    def _place(self, step: set[str]) -> int | None:
        """Return the number of the sentence that is most like a step; None where none shares a word with it."""
        shares = [len(step & words) / len(step | words) ** 0.5 if words else 0.0 for words in self._words_of_sentences]
        best = max(shares, default=0.0)
        return shares.index(best) if best else None

    def _named(self, item: str) -> set[str]:
        """Return the words by which a line of a list names its ingredient."""
        return set(self._stems(re.sub(r"\(.*?\)", "", item).split(",")[0])) - PREPARED
