"""Is the sample nearly a few-shot, or nearly one that was kept before? Token-set ratio, as in the paper."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from craft_hf.base import Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample
from craft_hf.quality.compared import Compared, Comparison
from craft_hf.quality.near import Near, NearTexts

_KEPT = "nearly a kept sample"


class DuplicateCheck(Check):
    """Compares each sample with the few-shots, with earlier datasets and with all samples kept so far, in order.

    Two are nearly the same if their values are near by the token-set ratio, share most of their content words, and
    answer the same (see `Compared`). The decisions are those of comparing with all of them whose words share half of
    their letters or more.
    """

    name = "duplicate"
    label = "no duplicate in words"
    about = "not nearly a few-shot, an earlier row (`--earlier my-dataset`), or a kept one, in words"
    optional = False
    compares = True

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        self._comparison = Comparison(self.task, context.duplicates_by)
        threshold = context.duplicate_threshold
        self._few_shots, self._earlier, self._kept = (_Known(threshold, self._comparison) for _ in range(3))
        self._looked_up: WeakKeyDictionary[GeneratedSample, _LookedUp] = WeakKeyDictionary()
        for shot in self.task.few_shots:
            self._few_shots.add(shot.id, self._comparison.of(shot.sample))
        for name, fields in context.earlier:
            self._earlier.add(name, self._comparison.of(fields))

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample; one that is dropped names its nearest partner and the ratio."""
        if (found := self._looked_up.get(sample)) is None:
            found = self._looked_up[sample] = self._look_up(sample)
        if found.reason in ("", _KEPT):
            near = self._kept.nearest(found.compared, found.compared_with)
            if near and (found.near is None or near.ratio > found.near.ratio):
                found.near, found.reason = near, _KEPT
            found.compared_with = len(self._kept)
        return self.drop(found.reason, found.near.ratio, found.near.name) if found.near else self.keep()

    def remember(self, sample: GeneratedSample) -> None:
        """Compare later samples with this one as well."""
        found = self._looked_up.pop(sample, None)
        self._kept.add(sample.document.id, found.compared if found else self._comparison.of(sample.fields))

    def _look_up(self, sample: GeneratedSample) -> _LookedUp:
        """Compare a sample with all that does not change."""
        found = _LookedUp(self._comparison.of(sample.fields))
        for known, reason in (
            (self._few_shots, "nearly a few-shot"),
            (self._earlier, "nearly a sample of an earlier dataset"),
        ):
            if (near := known.nearest(found.compared)) is not None:
                found.near, found.reason = near, reason
                break
        return found


class _Known:
    """Samples in which the nearest is found that is nearly the same."""

    def __init__(self, threshold: float, comparison: Comparison) -> None:
        self._texts, self._comparison = NearTexts(threshold, is_set=True), comparison
        self._samples: list[Compared] = []

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, name: str, sample: Compared) -> None:
        self._texts.add(name, sample.text)
        self._samples.append(sample)

    def nearest(self, sample: Compared, start: int = 0) -> Near | None:
        return self._texts.nearest(sample.text, start, lambda row: self._comparison.is_near(sample, self._samples[row]))


@dataclass
class _LookedUp:
    """What is known of a sample that may be asked about again.

    Attributes:
        compared: what of it is compared.
        near: what it nearly is.
        reason: why it is dropped for that.
        compared_with: kept samples that it was compared with.
    """

    compared: Compared
    near: Near | None = None
    reason: str = ""
    compared_with: int = 0
