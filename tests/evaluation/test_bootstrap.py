"""Joint intervals against the bootstrap of each column alone, and against resampling in words."""

import numpy as np
import pytest

from temporec.evaluation.bootstrap import joint_intervals
from temporec.metrics.intervals import bootstrap_mean

N = 400


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    """Two functions of one rank, a column of many values, and one with gaps."""
    rng = np.random.default_rng(5)
    ranks = rng.integers(1, 12, N)
    gaps = rng.normal(size=N)
    gaps[::3] = np.nan
    some = (ranks <= 5).astype(float)
    some[::2] = np.nan
    return {
        "hit": (ranks <= 5).astype(float),
        "ndcg": np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0),
        "many": rng.gamma(2.0, size=N),
        "gaps": gaps,
        "few gaps": some,
    }


def test_each_column_as_alone(columns: dict[str, np.ndarray]) -> None:
    joint = joint_intervals(columns, 4000, seed=0)
    for name, column in columns.items():
        alone = bootstrap_mean(column, 4000, seed=1)
        width = alone.high - alone.low
        assert joint[name] == pytest.approx((alone.low, alone.high), abs=0.08 * width), name


def test_slow_twin(columns: dict[str, np.ndarray]) -> None:
    rng = np.random.default_rng(9)
    means = []
    for _ in range(3000):
        drawn = columns["few gaps"][rng.integers(0, N, N)]
        means.append(np.nanmean(drawn))
    low, high = np.quantile(means, [0.025, 0.975])
    found = joint_intervals({"few gaps": columns["few gaps"]}, 3000, seed=2)["few gaps"]
    assert found == pytest.approx((low, high), abs=0.08 * (high - low))


def test_blocks_do_not_matter(columns: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks draw the same cases."""
    whole = joint_intervals({"many": columns["many"]}, 200, seed=0)
    monkeypatch.setattr("temporec.evaluation.bootstrap._CELLS", 7 * N)
    assert joint_intervals({"many": columns["many"]}, 200, seed=0)["many"] == pytest.approx(whole["many"])


def test_no_cases_and_constants() -> None:
    empty = joint_intervals({"a": np.zeros(0)}, 10, seed=0)
    assert np.isnan(empty["a"]).all()
    assert joint_intervals({}, 10, seed=0) == {}
    assert joint_intervals({"a": np.full(50, 0.25)}, 100, seed=0)["a"] == pytest.approx((0.25, 0.25))
    assert np.isnan(joint_intervals({"a": np.full(50, np.nan)}, 100, seed=0)["a"]).all()
    assert joint_intervals({"a": np.asarray([3.0])}, 100, seed=0)["a"] == pytest.approx((3.0, 3.0))
