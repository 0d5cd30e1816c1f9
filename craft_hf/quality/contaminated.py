"""Is the sample an item of a benchmark's test set? Word n-grams of both are compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from craft_hf.base import Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.quality.near import NearTexts
from craft_hf.quality.text import ngrams, tokens
from craft_hf.tasks import Task, texts_of

LONG, SHORT = 13, 5
"""Words in a row: 13 as in GPT-3's decontamination (Brown et al. 2020, arXiv 2005.14165, appendix C), and 5 as in what
CRAFT reports (arXiv 2409.02098)."""

SHARE = 0.7
"""Share of an item's 5-grams in one sample from which the sample counts as taken from it."""

REWORDED = 85.0
"""Token-sort ratio from which a text counts as an item with a few words changed, which breaks its n-grams."""

LEAST_WORDS = 8
"""Words that a text must have to be compared with items as a whole."""

LEAST_SHORT = 2
"""5-grams that an item must have for their share to count; of shorter items all words must be the same."""


@dataclass
class Overlap:
    """What was found of one test set; `problem` says why it was not checked.

    `dropped` samples were taken for its items. Of the `kept` ones, `with_short` have 5 words in a row from one of its
    items, as common phrases are; none has 13.
    """

    name: str
    items: int
    problem: str = ""
    dropped: int = 0
    kept: int = 0
    with_short: int = 0


_Found = dict[str, tuple[float, int]]
"""What a sample shares with a test set: for each kind of overlap the greatest share and whose it is."""


@dataclass
class _Index:
    """The n-grams of a test set, with the items that have them."""

    long: dict[str, int] = field(default_factory=dict)
    short: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    sizes: dict[int, int] = field(default_factory=dict)
    whole: dict[str, int] = field(default_factory=dict)
    near: NearTexts = field(default_factory=lambda: NearTexts(REWORDED, is_set=False))


class ContaminatedCheck(Check):
    """Looks for the items of test sets in samples; those that could not be loaded are not looked for.

    Attributes:
        overlaps: what was found of each test set.
    """

    name = "contaminated"
    label = "not from a test set"
    about = "no item of a test set, whole, in pieces or reworded; the task's own sets, or `--test-sets exam.jsonl`"

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        test_sets = context.test_sets()
        self.overlaps = [Overlap(t.name, len(t.items), t.problem) for t in test_sets]
        self._indexes = [_index(t.items) for t in test_sets]
        self._found: WeakKeyDictionary[GeneratedSample, list[_Found]] = WeakKeyDictionary()

    @classmethod
    def limit(cls, task: Task) -> Limit:
        """Return the share of an item's 5-grams."""
        return Limit(SHARE, drops_above=True)

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample; the score is the greatest share of an item's 5-grams, the partner "test set, item"."""
        best = self.keep(0.0 if any(i.whole for i in self._indexes) else None)
        for overlap, found in zip(self.overlaps, self._found_in(sample), strict=True):
            for kind, (score, item) in found.items():
                partner = f"{overlap.name}, item {item + 1}"
                if kind != "share":
                    best = self.drop(_REASONS[kind], score, partner)
                elif best.keep and score > (best.score or 0):
                    reason = f"has most of the {SHORT}-word runs of a test item"
                    best = self.keep(score, partner=partner) if score < SHARE else self.drop(reason, score, partner)
            overlap.dropped += not best.keep and best.partner.startswith(f"{overlap.name}, ")
        return best

    def remember(self, sample: GeneratedSample) -> None:
        """Count a sample that is kept."""
        for overlap, index, found in zip(self.overlaps, self._indexes, self._found_in(sample), strict=True):
            if index.whole:
                overlap.kept += 1
                overlap.with_short += "share" in found
        self._found.pop(sample, None)

    def _found_in(self, sample: GeneratedSample) -> list[_Found]:
        """Return what a sample shares with each test set."""
        if (found := self._found.get(sample)) is None:
            texts = [tokens(text) for text in texts_of(sample.fields)]
            found = self._found[sample] = [_found(index, texts) for index in self._indexes]
        return found


_REASONS = {
    "near": "is nearly a test item",
    "long": f"has {LONG} words in a row from a test item",
    "whole": "has a whole test item",
}


def _found(index: _Index, texts: Iterable[Sequence[str]]) -> _Found:
    """Return what a sample shares with a test set."""
    found: _Found = {}
    shared: Counter[int] = Counter()
    for words in texts:
        if (item := index.whole.get(" ".join(words))) is not None:
            found["whole"] = (1.0, item)
        if len(words) >= LEAST_WORDS and (near := index.near.nearest(" ".join(words))) is not None:
            found["near"] = (near.ratio / 100, int(near.name))
        for gram in ngrams(words, LONG):
            if (item := index.long.get(gram)) is not None:
                found["long"] = (1.0, item)
        shared.update(item for gram in set(ngrams(words, SHORT)) for item in index.short.get(gram, ()))
    shares = ((round(count / index.sizes[item], 4), item) for item, count in shared.items())
    return {"share": max(shares, key=lambda s: (s[0], -s[1])), **found} if shared else found


def _index(items: Sequence[str]) -> _Index:
    index = _Index()
    for number, text in enumerate(items):
        words = tokens(text)
        for gram in ngrams(words, LONG):
            index.long.setdefault(gram, number)
        grams = set(ngrams(words, SHORT))
        if len(grams) >= LEAST_SHORT:
            index.sizes[number] = len(grams)
            for gram in grams:
                index.short[gram].append(number)
        if len(words) >= LEAST_WORDS:
            index.near.add(str(number), " ".join(words))
        if words:
            index.whole.setdefault(" ".join(words), number)
    return index
