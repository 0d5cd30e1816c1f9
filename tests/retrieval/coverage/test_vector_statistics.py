"""How alike vectors are: against every pair compared one by one, and within bounds of memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.sample import sample_corpus
from craft_hf.retrieval.coverage import vector_statistics
from craft_hf.retrieval.coverage.vector_statistics import (
    NEAR_DUPLICATE_SIMILARITY,
    mean_similarity,
    near_duplicates,
    normalized,
    vendi_score,
)


def some(seed: int, rows: int, noise: float = 0.15) -> Vectors:
    """Unit vectors around a few directions, so that some of them are nearly equal."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, rows // 3), 8))
    return normalized(
        (centres[rng.integers(len(centres), size=rows)] + noise * rng.standard_normal((rows, 8))).astype("f4")
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(1, 9))
def test_near_duplicates_are_those_of_all_pairs(seed: int, rows: int, block: int) -> None:
    """Pairs, repeats and the nearest examples are those of a plain loop, wherever the blocks end."""
    vectors = some(seed, rows)
    pairs = {
        (i, j): float(vectors[i] @ vectors[j])
        for i in range(rows)
        for j in range(i)
        if vectors[i] @ vectors[j] >= NEAR_DUPLICATE_SIMILARITY
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_statistics, "_BLOCK", block)
        found = near_duplicates(vectors)
    assert (found.compared, found.pairs, found.repeats) == (rows, len(pairs), len({i for i, _ in pairs}))
    assert len(found.examples) == min(len({i for i, _ in pairs}), vector_statistics.MAX_EXAMPLES)
    for i, j, cosine in found.examples:
        assert cosine == pytest.approx(pairs[i, j], abs=1e-4)
        assert cosine == pytest.approx(max(c for (row, _), c in pairs.items() if row == i), abs=1e-4)
    assert [c for _, _, c in found.examples] == sorted((c for _, _, c in found.examples), reverse=True)


def test_of_too_many_a_seeded_draw_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit so many are compared, always the same, and the examples keep their places in the list."""
    monkeypatch.setattr(vector_statistics, "MAX_COMPARED", 50)
    vectors = np.eye(300, dtype=np.float32)
    vectors[200:] = vectors[:100]
    found = near_duplicates(vectors)
    assert found.compared == 50
    assert found == near_duplicates(vectors)
    assert found.repeats
    assert all(row - partner == 200 for row, partner, _ in found.examples)


def test_memory_does_not_grow_with_the_square() -> None:
    """All 18 million pairs of 6,000 equal vectors are counted in a quarter of the memory that they would fill."""
    vectors = np.ones((6000, 1), dtype=np.float32)
    tracemalloc.start()
    found = near_duplicates(vectors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.pairs, found.repeats) == (6000 * 5999 // 2, 5999)
    assert peak < 4 * 6000**2 / 4


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_mean_similarity_is_that_of_all_pairs(seed: int, rows: int) -> None:
    """The short way gives the mean over all pairs."""
    vectors = some(seed, rows, noise=1.0)
    pairs = [float(vectors[i] @ vectors[j]) for i in range(rows) for j in range(i)]
    assert mean_similarity(vectors) == pytest.approx(float(np.mean(pairs)), abs=1e-5)


def test_few_vectors_have_no_mean_and_zeros_stay_zeros() -> None:
    """None of fewer than two, a Vendi score from one on, and nothing is divided by a length of zero."""
    nothing, one = np.zeros((0, 4), dtype=np.float32), np.eye(1, 4, dtype=np.float32)
    assert (mean_similarity(nothing), vendi_score(nothing)) == (None, None)
    assert (mean_similarity(one), vendi_score(one)) == (None, 1.0)
    zeros = normalized(np.zeros((3, 4), dtype=np.float32))
    assert (mean_similarity(zeros), near_duplicates(zeros).pairs) == (0.0, 0)
    assert np.isfinite(vendi_score(zeros) or 0)


def test_vendi_score_counts_what_differs() -> None:
    """Equal vectors count once, orthogonal ones each; in between it is the exponential of the eigenvalues' entropy."""
    assert vendi_score(np.ones((9, 1), dtype=np.float32)) == pytest.approx(1)
    assert vendi_score(np.eye(7, dtype=np.float32)) == pytest.approx(7)
    assert vendi_score(np.repeat(np.eye(3, dtype=np.float32), 5, axis=0)) == pytest.approx(3)
    vectors = some(1, 20)
    values = np.linalg.eigvalsh((vectors @ vectors.T).astype(np.float64) / 20)
    values = values[values > 1e-9]
    assert vendi_score(vectors) == pytest.approx(float(np.exp(-(values * np.log(values)).sum())), rel=1e-4)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.weights
def test_the_threshold_tells_copies_from_other_texts() -> None:
    """With the embedded weights, texts that lost a word in ten mostly count as repeats; other texts never do."""
    documents = list(Corpus(sample_corpus()))[::8]
    rng = np.random.default_rng(0)
    copies = [" ".join(word for word in d.text.split() if rng.random() > 0.1) for d in documents]
    vectors = Embedder().encode([*(d.text for d in documents), *copies])
    assert near_duplicates(vectors[: len(documents)]).pairs == 0
    assert near_duplicates(vectors).repeats > 0.75 * len(copies)
