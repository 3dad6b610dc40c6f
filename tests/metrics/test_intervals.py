"""Bootstrap intervals: against a loop, against theory, and their ends."""

import math

import numpy as np
import pytest

from temporec.errors import DataError
from temporec.metrics.intervals import bootstrap_mean, paired_difference


def naive(values: np.ndarray, samples: int) -> tuple[float, float]:
    rng = np.random.default_rng(1)
    means = [float(rng.choice(values, len(values)).mean()) for _ in range(samples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("few", [True, False], ids=["counts of distinct values", "drawn cases"])
def test_slow_twin_and_theory(few: bool) -> None:
    rng = np.random.default_rng(0)
    values = (rng.random(400) < 0.3).astype(float) if few else rng.random(400)
    found = bootstrap_mean(values, samples=4000)
    error = values.std() / math.sqrt(400)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(naive(values, 4000), abs=0.15 * error)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert found.n == 400


def test_both_ways_draw_from_one_distribution() -> None:
    values = np.repeat([0.0, 0.5, 1.0], 100)
    blurred = values + np.random.default_rng(0).normal(0, 1e-9, 300)  # all distinct: the other way
    few, many = bootstrap_mean(values, 8000), bootstrap_mean(blurred, 8000)
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=0.004)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [bootstrap_mean((rng.random(300) < 0.4).astype(float), 500, 0.9, seed) for seed in range(300)]
    assert 0.85 < np.mean([each.low <= 0.4 <= each.high for each in found]) < 0.95


def test_seed_decides_and_missing_cases_do_not_count() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(np.append(values, np.nan), seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)
    constant = bootstrap_mean(np.full(9, 0.25))
    assert (constant.mean, constant.low, constant.high) == (0.25, 0.25, 0.25)
    assert bootstrap_mean(np.full(3, np.nan)).n == 0
    assert math.isnan(bootstrap_mean(np.zeros(0)).mean)


def test_paired_difference() -> None:
    rng = np.random.default_rng(0)
    b = rng.random(500)
    better = paired_difference(b + 0.02 + rng.normal(0, 0.05, 500), b)
    assert better.is_clear
    assert better.low < 0.02 < better.high
    assert better.p < 0.01
    same = paired_difference(b, b)
    assert (same.mean, same.p, same.is_clear) == (0.0, 1.0, False)
    noise = [paired_difference(rng.random(200), rng.random(200), 400, seed=s).p for s in range(200)]
    assert 0.01 < np.mean([p < 0.05 for p in noise]) < 0.1
    assert paired_difference(np.asarray([1.0, np.nan]), np.asarray([np.nan, 1.0])).n == 0


def test_paired_difference_refuses_other_cases() -> None:
    with pytest.raises(DataError, match="got 2 and 3"):
        paired_difference(np.zeros(2), np.zeros(3))
