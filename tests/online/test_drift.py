"""ADWIN on misses: a change for the worse is found, and learning is faster for a while."""

import numpy as np
import pytest

from temporec.online.drift import Drift, DriftConfig


def misses(rate: float, count: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(count) < rate).astype(float)


def test_a_steady_stream_is_no_drift() -> None:
    drift = Drift()
    assert not any(drift.update(misses(0.4, 500, seed)) for seed in range(20))
    assert drift.rate == 1.0
    assert drift.level == pytest.approx(0.4, abs=0.02)


def test_a_change_for_the_worse_is_found_and_wears_off() -> None:
    drift = Drift(DriftConfig(boost=4.0, calm=500))
    drift.update(misses(0.3, 3_000))
    assert drift.update(misses(0.8, 1_000, 1))
    assert drift.found == 1
    assert 1.5 < drift.rate <= 4.0
    drift.update(misses(0.8, 5_000, 2))
    assert drift.rate == pytest.approx(1.0, abs=0.01)
    assert drift.level == pytest.approx(0.8, abs=0.03)


def test_getting_better_is_no_drift() -> None:
    drift = Drift()
    drift.update(misses(0.8, 3_000))
    assert not drift.update(misses(0.3, 3_000, 1))
    assert drift.rate == 1.0
