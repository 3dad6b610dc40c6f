"""How well labels are predicted; scikit-learn's definitions.

Per class with tp right, fp wrongly given and fn missed: precision tp / (tp + fp), recall tp / (tp + fn), F1
2 tp / (2 tp + fp + fn), each 0 where the denominator is 0. "macro" is the plain mean over classes that occur in the
truth or among the predictions; "micro" counts all classes together and, with one label per case, equals the accuracy.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from sklearn import metrics

from temporec.errors import DataError

__all__ = ["accuracy", "evaluate_labels", "f1", "precision", "recall"]

Average = Literal["macro", "micro"]


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of cases with the right label."""
    return float(metrics.accuracy_score(*_checked(truth, predicted)))


def precision(truth: np.ndarray, predicted: np.ndarray, average: Average = "macro") -> float:
    """Share of given labels that are right."""
    return _score(metrics.precision_score, truth, predicted, average)


def recall(truth: np.ndarray, predicted: np.ndarray, average: Average = "macro") -> float:
    """Share of true labels that are given."""
    return _score(metrics.recall_score, truth, predicted, average)


def f1(truth: np.ndarray, predicted: np.ndarray, average: Average = "macro") -> float:
    """Harmonic mean of precision and recall, per class."""
    return _score(metrics.f1_score, truth, predicted, average)


def evaluate_labels(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """All of the above: accuracy, and precision, recall, f1 in both averages ("f1_macro", ...)."""
    found = {"accuracy": accuracy(truth, predicted)}
    averages: tuple[Average, ...] = ("macro", "micro")
    for average in averages:
        for score in (precision, recall, f1):
            found[f"{score.__name__}_{average}"] = score(truth, predicted, average)
    return found


def _score(score: Callable[..., Any], truth: np.ndarray, predicted: np.ndarray, average: Average) -> float:
    return float(score(*_checked(truth, predicted), average=average, zero_division=0))


def _checked(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, p = np.asarray(truth), np.asarray(predicted)
    if y.shape != p.shape or y.ndim != 1 or not len(y):
        raise DataError(f"labels need one true and one predicted value per case, got shapes {y.shape} and {p.shape}")
    return y, p
