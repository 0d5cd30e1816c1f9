"""Is the sample nearly a few-shot, or nearly one that was kept before? Token-set ratio, as in the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rapidfuzz import fuzz, process, utils

from craft_hf.prompt import sample_json
from craft_hf.quality.candidates import Candidates
from craft_hf.records import JSON, FewShot, Verdict


class Duplicates:
    """Compares each sample with the few-shots and with all samples kept so far, in order.

    The decisions are those of comparing with all of them, but only texts that can reach the threshold are compared.
    thefuzz, which the authors use, lower-cases and strips punctuation before comparing; `default_process` is the same.

    Args:
        few_shots: the task's.
        threshold: token-set ratio, 0 to 100, from which a sample is dropped.
        earlier: samples of other datasets that no sample may repeat: (name of the sample, its fields).
    """

    def __init__(
        self, few_shots: Sequence[FewShot], threshold: float, earlier: Sequence[tuple[str, Mapping[str, JSON]]] = ()
    ) -> None:
        self._few_shots = _Known("nearly a few-shot", threshold)
        self._earlier = _Known("nearly a sample of an earlier dataset", threshold)
        self._kept = _Known("nearly a kept sample", threshold)
        for shot in few_shots:
            self._few_shots.add(shot.id, _processed(shot.sample))
        for name, fields in earlier:
            self._earlier.add(name, _processed(fields))

    def check(self, fields: Mapping[str, JSON]) -> Verdict:
        """Judge a sample; one that is dropped names its nearest partner and the ratio."""
        text = _processed(fields)
        verdicts = (known.nearest(text) for known in (self._few_shots, self._earlier, self._kept))
        return next((verdict for verdict in verdicts if verdict is not None), Verdict("duplicate", True))

    def remember(self, document_id: str, fields: Mapping[str, JSON]) -> None:
        """Compare later samples with this one as well."""
        self._kept.add(document_id, _processed(fields))


class _Known:
    """Texts to compare with, and whose they are; two documents may have the same id."""

    def __init__(self, reason: str, threshold: float) -> None:
        self._reason, self._threshold = reason, threshold
        self._ids, self._texts = list[str](), list[str]()
        self._candidates = Candidates(threshold)

    def add(self, name: str, text: str) -> None:
        self._ids.append(name)
        self._texts.append(text)
        self._candidates.add(text)

    def nearest(self, text: str) -> Verdict | None:
        """Return the verdict that drops a text for the one that is nearest to it; None if none is near."""
        rows = self._candidates.find(text)
        others = [self._texts[row] for row in rows]
        best = process.extractOne(text, others, scorer=fuzz.token_set_ratio, score_cutoff=self._threshold)
        if best is None:
            return None
        return Verdict("duplicate", False, self._reason, float(best[1]), self._ids[rows[best[2]]])


def _processed(fields: Mapping[str, JSON]) -> str:
    text: str = utils.default_process(sample_json(fields))
    return text
