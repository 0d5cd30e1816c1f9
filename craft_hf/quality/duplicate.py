"""Is the sample nearly a few-shot, or nearly one that was kept before? Token-set ratio, as in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rapidfuzz import fuzz

from craft_hf.base import JSON, FewShot, Verdict
from craft_hf.quality.near import NearTexts
from craft_hf.tasks import sample_json


class Duplicates:
    """Compares each sample with the few-shots and with all samples kept so far, in order.

    The decisions are those of comparing with all of them, but only texts that can reach the threshold are compared.

    Args:
        few_shots: the task's.
        threshold: token-set ratio, 0 to 100, from which a sample is dropped.
        earlier: samples of other datasets that no sample may repeat: (name of the sample, its fields).
    """

    def __init__(
        self, few_shots: Sequence[FewShot], threshold: float, earlier: Sequence[tuple[str, Mapping[str, JSON]]] = ()
    ) -> None:
        self._few_shots, self._earlier, self._kept = (NearTexts(fuzz.token_set_ratio, threshold) for _ in range(3))
        for shot in few_shots:
            self._few_shots.add(shot.id, sample_json(shot.sample))
        for name, fields in earlier:
            self._earlier.add(name, sample_json(fields))

    def check(self, fields: Mapping[str, JSON]) -> Verdict:
        """Judge a sample; one that is dropped names its nearest partner and the ratio."""
        text = sample_json(fields)
        for known, reason in (
            (self._few_shots, "nearly a few-shot"),
            (self._earlier, "nearly a sample of an earlier dataset"),
            (self._kept, "nearly a kept sample"),
        ):
            if (found := known.nearest(text)) is not None:
                return Verdict("duplicate", False, reason, found[1], found[0])
        return Verdict("duplicate", True)

    def remember(self, document_id: str, fields: Mapping[str, JSON]) -> None:
        """Compare later samples with this one as well."""
        self._kept.add(document_id, sample_json(fields))
