import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporec.errors import DataError
from temporec.metrics.regression import REGRESSION_METRICS, mae, mape, mase, mse, rmse

NUMBER = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(NUMBER | st.just(math.nan), NUMBER), min_size=1, max_size=8))
def test_slow_twin(pairs: list[tuple[float, float]]) -> None:
    truth, predicted = (np.asarray(column) for column in zip(*pairs, strict=True))
    known = [(y, p) for y, p in pairs if not math.isnan(y)]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values) if values else math.nan

    assert mae(truth, predicted) == pytest.approx(mean([abs(y - p) for y, p in known]), nan_ok=True)
    assert mse(truth, predicted) == pytest.approx(mean([(y - p) ** 2 for y, p in known]), nan_ok=True)
    assert rmse(truth, predicted) == pytest.approx(math.sqrt(mean([(y - p) ** 2 for y, p in known])), nan_ok=True)
    if all(abs(y) > 1e-100 for y, _ in known):
        expected = mean([abs(y - p) / abs(y) for y, p in known])
        assert mape(truth, predicted) == pytest.approx(expected, nan_ok=True)


def test_mape_leaves_out_zero_truths() -> None:
    assert mape(np.asarray([0.0, 2.0]), np.asarray([5.0, 3.0])) == 0.5
    assert math.isnan(mape(np.zeros(2), np.ones(2)))


def test_mase_of_the_naive_forecast_is_one() -> None:
    series = np.random.default_rng(0).normal(size=60).cumsum()
    assert mase(series[7:], series[:-7], series, season=7) == pytest.approx(1.0)
    assert math.isnan(mase(series, series, np.ones(5)))
    with pytest.raises(DataError, match="got 7 values"):
        mase(series, series, series[:7], season=7)


@pytest.mark.parametrize("name", REGRESSION_METRICS)
def test_missing_and_mismatched(name: str) -> None:
    score = REGRESSION_METRICS[name]
    assert math.isnan(score(np.asarray([1.0, 2.0]), np.asarray([1.0, math.nan])))
    assert math.isnan(score(np.zeros(0), np.zeros(0)))
    with pytest.raises(DataError, match="do not match"):
        score(np.zeros(2), np.zeros(3))
