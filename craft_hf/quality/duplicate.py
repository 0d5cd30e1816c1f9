"""Is the sample nearly a few-shot, or nearly one that was kept before? Token-set ratio, as in the paper."""

from __future__ import annotations

from rapidfuzz import fuzz

from craft_hf.base import Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample
from craft_hf.quality.near import NearTexts
from craft_hf.tasks import sample_json


class DuplicateCheck(Check):
    """Compares each sample with the few-shots, with earlier datasets and with all samples kept so far, in order.

    The decisions are those of comparing with all of them, but only texts that can reach the threshold are compared.
    """

    name = "duplicate"
    label = "no duplicate in words"
    about = "not nearly a few-shot, an earlier row (`--earlier my-dataset`), or a kept one, in words"
    optional = False
    compares = True

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        threshold = context.duplicate_threshold
        self._few_shots, self._earlier, self._kept = (NearTexts(fuzz.token_set_ratio, threshold) for _ in range(3))
        for shot in self.task.few_shots:
            self._few_shots.add(shot.id, sample_json(shot.sample))
        for name, fields in context.earlier:
            self._earlier.add(name, sample_json(fields))

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample; one that is dropped names its nearest partner and the ratio."""
        text = sample_json(sample.fields)
        for known, reason in (
            (self._few_shots, "nearly a few-shot"),
            (self._earlier, "nearly a sample of an earlier dataset"),
            (self._kept, "nearly a kept sample"),
        ):
            if (found := known.nearest(text)) is not None:
                return self.drop(reason, found[1], found[0])
        return self.keep()

    def remember(self, sample: GeneratedSample) -> None:
        """Compare later samples with this one as well."""
        self._kept.add(sample.document.id, sample_json(sample.fields))
