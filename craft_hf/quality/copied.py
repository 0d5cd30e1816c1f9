"""Is a part of the sample lifted from a few-shot, or from the document where the task wants own words?"""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from craft_hf.base import JSON, Verdict, word_runs
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.quality.near import NearTexts
from craft_hf.tasks import Task, texts_of

NGRAM = 5
"""Words in a row that two texts share only if one has them from the other; retrieval finds leakage with as many."""

FROM_FEW_SHOT = 0.8
"""Share of a text's 5-grams from which it counts as lifted from a few-shot."""

FROM_DOCUMENT = 0.95
"""Share of 5-grams from which a field that must be in own words counts as lifted from the document.

8 of 292 summaries that people wrote reach it (`tests/benchmarks/bench_quality.py --thresholds`).
"""

REWORDED = 85.0
"""Token-sort ratio from which a text counts as a few-shot's with a few words changed, which breaks its 5-grams."""

LEAST_NGRAMS = 4
"""5-grams that a text must have to be compared: 8 words; shorter ones are alike by chance."""


class CopiedCheck(Check):
    """Compares texts by their word 5-grams: with few-shots, and what must be in own words with the document."""

    name = "copied"
    label = "not copied"
    about = "no text of a few-shot; no summary that is a piece of its document"
    reject_reason = "copied"

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        task = self.task
        self._shots_with: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        self._near = {name: NearTexts(REWORDED, is_set=False) for name in task.fields}
        for number, shot in enumerate(task.few_shots):
            for gram in _all_ngrams([shot.text, *texts_of(shot.sample)]):
                self._shots_with[gram].append(number)
            for name, text in _texts(shot.sample):
                self._near[name].add(shot.id, text)

    @classmethod
    def limit(cls, task: Task) -> Limit:
        """Return the share of 5-grams from a few-shot."""
        return Limit(FROM_FEW_SHOT, drops_above=True)

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample; the score is the greatest share of 5-grams that a text of it has from elsewhere."""
        there = functools.cache(lambda: _all_ngrams([sample.document.text]))  # most samples need it for nothing
        shown = functools.cache(lambda: self._shown(sample))
        verdict = self.keep(0.0)
        for name, text in _texts(sample.fields):
            grams = list(word_runs(text, NGRAM))
            if len(grams) < LEAST_NGRAMS:
                continue
            if (near := self._near[name].nearest(text)) is not None:
                return self.drop(f"{name}: nearly a few-shot's", near.ratio / 100, near.name)
            own_words = name in self.task.own_words
            from_shots = [gram for gram in grams if gram in self._shots_with]
            counts = Counter(shot for gram in from_shots if gram not in there() for shot in self._shots_with[gram])
            sources = [
                (self.task.few_shots[shot].id, "a few-shot", count, FROM_FEW_SHOT)
                for shot, count in sorted(counts.items())
            ]
            if own_words:
                count = sum(gram in shown() for gram in grams)
                sources.append((sample.document.id, "the document", count, FROM_DOCUMENT))
            for partner, source, count, limit in sources:
                share = round(count / len(grams), 4)
                if share >= limit:
                    return self.drop(f"{name}: lifted from {source}", share, partner)
                if share > (verdict.score or 0):
                    verdict = self.keep(share, partner=partner)
        return verdict

    def _shown(self, sample: GeneratedSample) -> set[tuple[str, ...]]:
        """Return the n-grams of the text that own words must differ from.

        That is what the sample shows of the document, if it does: a summary at the head of its document is no piece of
        the text below it.
        """
        shown = [text for name in self.task.cleaned for text in texts_of(sample.fields.get(name))]
        return _all_ngrams(shown or [sample.document.text])


def _texts(fields: Mapping[str, JSON]) -> Sequence[tuple[str, str]]:
    """Return every text of a sample with its field's name."""
    return [(name, text) for name, value in fields.items() for text in texts_of(value)]


def _all_ngrams(texts: Sequence[str]) -> set[tuple[str, ...]]:
    return {gram for text in texts for gram in word_runs(text, NGRAM)}
