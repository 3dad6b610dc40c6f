"""Intervals of many means over the same cases from one set of resamples: one draw of cases serves every metric.

The distribution is that of `metrics.intervals.bootstrap_mean`. Cases whose values are all alike (with one target per
case every accuracy metric is a function of the rank) are counted together, so that a resample is a handful of numbers.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from temporec.runtime import random_state

__all__ = ["joint_intervals"]

_CELLS = 1 << 22  # numbers drawn at once


def joint_intervals(
    values: Mapping[str, np.ndarray], samples: int, seed: int, confidence: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of the means of some columns over the same n cases; NaN values of a column are left out."""
    names = list(values)
    if not names or not len(values[names[0]]):
        return dict.fromkeys(names, (np.nan, np.nan))
    rows, counts = np.unique(np.column_stack([values[name] for name in names]), axis=0, return_counts=True)
    known = ~np.isnan(rows)
    table = np.hstack([np.where(known, rows, 0.0), known])
    sums = np.vstack([weights @ table for weights in _weights(counts, samples, seed)])
    with np.errstate(invalid="ignore"):
        means = sums[:, : len(names)] / sums[:, len(names) :]
    edges = [(1 - confidence) / 2, (1 + confidence) / 2]
    limits = {}
    for name, column in zip(names, means.T, strict=True):
        kept = column[~np.isnan(column)]
        low, high = np.quantile(kept, edges) if len(kept) else (np.nan, np.nan)
        limits[name] = (float(low), float(high))
    return limits


def _weights(counts: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each distinct row was drawn, int64 [some samples, rows] at a time."""
    rng = random_state(seed)
    n, rows = int(counts.sum()), len(counts)
    few = rows * 4 <= n
    owner = np.repeat(np.arange(rows), counts)
    step = max(1, _CELLS // rows) if few else 1
    for begin in range(0, samples, step):
        size = min(step, samples - begin)
        if few:
            yield rng.multinomial(n, counts / n, size=size)
        else:
            yield np.bincount(owner[rng.integers(0, n, size=n)], minlength=rows)[None, :]
