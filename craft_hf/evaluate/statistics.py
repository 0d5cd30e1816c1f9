"""How sure a figure is: values of single items come in, means with 95% intervals and paired tests go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from craft_hf.base import InputError

LEVEL = 0.95
RESAMPLES = 10_000
"""Bootstrap samples; with so many, a bound moves by about 1% of the interval's width from seed to seed."""

_AT_ONCE = 10_000_000
"""Values that the bootstrap holds in memory at a time."""


@dataclass(frozen=True)
class Scores:
    """What one measure says of one model: a value for each item, their mean, and its 95% interval.

    `ids` name the items, in the order of `values`. `weights` make the mean a ratio of sums (bits per byte: all bits
    over all bytes); without them each item counts the same. `value` is the (weighted) mean and `low` to `high` its
    interval, by the method in `interval`. `what` says in words what was measured, `chance` what guessing gives, and
    `higher_is_better` which way is good. A figure that is no mean (win rate at equal length) has no values of items.
    """

    measure: str
    what: str
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
    def right_or_wrong(self) -> bool:
        """Whether every item is either right (1) or wrong (0)."""
        return not self.weights and set(self.values) <= {0.0, 1.0}


@dataclass(frozen=True)
class Difference:
    """A measure of one model minus that of another on the same items.

    `p` is the two-sided p-value of the paired bootstrap; `mcnemar_p` that of McNemar's exact test, where items are
    right or wrong.
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
    what: str,
    ids: Sequence[str],
    values: Sequence[float],
    *,
    weights: Sequence[float] = (),
    chance: float | None = None,
    higher_is_better: bool | None = True,
    seed: int = 0,
) -> Scores:
    """Return the mean of values with its 95% interval.

    Args:
        measure: short name, such as "letter".
        what: what was measured, in words.
        ids: of the items; shape (items,).
        values: one for each item.
        weights: above 0, one for each item; none for a plain mean.
        chance: what guessing would give.
        higher_is_better: None where neither way is good.
        seed: draws the bootstrap samples.

    Means get the percentile bootstrap over items (B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 13). Shares of right items get the Wilson score interval in its place: near 0 or 1 the bootstrap is too
    narrow, and of width 0 where all items are right or all wrong, which happens with formats (L. D. Brown, T. T. Cai,
    A. DasGupta, Interval estimation for a binomial proportion, Statistical Science 16, 2001).

    Raises:
        InputError: there are fewer than two items, of which no interval can be had.
    """
    if len(values) < 2:
        raise InputError(f"{measure} has {len(values)} items; an interval needs 2 or more.")
    numbers, sizes = np.asarray(values, float), np.asarray(weights or np.ones(len(values)), float)
    mean = float((numbers * sizes).sum() / sizes.sum())
    if not weights and set(numbers.tolist()) <= {0.0, 1.0}:
        from scipy.stats import binomtest

        found = binomtest(round(numbers.sum()), len(numbers)).proportion_ci(LEVEL, method="wilson")
        low, high, interval = float(found.low), float(found.high), "wilson"
    else:
        low, high = percentiles(bootstrap_means(numbers, sizes, seed))
        interval = "bootstrap"
    return Scores(
        measure, what, mean, low, high, interval, len(numbers), tuple(ids), tuple(numbers.tolist()), tuple(weights),
        chance, higher_is_better,
    )  # fmt: skip


def compare(ours: Scores, theirs: Scores, seed: int = 0) -> Difference:
    """Return `ours` minus `theirs`, by a paired test over the items that both were measured on.

    Items are drawn with replacement, both models' values together (P. Koehn, Statistical significance tests for
    machine translation evaluation, EMNLP 2004). The p-value is twice the share of bootstrap differences on the other
    side of zero, each share with one added above and below, so that it agrees with the interval and is never 0. For
    right or wrong, McNemar's exact test asks whether the items that only one model gets right fall evenly (Q. McNemar,
    Psychometrika 12, 1947): the binomial test on them.

    Raises:
        InputError: the measures or the items are not the same, or the measure has no values of items.
    """
    if ours.measure != theirs.measure:
        raise InputError(f"{ours.measure} cannot be compared with {theirs.measure}; compare a measure with itself.")
    if not ours.values or (ours.ids, ours.weights) != (theirs.ids, theirs.weights):
        raise InputError(
            f"{ours.measure} was not measured on the same items: {len(ours.ids)} and {len(theirs.ids)}; "
            "measure both on the same file, with the same limit and seed."
        )
    numbers = np.asarray(ours.values) - np.asarray(theirs.values)
    sizes = np.asarray(ours.weights or np.ones(len(numbers)), float)
    means = bootstrap_means(numbers, sizes, seed)
    low, high = percentiles(means)
    shares = [(1 + int((means <= 0).sum())) / (1 + len(means)), (1 + int((means >= 0).sum())) / (1 + len(means))]
    value = float((numbers * sizes).sum() / sizes.sum())
    exact = _mcnemar(numbers) if ours.right_or_wrong and theirs.right_or_wrong else None
    return Difference(ours.measure, len(numbers), value, low, high, min(1.0, 2 * min(shares)), exact)


def bootstrap_means(numbers: np.ndarray, sizes: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Return the weighted means of items drawn with replacement, shape (resamples,).

    Args:
        numbers: a value for each item, shape (items,).
        sizes: their weights, above 0, shape (items,).
        seed: draws the items.
        resamples: how often, 1 or more.
    """
    draw, n = np.random.default_rng(seed), len(numbers)
    products, means = numbers * sizes, []
    step = max(1, _AT_ONCE // n)
    for start in range(0, resamples, step):
        rows = draw.integers(n, size=(min(step, resamples - start), n))
        means.append(products[rows].sum(1) / sizes[rows].sum(1))
    return np.concatenate(means)


def percentiles(means: np.ndarray) -> tuple[float, float]:
    """Return the bounds between which the middle 95% of bootstrap means lie."""
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _mcnemar(differences: np.ndarray) -> float:
    from scipy.stats import binomtest

    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
