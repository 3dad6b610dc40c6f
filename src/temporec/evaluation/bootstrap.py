"""Intervals of many means over the same cases from few resamples: one draw of cases serves many metrics.

The distribution is that of `metrics.intervals.bootstrap_mean`. With one target per case every accuracy metric is a
function of the rank, so that there are few distinct cases: these are counted, and a resample is a handful of numbers.
Metrics with many distinct values (novelty, diversity) share resamples of the cases themselves.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from temporec.runtime import random_state

__all__ = ["joint_intervals"]

_CELLS = 1 << 22  # numbers drawn at once
_FEW = 4  # distinct values are few where there are so many cases to each, or more


def joint_intervals(
    values: Mapping[str, np.ndarray], samples: int, seed: int, confidence: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the means of some columns over the same n cases; NaN values of a column are left out."""
    limits: dict[str, tuple[float, float]] = dict.fromkeys(values, (np.nan, np.nan))
    if not values or not (n := len(next(iter(values.values())))):
        return limits
    case, plain = np.zeros(n, dtype=np.int64), []  # case = number of the distinct row of the columns so far
    alike: list[str] = []
    for name, column in values.items():
        distinct, place = np.unique(column, return_inverse=True)
        joined = np.unique(case * len(distinct) + place, return_inverse=True)
        if len(joined[0]) * _FEW <= n:
            alike.append(name)
            case = joined[1]
        else:
            plain.append(name)
    first = np.unique(case, return_index=True)[1]
    edges = [(1 - confidence) / 2, (1 + confidence) / 2]
    for names, rows, counts in ((alike, first, np.bincount(case)), (plain, np.arange(n), np.ones(n, np.int64))):
        if not names:
            continue
        table = np.column_stack([values[name][rows] for name in names]).astype(np.float64)
        for name, means in zip(names, _means(table, counts, samples, seed).T, strict=True):
            known = means[~np.isnan(means)]
            low, high = np.quantile(known, edges) if len(known) else (np.nan, np.nan)
            limits[name] = (float(low), float(high))
    return limits


def _means(table: np.ndarray, counts: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Means of the columns of `table` [rows, M], whose rows stand for `counts` cases each, float64 [samples, M]."""
    known = ~np.isnan(table)
    numbers = np.where(known, table, 0.0)
    if not known.all():
        numbers = np.hstack([numbers, known])
    sums: np.ndarray = np.vstack([weights @ numbers for weights in _weights(counts, samples, seed)])
    if known.all():
        return np.asarray(sums / counts.sum())
    width = table.shape[1]
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[:, :width] / sums[:, width:])


def _weights(counts: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row was drawn, float64 [some samples, rows] at a time."""
    rng = random_state(seed)
    n, rows = int(counts.sum()), len(counts)
    step = max(1, _CELLS // rows)
    for begin in range(0, samples, step):
        size = min(step, samples - begin)
        if rows < n:
            yield rng.multinomial(n, counts / n, size=size).astype(np.float64)
            continue
        drawn = rng.integers(0, n, size=(size, n), dtype=np.int32)
        yield np.vstack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)
