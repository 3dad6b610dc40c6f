"""Do the models beat the best baseline? Paired differences over the same cases, and a plain sentence."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from temporec.errors import DataError
from temporec.evaluation.result import Result
from temporec.metrics.intervals import Difference, paired_difference
from temporec.metrics.ranking import parse_metric

__all__ = ["Comparison", "compare_results"]

WORDS = {"hit_rate": "HR", "ndcg": "NDCG", "mrr": "MRR", "map": "MAP", "f1": "F1"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every model against the best baseline.

    Args:
        metric: by which.
        best_model: the model with the highest mean; None without models.
        best_baseline: the baseline with the highest mean; None without baselines.
        means: of all models and baselines.
        differences: model minus best baseline, per model; empty without baselines.
        verdict: plain sentences.
    """

    metric: str
    best_model: str | None
    best_baseline: str | None
    means: Mapping[str, float]
    differences: Mapping[str, Difference]
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        differences = {
            name: {**{key: _json(value) for key, value in asdict(gap).items()}, "clear": gap.is_clear}
            for name, gap in self.differences.items()
        }
        return {
            "metric": self.metric,
            "best_model": self.best_model,
            "best_baseline": self.best_baseline,
            "means": {name: _json(value) for name, value in self.means.items()},
            "differences": differences,
            "verdict": self.verdict,
        }


def compare_results(
    models: Mapping[str, Result],
    baselines: Mapping[str, Result],
    metric: str = "ndcg@10",
    *,
    samples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Paired bootstrap of every model against the best baseline, over the headline cases.

    Raises:
        DataError: the results are not of the same cases, or do not have the metric.
    """
    metric = "@".join(map(str, parse_metric(metric)))
    results = {**baselines, **models}
    if not results:
        raise DataError("there is nothing to compare; give at least one result")
    if doubled := sorted(set(models) & set(baselines)):
        raise DataError(f"{doubled[0]!r} is the name of a model and of a baseline; give one of them another name")
    _check(results, metric)
    values = {name: result.values[metric][result.headline] for name, result in results.items()}
    means = {name: float(each.mean()) if len(each) else float("nan") for name, each in values.items()}
    model, baseline = _best(models, means), _best(baselines, means)
    gaps = {}
    if baseline is not None:
        gaps = {name: paired_difference(values[name], values[baseline], samples, seed=seed) for name in models}
    ordered = sorted(models, key=lambda name: -means[name])
    sentences = [_sentence(name, gaps.get(name), baseline, means[name], metric) for name in ordered]
    if len(models) > 1:
        sentences.insert(0, f"The best model is {model} with {_word(metric)} {means[ordered[0]]:.4f}.")
    if not models:
        sentences = (
            [f"No model was compared; the best baseline is {baseline} with {_word(metric)} {means[baseline]:.4f}."]
            if baseline
            else []
        )
    return Comparison(metric, model, baseline, means, gaps, " ".join(sentences))


def _best(names: Mapping[str, Result], means: Mapping[str, float]) -> str | None:
    return max(names, key=lambda name: np.nan_to_num(means[name], nan=-np.inf), default=None)


def _sentence(name: str, gap: Difference | None, baseline: str | None, mean: float, metric: str) -> str:
    word = _word(metric)
    if gap is None or baseline is None:
        return f"{name} has {word} {mean:.4f}; there is no baseline to compare it with."
    if not gap.n:
        return f"{name} cannot be compared with {baseline}: no case has a known event and a target."
    digits = _digits(gap)
    size, low, high = (f"{value:.{digits}f}" for value in (abs(gap.mean), gap.low, gap.high))
    if gap.low > 0:
        return f"{name} beats the best baseline, {baseline}, by {size} {word} (95 % interval {low} to {high})."
    if gap.high < 0:
        flipped = f"{-gap.high:.{digits}f} to {-gap.low:.{digits}f}"
        return f"{name} is worse than the best baseline, {baseline}, by {size} {word} (95 % interval {flipped})."
    signed = f"{gap.mean:+.{digits}f}"
    return (
        f"{name} does not beat the best baseline, {baseline}: the interval includes zero "
        f"({signed} {word}, 95 % interval {low} to {high})."
    )


def _digits(gap: Difference) -> int:
    """Three decimals, more where the interval would otherwise seem to touch zero or to have no width."""
    digits = 3
    while digits < 6 and (
        round(gap.low, digits) == round(gap.high, digits)
        or 0 in (round(gap.low, digits), round(gap.high, digits), round(gap.mean, digits))
    ):
        digits += 1
    return digits


def _word(metric: str) -> str:
    name, _, k = metric.partition("@")
    return f"{WORDS.get(name, name.replace('_', ' '))}@{k}"


def _check(results: Mapping[str, Result], metric: str) -> None:
    first_name, first = next(iter(results.items()))
    for name, result in results.items():
        if metric not in result.values:
            raise DataError(f"{name} was not evaluated by {metric}; it has {', '.join(result.values)}")
        same = (
            np.array_equal(result.headline, first.headline)
            and np.array_equal(result.cases.offsets, first.cases.offsets)
            and np.array_equal(result.cases.targets, first.cases.targets)
        )
        if not same:
            raise DataError(f"{name} and {first_name} were not evaluated on the same cases; use one split for all")


def _json(value: float) -> float | None:
    return value if np.isfinite(value) else None
