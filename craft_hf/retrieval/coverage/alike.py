"""How alike the vectors of a list are: unit vectors come in, near-duplicates and diversity go out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from craft_hf.base import Vectors

NEARLY_EQUAL = 0.95
"""Cosine similarity from which two documents count as near-duplicates."""

MOST_COMPARED = 25_000
"""Documents up to which every pair is compared, some seconds on two cores; of more, so many are drawn."""

MOST_EXAMPLES = 5

_BLOCK = 256


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of nearly equal vectors.

    `compared` vectors were compared, each with each; `pairs` of them are nearly equal; `repeats` vectors have such a
    partner before them in the list. `examples` are the nearest: (row, row of the partner before it, cosine similarity).
    """

    compared: int
    pairs: int
    repeats: int
    examples: tuple[tuple[int, int, float], ...]


def unit(vectors: Vectors) -> Vectors:
    """Return vectors of length 1 in the same directions, float32 (rows, dimension); zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, np.where(lengths > 0, lengths, 1), dtype=np.float32)


def near_duplicates(vectors: Vectors) -> NearDuplicates:
    """Find all pairs of nearly equal vectors, block by block: the memory grows with their number, not with its square.

    Args:
        vectors: unit vectors, float32 (rows, dimension); of more than MOST_COMPARED, a seeded draw is compared.
    """
    rows = np.arange(len(vectors))
    if len(rows) > MOST_COMPARED:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_COMPARED, replace=False))
        vectors = vectors[rows]
    pairs = repeats = 0
    examples: list[tuple[int, int, float]] = []
    for start in range(0, len(rows), _BLOCK):
        end = start + _BLOCK
        cosines = np.tril(vectors[start:end] @ vectors[:end].T, start - 1)  # with those before it only
        near = cosines >= NEARLY_EQUAL
        pairs += int(near.sum())
        repeated = np.flatnonzero(near.any(axis=1))
        repeats += len(repeated)
        partners = cosines[repeated].argmax(axis=1)
        found = zip(rows[start + repeated], rows[partners], cosines[repeated, partners], strict=True)
        examples += ((int(row), int(partner), min(1.0, round(float(c), 4))) for row, partner, c in found)
        examples = sorted(examples, key=lambda example: (-example[2], example))[:MOST_EXAMPLES]
    return NearDuplicates(len(rows), pairs, repeats, tuple(examples))


def mean_similarity(vectors: Vectors) -> float | None:
    """Return the mean cosine similarity of all pairs, from the length of the vectors' sum; None of fewer than two.

    Args:
        vectors: unit vectors, float32 (rows, dimension).
    """
    count = len(vectors)
    if count < 2:
        return None
    total = vectors.sum(axis=0, dtype=np.float64)
    with_itself = float(np.square(vectors, dtype=np.float64).sum())
    return float(total @ total - with_itself) / (count * (count - 1))


def vendi_score(vectors: Vectors) -> float | None:
    """Return the Vendi score (Friedman and Dieng, arXiv 2210.02410): how many wholly different vectors are as diverse.

    It goes from 1, all are equal, to the smaller one of rows and dimension. The matrix of cosine similarities has the
    same eigenvalues as the much smaller one of the dimensions' products, so it takes a time linear in the rows.

    Args:
        vectors: unit vectors, float32 (rows, dimension).
    """
    if not len(vectors):
        return None
    values = np.linalg.eigvalsh((vectors.T @ vectors).astype(np.float64) / len(vectors))
    values = values[values > 0]
    return float(np.exp(-(values * np.log(values)).sum()))
