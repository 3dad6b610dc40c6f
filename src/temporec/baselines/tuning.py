"""Choose a baseline's options on validation, so that a model is compared with its best and not with its default."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from temporec import registry
from temporec.baselines.base import Baseline, BaselineConfig
from temporec.data.dataset import Dataset
from temporec.data.split import Cases
from temporec.errors import EmptyLogError
from temporec.metrics.ranking import ndcg
from temporec.metrics.ranks import rank_targets
from temporec.recommend.fitting import hide_seen
from temporec.runtime import random_state

__all__ = ["Tuned", "tune"]


@dataclass(frozen=True, eq=False)
class Tuned:
    """The best of a grid.

    Args:
        recommender: fitted on the training part, with the best config.
        config: that config.
        table: {"config": ..., "ndcg@10": ...} of every config, in the order of the grid.
    """

    recommender: Baseline
    config: BaselineConfig
    table: list[dict[str, Any]]


def tune(
    name: str, train: Dataset, valid: Cases, *, exclude_seen: bool = True, limit: int = 2000, seed: int = 0
) -> Tuned:
    """Fit every config of a baseline's grid on `train` and keep the best by mean NDCG@10 on `valid`.

    Args:
        name: a registered baseline.
        train: training part of a split.
        valid: validation cases, encoded in the catalog of `train`.
        exclude_seen: leave the items of a history out of its ranking.
        limit: a seeded sample of so many cases is used if there are more.
        seed: of that sample.

    Raises:
        MissingExtraError: the baseline needs a library that is not installed.
        ConfigError: the data set is too large for the method.
    """
    cls: type[Baseline] = registry.get("baseline", name)
    cases = _sample(valid, limit, seed)
    best: Baseline | None = None
    fitted: Baseline | None = None
    top, table = -np.inf, []
    for config in cls.grid():
        again = None if fitted is None else fitted.with_config(config)
        if again is None:
            fitted = None  # frees a large matrix before the next one is made
            again = cls(config).fit(train, exclude_seen)
        fitted = again
        quality = _ndcg(fitted, cases, exclude_seen)
        table.append({"config": config.to_dict(), "ndcg@10": quality})
        if quality > top:
            best, top = fitted, quality
    if best is None:
        raise EmptyLogError(f"{len(valid)} validation cases have no targets to tune {name} on; use a longer log")
    return Tuned(best, best.config, table)


def _sample(valid: Cases, limit: int, seed: int) -> Cases:
    asked = np.flatnonzero(np.diff(valid.offsets) > 0)
    if len(asked) > limit:
        asked = np.sort(random_state(seed, 5).choice(asked, limit, replace=False))
    return valid.rows(asked)


def _ndcg(recommender: Baseline, cases: Cases, exclude_seen: bool) -> float:
    """Mean NDCG@10 over cases: all items ranked, pessimistic ties."""
    total = 0.0
    for rows, scores in recommender.chunks(cases.histories):
        part = cases.rows(rows)
        if exclude_seen:
            hide_seen(scores, part.histories)
        ranks = rank_targets(scores, part.targets, part.offsets)
        total += float(ndcg(ranks, part.offsets, 10).sum())
    return total / len(cases) if len(cases) else float("nan")
