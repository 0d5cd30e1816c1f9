"""Statistics of unit vectors: near-duplicates, mean similarity, Vendi score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from craft_hf.base import Vectors

NEAR_DUPLICATE_SIMILARITY = 0.95
"""Cosine similarity from which two documents count as near-duplicates."""

MAX_COMPARED = 25_000
"""Most vectors of which all pairs are compared, some seconds on two cores; of more, this many are sampled."""

MAX_EXAMPLES = 5

_BLOCK = 256


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of nearly equal vectors.

    Attributes:
        compared: vectors of which all pairs were compared.
        pairs: pairs with a similarity of `NEAR_DUPLICATE_SIMILARITY` or more.
        repeats: vectors that have such a partner before them in the list.
        examples: the most similar pairs: (row, row of the partner before it, cosine similarity).
    """

    compared: int
    pairs: int
    repeats: int
    examples: tuple[tuple[int, int, float], ...]


def normalized(vectors: Vectors) -> Vectors:
    """Return vectors of length 1 in the same directions, float32 (rows, dimension); zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, np.where(lengths > 0, lengths, 1), dtype=np.float32)


def near_duplicates(vectors: Vectors) -> NearDuplicates:
    """Find all pairs of nearly equal vectors, in blocks, so that memory is linear in their number.

    Args:
        vectors: unit vectors, float32 (rows, dimension); of more than MAX_COMPARED, a seeded sample is compared.
    """
    rows = np.arange(len(vectors))
    if len(rows) > MAX_COMPARED:
        rows = np.sort(np.random.default_rng(0).choice(rows, MAX_COMPARED, replace=False))
        vectors = vectors[rows]
    pairs = repeats = 0
    examples: list[tuple[int, int, float]] = []
    for start in range(0, len(rows), _BLOCK):
        end = start + _BLOCK
        cosines = np.tril(vectors[start:end] @ vectors[:end].T, start - 1)  # with those before it only
        near = cosines >= NEAR_DUPLICATE_SIMILARITY
        pairs += int(near.sum())
        repeated = np.flatnonzero(near.any(axis=1))
        repeats += len(repeated)
        partners = cosines[repeated].argmax(axis=1)
        found = zip(rows[start + repeated], rows[partners], cosines[repeated, partners], strict=True)
        examples += ((int(row), int(partner), min(1.0, round(float(c), 4))) for row, partner, c in found)
        examples = sorted(examples, key=lambda example: (-example[2], example))[:MAX_EXAMPLES]
    return NearDuplicates(len(rows), pairs, repeats, tuple(examples))


def mean_similarity(vectors: Vectors) -> float | None:
    """Return the mean cosine similarity of all pairs, from the norm of the vectors' sum; None for fewer than two.

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
    """Return the Vendi score (Friedman and Dieng, arXiv 2210.02410), the effective number of different vectors.

    It ranges from 1 (all are equal) to the smaller of rows and dimension. It is computed from the (dimension,
    dimension) matrix of products, which has the non-zero eigenvalues of the similarity matrix, in time linear in rows.

    Args:
        vectors: unit vectors, float32 (rows, dimension).
    """
    if not len(vectors):
        return None
    values = np.linalg.eigvalsh((vectors.T @ vectors).astype(np.float64) / len(vectors))
    values = values[values > 0]
    return float(np.exp(-(values * np.log(values)).sum()))
