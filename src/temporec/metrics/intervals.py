"""How sure a mean over users is: percentile bootstrap (Efron 1979), and paired differences between two models.

A resample of n cases is a multinomial count over the *distinct* values, so metrics with few of them (hit rate, NDCG
of one target) cost next to nothing; the distribution is exactly that of resampling cases.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from temporec.errors import DataError
from temporec.runtime import random_state

__all__ = ["Difference", "Interval", "bootstrap_mean", "paired_difference"]

_CELLS = 1 << 22  # numbers drawn at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over `n` cases and its bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of a - b over the same `n` cases, its interval, and the two-sided bootstrap p-value of "no difference"."""

    mean: float
    low: float
    high: float
    p: float
    n: int

    @property
    def is_clear(self) -> bool:
        """The interval excludes zero."""
        return self.low > 0 or self.high < 0


def bootstrap_mean(values: np.ndarray, samples: int = 2000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Mean and percentile interval; NaN (cases without a target) are left out. Without cases everything is NaN."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, 0)
    low, high = _percentiles(_resampled_means(values, samples, seed), confidence)
    return Interval(float(values.mean()), low, high, len(values))


def paired_difference(
    a: np.ndarray, b: np.ndarray, samples: int = 2000, confidence: float = 0.95, seed: int = 0
) -> Difference:
    """Bootstrap of the mean of a - b over cases where both have a value.

    p = 2 min(share of resampled means <= 0, share >= 0), with one added to counts and samples, at most 1.
    """
    if len(a) != len(b):
        raise DataError(f"paired values need the same cases, got {len(a)} and {len(b)}; evaluate the same users")
    gaps = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        return Difference(np.nan, np.nan, np.nan, np.nan, 0)
    means = _resampled_means(gaps, samples, seed)
    low, high = _percentiles(means, confidence)
    tail = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (samples + 1))
    return Difference(float(gaps.mean()), low, high, p, len(gaps))


def _percentiles(means: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resampled_means(values: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of `samples` resamples, float64 [samples]; memory does not grow with the number of cases times samples."""
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1:
        return np.full(samples, distinct[0])
    rng = random_state(seed)
    few = len(distinct) * 4 <= n
    means = np.empty(samples)
    for rows in _chunks(samples, len(distinct) if few else n):
        size = rows.stop - rows.start
        if few:
            means[rows] = rng.multinomial(n, counts / n, size=size) @ distinct / n
        else:
            means[rows] = values[rng.integers(0, n, size=(size, n), dtype=np.int64)].mean(axis=1)
    return means


def _chunks(samples: int, width: int) -> Iterator[slice]:
    step = max(1, _CELLS // width)
    for begin in range(0, samples, step):
        yield slice(begin, min(begin + step, samples))
