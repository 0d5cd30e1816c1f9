"""Does the sample say the same as one before it, in other words? Cosine similarity of their embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from craft_hf.base import JSON, Vectors, Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.quality.growing import GrowingArray
from craft_hf.tasks import Task, texts_of

SAME = 0.95
"""Cosine similarity from which two samples count as the same.

Of 1,158 real questions of biology with their options the nearest two have 0.95, and ask for opposites; the next, of
which one is the other reworded, 0.945.
"""

_BLOCK = 8_192
"""Rows that are compared at a time, to save memory."""

_ROUNDING = 1e-5
"""More than what two ways of computing the same cosine similarity in float32 can differ by."""

Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


class _Nearest:
    """A sample's vector, and the rows of kept samples that may be the nearest to it.

    Attributes:
        vector: shape (dimension,).
        rows: (cosine similarity, row), all that are within `_ROUNDING` of the greatest.
        compared: rows that it was compared with.
    """

    def __init__(self, vector: Vector) -> None:
        self.vector, self.rows, self.compared = vector, list[tuple[float, int]](), 0

    def add(self, start: int, cosines: Vector) -> None:
        """Take in the similarities to the rows from `start` on."""
        self.compared = start + len(cosines)
        near = np.flatnonzero(cosines >= cosines.max() - _ROUNDING)
        rows = [*self.rows, *((float(cosines[place]), start + int(place)) for place in near)]
        best = max(rows)[0]
        self.rows = [(cosine, row) for cosine, row in rows if cosine >= best - _ROUNDING]


class SemanticCheck(Check):
    """Compares each sample with the few-shots, with earlier datasets and with all samples kept so far, in order.

    What is embedded are a sample's texts, of long ones the beginning.
    """

    name = "semantic"
    label = "no duplicate in meaning"
    about = "not nearly a few-shot, an earlier row, or a kept one, in meaning"
    compares = True
    reject_reason = "says the same as another"

    def __init__(self, context: CheckContext) -> None:
        super().__init__(context)
        self._embedder, shots, earlier = context.embedder, self.task.few_shots, context.earlier
        self._ids = [*(shot.id for shot in shots), *(name for name, _ in earlier)]
        self._few_shots, self._given = len(shots), len(self._ids)
        self._kept = GrowingArray(np.float32, self._embedder.dimension)
        self._kept.append(self._embedder.encode_cached([sample_text(shot.sample) for shot in shots]))
        self._kept.append(self._embedder.encode_each([sample_text(fields) for _, fields in earlier]))
        self._prepared: dict[GeneratedSample, _Nearest] = {}

    @classmethod
    def limit(cls, task: Task) -> Limit:
        """Return the similarity from which two samples are the same."""
        return Limit(SAME, drops_above=True, near=0.2)

    def prepare(self, samples: Sequence[GeneratedSample]) -> None:
        """Embed the samples of a batch, and compare them with all that were kept before it."""
        vectors = self._embedder.encode_each([sample_text(sample.fields) for sample in samples])
        found = [_Nearest(vector) for vector in vectors]
        if found:
            self._compare(found, 0)
        self._prepared = dict(zip(samples, found, strict=True))

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample; the partner is the nearest that was kept, the first of several."""
        if (nearest := self._prepared.get(sample)) is None:
            nearest = self._prepared[sample] = _Nearest(self.vector_of(sample.fields))
        self._compare([nearest], nearest.compared)
        if not nearest.rows:
            return self.keep()
        # np.dot of two vectors is of the same shape always, and so the same to the last bit
        exact = {row: float(np.dot(self._kept.values[row], nearest.vector)) for _, row in nearest.rows}
        partner = min(exact, key=lambda row: (-exact[row], row))
        score, name = round(exact[partner], 4), self._ids[partner]
        if exact[partner] < SAME:
            return self.keep(score, partner=name)
        return self.drop(f"means the same as {self._kind(partner)}", score, name)

    def remember(self, sample: GeneratedSample) -> None:
        """Compare later samples with this one as well."""
        self._ids.append(sample.document.id)
        self._kept.append(self.vector(sample))

    def vector(self, sample: GeneratedSample) -> Vector:
        """Return the vector of a sample that was just checked."""
        nearest = self._prepared.get(sample)
        return self.vector_of(sample.fields) if nearest is None else nearest.vector

    @property
    def few_shot_vectors(self) -> Vectors:
        """The vectors of the few-shots, in order."""
        return self._kept.values[: self._few_shots].copy()

    def _compare(self, found: Sequence[_Nearest], start: int) -> None:
        """Compare samples with the kept ones from `start` on."""
        vectors, kept = np.stack([nearest.vector for nearest in found]), self._kept.values
        for block in range(start, len(kept), _BLOCK):
            for nearest, cosines in zip(found, vectors @ kept[block : block + _BLOCK].T, strict=True):
                nearest.add(block, cosines)

    def _kind(self, partner: int) -> str:
        if partner < self._few_shots:
            return "a few-shot"
        return "a sample of an earlier dataset" if partner < self._given else "a kept sample"

    def vector_of(self, fields: Mapping[str, JSON]) -> Vector:
        """Return the vector of a sample's fields."""
        vector: Vector = self._embedder.encode_each([sample_text(fields)])[0]
        return vector


def sample_text(fields: Mapping[str, JSON]) -> str:
    """Return all texts of a sample, a line each."""
    return "\n".join(texts_of(fields))
