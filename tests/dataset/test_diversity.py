"""Diversity: figures that can be worked out by hand, and rows too few to measure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.embedder import Vectors
from craft_hf.dataset.diversity import (
    MOST_COMPARED,
    RowVectors,
    distinct,
    draw_numbers,
    measure_diversity,
    nearest_few_shot,
    nearest_row,
    project,
    self_bleu,
)


def directions(*degrees: float) -> Vectors:
    """Unit vectors of the plane, float32 (degrees, 2)."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).reshape(len(degrees), 2)


VECTORS = RowVectors(directions(0, 60, 90), directions(10, 70, 100), directions(0, 180))


def test_distinct_counts_ngrams_inside_texts() -> None:
    """Case and punctuation do not matter, no n-gram spans two texts, and no n-gram at all is no figure."""
    texts = ["The cat, the dog.", "the cat"]
    assert distinct(texts, (1, 2, 3)) == {1: 3 / 6, 2: 3 / 4, 3: 1}
    assert distinct(["one two"], [3]) == {3: None}


@given(st.lists(st.text(alphabet="ab ", max_size=12), max_size=6), st.integers(1, 3))
def test_distinct_is_a_share(texts: list[str], n: int) -> None:
    """It is above 0 and at most 1, and saying everything twice halves it."""
    share = distinct(texts, [n])[n]
    if share is not None:
        assert 0 < share <= 1
        assert distinct(texts * 2, [n]) == {n: share / 2}


def test_self_bleu_goes_from_strangers_to_twins() -> None:
    """Equal texts give 1, texts without a common word almost 0, one text nothing."""
    twin = "Mitochondria make most of the chemical energy of a cell."
    assert self_bleu([twin, twin, twin.upper()]) == pytest.approx(1)
    mixed = self_bleu([twin, twin, "Fold egg whites into batter and bake until golden"])
    apart = self_bleu([twin, "Fold egg whites into batter and bake until golden"])
    assert mixed is not None
    assert apart is not None
    assert 0 <= apart < 0.1 < 0.6 < mixed < 0.8
    assert self_bleu(["yes", "yes"]) == pytest.approx(1)
    assert self_bleu([twin]) is self_bleu([]) is None
    assert self_bleu(["", ""]) == 0


def test_draw_keeps_the_order() -> None:
    """Few are all taken; of many the same ones each time, in their order."""
    assert draw_numbers(3, 5) == [0, 1, 2]
    drawn = draw_numbers(1000, 5)
    assert drawn == sorted(set(drawn)) == draw_numbers(1000, 5)
    assert len(drawn) == 5


def test_nearest_leaves_a_row_itself_out() -> None:
    """The nearest other row and the nearest few-shot are those by angle."""
    np.testing.assert_allclose(nearest_row(VECTORS), np.cos(np.radians([60, 30, 30])), atol=1e-6)
    np.testing.assert_allclose(nearest_few_shot(VECTORS), np.cos(np.radians([0, 60, 90])), atol=1e-6)
    alone = RowVectors(directions(0), directions(1), directions())
    assert len(nearest_row(alone)) == len(nearest_few_shot(alone)) == 0


def test_project_keeps_distances_that_fit_a_plane() -> None:
    """Vectors of a plane lie on the map as far apart as before; all kinds come back, and all variance is shown."""
    mapped = project(VECTORS)
    assert mapped
    points, shares = mapped
    before, after = (np.concatenate([v.samples, v.documents, v.few_shots]) for v in (VECTORS, points))
    assert after.shape == before.shape
    distances = [np.linalg.norm(p[:, None] - p[None], axis=2) for p in (before, after)]
    np.testing.assert_allclose(*distances, atol=1e-6)
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert shares[0] >= shares[1]
    np.testing.assert_allclose(points.samples, project(VECTORS)[0].samples)  # type: ignore[index]


def test_project_needs_something_to_vary() -> None:
    """Two vectors, and equal ones, have no map."""
    assert project(RowVectors(directions(0), directions(10), directions())) is None
    assert project(RowVectors(directions(0, 0), directions(0, 0), directions(0))) is None


def test_measure_rounds_and_draws() -> None:
    """Figures have four decimals; self-BLEU says of how many rows it is."""
    texts = [f"sample {i} says what number {i * i} is" for i in range(MOST_COMPARED + 10)]
    found = measure_diversity(texts, VECTORS)
    assert (found.rows, found.self_bleu_rows, found.embedded) == (60, 50, 3)
    assert found.nearest_row == {"min": 0.5, "median": 0.866, "p95": 0.866, "max": 0.866}
    assert found.nearest_few_shot == {"min": 0.0, "median": 0.5, "p95": 1.0, "max": 1.0}
    assert found.map_variance
    assert measure_diversity(texts, VECTORS) == found


def test_n_grams_are_counted_in_rows_drawn_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share is that of as many rows in any dataset, and says so."""
    texts = [f"sample {i % 3} says what number {i} is" for i in range(40)]
    monkeypatch.setattr("craft_hf.dataset.diversity.MOST_COUNTED", 20)
    found = measure_diversity(texts, None)
    drawn = [texts[number] for number in draw_numbers(40, 20)]
    assert (found.rows, found.distinct_rows) == (40, 20)
    assert found.distinct == {str(n): round(share or 0, 4) for n, share in distinct(drawn, (1, 2, 3)).items()}


def test_measure_of_one_row_and_of_no_vectors() -> None:
    """What cannot be measured is None or empty, not 0."""
    one = measure_diversity(["What is a cell?"], RowVectors(directions(0), directions(10), directions(0, 90)))
    assert one.distinct == {"1": 1.0, "2": 1.0, "3": 1.0}
    assert (one.self_bleu, one.nearest_row) == (None, {})
    assert one.nearest_few_shot["max"] == 1
    nothing = measure_diversity([], None)
    assert dataclasses.asdict(nothing) == {
        "rows": 0, "distinct": {"1": None, "2": None, "3": None}, "distinct_rows": 0, "self_bleu": None,
        "self_bleu_rows": 0, "embedded": 0,
        "nearest_row": {}, "nearest_few_shot": {}, "map_variance": None,
    }  # fmt: skip


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "c.", "D", "e,", "f"]), max_size=12).map(" ".join), min_size=2, max_size=6
    )
)
def test_self_bleu_is_that_of_sacrebleu(texts: list[str]) -> None:
    """Counting the n-grams of all texts once gives what counting them for each text anew gives."""
    bleu = sacrebleu.BLEU(lowercase=True, effective_order=True)
    scores = [bleu.sentence_score(text, [*texts[:i], *texts[i + 1 :]]).score for i, text in enumerate(texts)]
    assert self_bleu(texts) == pytest.approx(min(1.0, sum(scores) / len(scores) / 100))
