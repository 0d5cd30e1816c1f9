"""Is the sample nearly a few-shot, or nearly one that was kept before? Token-set ratio, as in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process, utils

from craft_hf.prompt import sample_json
from craft_hf.records import JSON, FewShot, Verdict


@dataclass(frozen=True)
class _Texts:
    """Texts to compare with, and whose they are; two documents may have the same id."""

    ids: list[str]
    texts: list[str]


class Duplicates:
    """Compares each sample with the few-shots and with all samples kept so far, in order.

    thefuzz, which the authors use, lower-cases and strips punctuation before comparing; `default_process` is the same.

    Args:
        few_shots: the task's.
        threshold: token-set ratio, 0 to 100, from which a sample is dropped.
    """

    def __init__(self, few_shots: Sequence[FewShot], threshold: float) -> None:
        self._threshold = threshold
        self._few_shots = _Texts([s.id for s in few_shots], [_processed(s.sample) for s in few_shots])
        self._kept = _Texts([], [])

    def check(self, document_id: str, fields: Mapping[str, JSON]) -> Verdict:
        """Judge a sample and, if it is kept, remember it; a dropped one names its nearest partner and the ratio."""
        text = _processed(fields)
        for others, reason in ((self._few_shots, "nearly a few-shot"), (self._kept, "nearly a kept sample")):
            best = process.extractOne(text, others.texts, scorer=fuzz.token_set_ratio, score_cutoff=self._threshold)
            if best is not None:
                return Verdict("duplicate", False, reason, float(best[1]), others.ids[best[2]])
        self._kept.ids.append(document_id)
        self._kept.texts.append(text)
        return Verdict("duplicate", True)


def _processed(fields: Mapping[str, JSON]) -> str:
    text: str = utils.default_process(sample_json(fields))
    return text
