"""Means with confidence intervals, and paired tests: against published values, and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.errors import InputError
from craft_hf.evaluation.statistics import Difference, Scores, compare, summarize


def scores(values: list[float], weights: list[float] | None = None, measure: str = "m", seed: int = 0) -> Scores:
    """Scores of numbered items."""
    return summarize(measure, "", [str(i) for i in range(len(values))], values, weights=weights or (), seed=seed)


def test_shares_get_the_published_wilson_intervals() -> None:
    """Newcombe (Statistics in Medicine 17, 1998, table I, method 3) gives these four intervals."""
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (right, n), interval in published.items():
        found = scores([1.0] * right + [0.0] * (n - right))
        assert (found.low, found.high) == pytest.approx(interval, abs=5e-5)
        assert (found.interval, found.value, found.n) == ("wilson", right / n, n)


def test_bootstrap_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    """For many values the percentile bootstrap comes to the mean plus and minus 1.96 standard errors."""
    values = np.random.default_rng(3).gamma(2.0, size=2_000)
    found = scores(values.tolist())
    half = 1.96 * values.std() / len(values) ** 0.5
    assert found.interval == "bootstrap"
    assert found.low == pytest.approx(values.mean() - half, abs=half / 20)
    assert found.high == pytest.approx(values.mean() + half, abs=half / 20)


def test_bootstrap_intervals_cover_the_mean_about_95_times_of_100() -> None:
    """Of 300 samples of 60 values each, 90 to 98 of 100 intervals contain the true mean."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        found = scores(rng.normal(1.0, size=60).tolist())
        held += found.low <= 1.0 <= found.high
    assert 0.90 <= held / 300 <= 0.98


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 90)), min_size=2, max_size=20))
def test_weights_make_the_mean_a_ratio_of_sums(pairs: list[tuple[float, int]]) -> None:
    """Bits per byte of all items is all bits over all bytes, and lies within its interval or next to it."""
    values, weights = [v for v, _ in pairs], [float(w) for _, w in pairs]
    found = scores(values, weights)
    assert found.value == pytest.approx(sum(v * w for v, w in pairs) / sum(weights), abs=1e-9)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_the_same_seed_gives_the_same_interval() -> None:
    """The bootstrap depends on the seed alone."""
    values = np.random.default_rng(2).normal(size=40).tolist()
    assert scores(values) == scores(values)
    assert scores(values).low != scores(values, seed=1).low or scores(values).high != scores(values, seed=1).high


def test_one_item_has_no_interval() -> None:
    """A single item is refused."""
    with pytest.raises(InputError, match=r"m has 1 item\(s\); a confidence interval needs 2 or more"):
        scores([1.0])


def test_compare_is_the_difference_with_mcnemars_exact_p() -> None:
    """8 items gained and 1 lost of 60: the sign test's p is 2 (1 + 9) / 2^9."""
    theirs = scores([0.0] * 8 + [1.0] + [1.0] * 51)
    ours = scores([1.0] * 8 + [0.0] + [1.0] * 51)
    found = compare(ours, theirs)
    assert found.value == pytest.approx(7 / 60)
    assert found.mcnemar_p == pytest.approx(2 * 10 / 512)
    assert 0 < found.low < 7 / 60 < found.high
    assert 0 < found.p < 0.05
    turned = compare(theirs, ours)
    assert (turned.value, turned.mcnemar_p) == (-found.value, found.mcnemar_p)


def test_compare_of_equal_models_finds_no_difference() -> None:
    """The interval has width 0, and p is 1."""
    same = scores([1.0, 0.0, 1.0])
    assert compare(same, same) == Difference("m", 3, 0.0, 0.0, 0.0, 1.0, 1.0)
    measured = scores([0.3, 0.1, 0.2])
    assert compare(measured, measured).mcnemar_p is None


@pytest.mark.slow
def test_paired_p_values_are_small_as_often_as_they_say() -> None:
    """Between models that do not differ, p is below 0.05 about five times in 100, whatever they have in common."""
    rng, small = np.random.default_rng(9), 0
    for _ in range(200):
        common = rng.normal(size=80)
        one, other = (scores((common + rng.normal(size=80)).tolist()) for _ in range(2))
        small += compare(one, other).p < 0.05
    assert 0.02 <= small / 200 <= 0.10


def test_pairing_finds_what_two_intervals_do_not() -> None:
    """A small gain on every item, next to which items differ much: the intervals overlap, the paired test is sure."""
    easy = np.random.default_rng(1).normal(size=50)
    theirs, ours = scores(easy.tolist()), scores((easy + 0.1).tolist())
    assert theirs.high > ours.low
    assert compare(ours, theirs).p < 0.001


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (scores([1.0, 0.0], measure="other"), "m cannot be compared with other"),
        (scores([1.0, 0.0, 1.0]), r"has different items in the two results \(2 and 3\)"),
        (scores([1.0, 0.0], weights=[1.0, 2.0]), "has different items in the two results"),
    ],
)
def test_compare_refuses_what_does_not_belong_together(other: Scores, message: str) -> None:
    """Another measure, other items and other weights are errors."""
    with pytest.raises(InputError, match=message):
        compare(scores([1.0, 0.0]), other)
