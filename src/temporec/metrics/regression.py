"""How far predicted numbers are from the true ones.

With n pairs of truth y and prediction p (pairs without a truth, NaN, are left out; a NaN prediction makes the result
NaN, and no pairs at all give NaN):

    mae   mean of |y - p|                        rmse  square root of mse
    mse   mean of (y - p)^2                      mape  mean of |y - p| / |y| over pairs with y != 0, as a fraction
    mase  mae / mae of "as one season ago" on the training series (Hyndman and Koehler 2006): below 1 beats naive
"""

from collections.abc import Callable

import numpy as np

from temporec.errors import DataError

__all__ = ["REGRESSION_METRICS", "mae", "mape", "mase", "mse", "rmse"]


def mae(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error."""
    return _mean(np.abs(np.subtract(*_pairs(truth, predicted))))


def mse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean squared error."""
    return _mean(np.subtract(*_pairs(truth, predicted)) ** 2)


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(mse(truth, predicted)))


def mape(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error relative to the truth, as a fraction; truths of 0 are left out."""
    y, p = _pairs(truth, predicted)
    return _mean(np.abs((y - p)[y != 0] / y[y != 0]))


def mase(truth: np.ndarray, predicted: np.ndarray, train: np.ndarray, season: int = 1) -> float:
    """Mean absolute error over that of the seasonal naive forecast on the training series."""
    train = np.asarray(train, dtype=np.float64)
    if season < 1 or len(train) <= season:
        raise DataError(f"mase with season {season} needs a training series longer than that, got {len(train)} values")
    steps = np.abs(train[season:] - train[:-season])
    naive = _mean(steps[~np.isnan(steps)])
    return mae(truth, predicted) / naive if naive > 0 else np.nan


REGRESSION_METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mae": mae,
    "mse": mse,
    "rmse": rmse,
    "mape": mape,
}


def _pairs(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.shape != p.shape:
        raise DataError(f"truth of shape {y.shape} and predictions of shape {p.shape} do not match")
    known = ~np.isnan(y)
    return y[known], p[known]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan
