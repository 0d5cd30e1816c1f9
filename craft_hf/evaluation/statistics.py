"""Means over items with 95% confidence intervals, and paired tests between two models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from craft_hf.base import InputError

CONFIDENCE = 0.95
RESAMPLES = 10_000
"""Bootstrap resamples; with this many, a bound varies by about 1% of the interval's width from seed to seed."""

_MAX_VALUES_IN_MEMORY = 10_000_000
"""Limit on the values that the bootstrap holds in memory."""


@dataclass(frozen=True)
class Scores:
    """One measure of one model: the value of each item, their mean, and its 95% confidence interval.

    `ids` identify the items, in the order of `values`. `weights` make the mean a ratio of sums (bits per byte: all bits
    over all bytes); without them all items count the same. `value` is the (weighted) mean, and `low` to `high` its
    interval by the method named in `interval`. `chance` is what random guessing gives. `higher_is_better` is None where
    neither direction is better. A measure that is not a mean over items (length-controlled win rate) has no `values`.
    """

    measure: str
    description: str
    value: float
    low: float
    high: float
    interval: str
    n: int
    ids: tuple[str, ...] = field(default=(), repr=False)
    values: tuple[float, ...] = field(default=(), repr=False)
    weights: tuple[float, ...] = field(default=(), repr=False)
    chance: float | None = None
    higher_is_better: bool | None = True

    @property
    def is_binary(self) -> bool:
        """Whether each item is either right (1) or wrong (0)."""
        return not self.weights and set(self.values) <= {0.0, 1.0}


@dataclass(frozen=True)
class Difference:
    """A measure of one model minus the same measure of another, over the same items.

    `p` is the two-sided p-value of the paired bootstrap, and `mcnemar_p` that of McNemar's exact test, for items that
    are either right or wrong.
    """

    measure: str
    n: int
    value: float
    low: float
    high: float
    p: float
    mcnemar_p: float | None


def summarize(
    measure: str,
    description: str,
    ids: Sequence[str],
    values: Sequence[float],
    *,
    weights: Sequence[float] = (),
    chance: float | None = None,
    higher_is_better: bool | None = True,
    seed: int = 0,
) -> Scores:
    """Return the mean of values with its 95% confidence interval.

    Means get the percentile bootstrap over items (B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13). Proportions (values that are all 0 or 1) get the Wilson score interval instead: near 0 and 1 the
    bootstrap is too narrow, and its width is 0 where all items agree (L. D. Brown, T. T. Cai, A. DasGupta, Interval
    estimation for a binomial proportion, Statistical Science 16, 2001).

    Args:
        measure: short name, such as "letter".
        description: what the value means, in words.
        ids: of the items.
        values: one for each item.
        weights: above 0, one for each item; empty for an unweighted mean.
        chance: expected value of random guessing.
        higher_is_better: None where neither direction is better.
        seed: of the bootstrap.

    Raises:
        InputError: there are fewer than two items.
    """
    if len(values) < 2:
        raise InputError(f"{measure} has {len(values)} item(s); a confidence interval needs 2 or more.")
    numbers, sizes = np.asarray(values, float), np.asarray(weights or np.ones(len(values)), float)
    mean = float((numbers * sizes).sum() / sizes.sum())
    if not weights and set(numbers.tolist()) <= {0.0, 1.0}:
        from scipy.stats import binomtest

        found = binomtest(round(numbers.sum()), len(numbers)).proportion_ci(CONFIDENCE, method="wilson")
        low, high, interval = float(found.low), float(found.high), "wilson"
    else:
        low, high = percentile_interval(bootstrap_means(numbers, sizes, seed))
        interval = "bootstrap"
    return Scores(
        measure, description, mean, low, high, interval, len(numbers), tuple(ids), tuple(numbers.tolist()),
        tuple(weights), chance, higher_is_better,
    )  # fmt: skip


def compare(ours: Scores, theirs: Scores, seed: int = 0) -> Difference:
    """Return the difference `ours` minus `theirs`, with paired tests over the items.

    The paired bootstrap resamples items and takes both models' values of each (P. Koehn, Statistical significance tests
    for machine translation evaluation, EMNLP 2004). Its p-value is twice the smaller share of bootstrap differences on
    either side of zero; one is added to numerator and denominator, so that it is never 0. For items that are right or
    wrong there is also McNemar's exact test (Q. McNemar, Psychometrika 12, 1947): a binomial test on the items that
    only one of the models gets right.

    Raises:
        InputError: the measures or the items differ, or the measure has no per-item values.
    """
    if ours.measure != theirs.measure:
        raise InputError(
            f"{ours.measure} cannot be compared with {theirs.measure}; compare the same measure of two models."
        )
    if not ours.values or (ours.ids, ours.weights) != (theirs.ids, theirs.weights):
        raise InputError(
            f"{ours.measure} has different items in the two results ({len(ours.ids)} and {len(theirs.ids)}); evaluate "
            "both models on the same file, with the same limit and seed."
        )
    numbers = np.asarray(ours.values) - np.asarray(theirs.values)
    sizes = np.asarray(ours.weights or np.ones(len(numbers)), float)
    means = bootstrap_means(numbers, sizes, seed)
    low, high = percentile_interval(means)
    shares = [(1 + int((means <= 0).sum())) / (1 + len(means)), (1 + int((means >= 0).sum())) / (1 + len(means))]
    value = float((numbers * sizes).sum() / sizes.sum())
    exact = _mcnemar(numbers) if ours.is_binary and theirs.is_binary else None
    return Difference(ours.measure, len(numbers), value, low, high, min(1.0, 2 * min(shares)), exact)


def bootstrap_means(numbers: np.ndarray, sizes: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return the weighted means of items resampled with replacement, shape (resamples,).

    Args:
        numbers: a value for each item, shape (items,).
        sizes: the weight of each item, above 0, shape (items,).
        seed: of the resampling.
        resamples: how many, 1 or more.
    """
    rng, n = np.random.default_rng(seed), len(numbers)
    products, means = numbers * sizes, []
    step = max(1, _MAX_VALUES_IN_MEMORY // n)
    for start in range(0, resamples, step):
        rows = rng.integers(n, size=(min(step, resamples - start), n))
        means.append(products[rows].sum(1) / sizes[rows].sum(1))
    return np.concatenate(means)


def percentile_interval(means: np.ndarray) -> tuple[float, float]:
    """Return the bounds of the middle 95% of bootstrap means."""
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _mcnemar(differences: np.ndarray) -> float:
    from scipy.stats import binomtest

    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
