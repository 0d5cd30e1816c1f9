"""Does the sample say the same as one before it, in other words? Cosine similarity of their embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from craft_hf.base import JSON, Embedder, FewShot, Vectors, Verdict
from craft_hf.tasks import texts_of

SAME = 0.95
"""Cosine similarity from which two samples count as the same.

Of 1,158 real questions of biology with their options the nearest two have 0.95, and ask for opposites; the next, of
which one is the other reworded, 0.945.
"""

_BLOCK = 8_192


class SemanticDuplicates:
    """Compares each sample with the few-shots and with all samples kept so far, in order.

    Args:
        few_shots: the task's.
        embedder: embeds a sample's texts, of long ones the beginning.
        earlier: samples of other datasets that no sample may repeat: (name of the sample, its fields).
    """

    def __init__(
        self, few_shots: Sequence[FewShot], embedder: Embedder, earlier: Sequence[tuple[str, Mapping[str, JSON]]] = ()
    ) -> None:
        self._embedder = embedder
        self._ids = [*(shot.id for shot in few_shots), *(name for name, _ in earlier)]
        self._few_shots, self._given = len(few_shots), len(self._ids)
        self._kept = embedder.encode_cached([sample_text(shot.sample) for shot in few_shots])
        if earlier:
            more = embedder.encode([sample_text(fields) for _, fields in earlier])
            self._kept = np.concatenate([self._kept, more])
        self._batch = self._kept[:0]
        self._partners, self._new = list[int](), list[int]()

    def start(self, samples: Sequence[Mapping[str, JSON]]) -> None:
        """Embed the samples of a batch, and compare them with all that were kept before it."""
        self._batch = self._vectors(samples)
        self._partners, self._new = _nearest(self._batch, self._kept), []

    def check(self, number: int) -> Verdict:
        """Judge a sample of the batch by its place there; the partner is the nearest that was kept."""
        vector, nearest = self._batch[number], list[tuple[float, int]]()
        if len(self._kept):
            row = self._partners[number]
            # np.dot of two vectors is of the same shape always, and so the same to the last bit
            nearest.append((float(np.dot(self._kept[row], vector)), row))
        if self._new:
            place = int((self._batch[self._new] @ vector).argmax())
            nearest.append((float(np.dot(self._batch[self._new[place]], vector)), len(self._kept) + place))
        if not nearest:
            return Verdict("semantic", True)
        similarity, partner = max(nearest, key=lambda found: found[0])
        keep = similarity < SAME
        reason = "" if keep else f"means the same as {self._kind(partner)}"
        return Verdict("semantic", keep, reason, round(similarity, 4), self._ids[partner])

    def remember(self, number: int, document_id: str) -> None:
        """Compare later samples with this one of the batch as well."""
        self._ids.append(document_id)
        self._new.append(number)

    def finish(self) -> None:
        """Put what was kept of the batch with the rest."""
        self._kept = np.concatenate([self._kept, self._batch[self._new]])

    def _kind(self, partner: int) -> str:
        if partner < self._few_shots:
            return "a few-shot"
        return "a sample of an earlier dataset" if partner < self._given else "a kept sample"

    def _vectors(self, samples: Sequence[Mapping[str, JSON]]) -> Vectors:
        """Embed each sample alone: in a batch its vector would depend, in the last bits, on its neighbours."""
        none = np.empty((0, self._embedder.dimension), np.float32)
        return np.concatenate([none, *(self._embedder.encode([sample_text(fields)]) for fields in samples)])


def sample_text(fields: Mapping[str, JSON]) -> str:
    """Return all texts of a sample, a line each."""
    return "\n".join(texts_of(fields))


def _nearest(batch: Vectors, others: Vectors) -> list[int]:
    """Return for each row of a batch the row among others with the greatest cosine similarity, the first of several."""
    best = np.full(len(batch), -2.0, np.float32)
    partners = np.zeros(len(batch), np.int64)
    for start in range(0, len(others), _BLOCK):
        cosines = batch @ others[start : start + _BLOCK].T
        nearest = cosines.argmax(axis=1)
        values = cosines[np.arange(len(batch)), nearest]
        better = values > best
        best[better], partners[better] = values[better], start + nearest[better]
    return [int(partner) for partner in partners]
