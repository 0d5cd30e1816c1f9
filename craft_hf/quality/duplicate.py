"""Is the sample nearly a few-shot, or nearly one that was kept before? Token-set ratio, as in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rapidfuzz import fuzz, process, utils

from craft_hf.prompt import sample_json
from craft_hf.records import JSON, FewShot, Verdict


class Duplicates:
    """Compares each sample with the few-shots and with all samples kept so far, in order.

    thefuzz, which the authors use, lower-cases and strips punctuation before comparing; `default_process` is the same.

    Args:
        few_shots: the task's.
        threshold: token-set ratio, 0 to 100, from which a sample is dropped.
    """

    def __init__(self, few_shots: Sequence[FewShot], threshold: float) -> None:
        self._threshold = threshold
        self._few_shots = {s.id: utils.default_process(sample_json(s.sample)) for s in few_shots}
        self._kept: dict[str, str] = {}

    def check(self, document_id: str, fields: Mapping[str, JSON]) -> Verdict:
        """Judge a sample and, if it is kept, remember it; a dropped one names its nearest partner and the ratio."""
        text = utils.default_process(sample_json(fields))
        for others, reason in ((self._few_shots, "nearly a few-shot"), (self._kept, "nearly a kept sample")):
            best = process.extractOne(text, others, scorer=fuzz.token_set_ratio, score_cutoff=self._threshold)
            if best is not None:
                return Verdict("duplicate", False, reason, float(best[1]), str(best[2]))
        self._kept[document_id] = text
        return Verdict("duplicate", True)
