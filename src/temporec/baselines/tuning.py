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
from temporec.recommend.validation import hide_seen
from temporec.runtime import random_state

__all__ = ["Tuned", "tune"]


FINALISTS = 3  # configs of a grid that are judged again, on more cases
MORE = 5  # times as many
CHUNK = 128  # cases ranked at once: their scores stay in the cache


@dataclass(frozen=True, eq=False)
class Tuned:
    """The best of a grid.

    Args:
        recommender: fitted on the training part, with the best config.
        config: that config.
        table: {"config": ..., "cases": ..., "ndcg@10": ...} of every config, in the order of the grid.
    """

    recommender: Baseline
    config: BaselineConfig
    table: list[dict[str, Any]]


def tune(
    name: str, train: Dataset, valid: Cases, *, exclude_seen: bool = True, limit: int = 2000, seed: int = 0
) -> Tuned:
    """Fit the configs of a baseline's grid on `train` and keep the best by mean NDCG@10 on `valid`.

    All configs are judged on a sample of the cases, the best three of them again on a sample five times as large: on
    2,000 cases alone chance decides between configs that differ by less than 0.005.

    Args:
        name: a registered baseline.
        train: training part of a split.
        valid: validation cases, encoded in the catalog of `train`.
        exclude_seen: leave the items of a history out of its ranking.
        limit: cases of the first, seeded sample.
        seed: of the samples.

    Raises:
        MissingExtraError: the baseline needs a library that is not installed.
        ConfigError: the data set is too large for the method.
    """
    cls: type[Baseline] = registry.get("baseline", name)
    grid, asked = cls.grid(), np.flatnonzero(np.diff(valid.offsets) > 0)
    if not len(asked):
        raise EmptyLogError(f"{len(valid)} validation cases have no targets to tune {name} on; use a longer log")
    walk = _Walk(cls, train, exclude_seen)
    few, many = _sample(valid, asked, limit, seed), _sample(valid, asked, MORE * limit, seed)
    if len(grid) <= FINALISTS:
        few = many
    table: list[dict[str, Any]] = [
        {"config": c.to_dict(), "cases": len(few), "ndcg@10": walk.judge(c, few)} for c in grid
    ]
    if len(few) < len(many):
        finalists = sorted(range(len(grid)), key=lambda i: -table[i]["ndcg@10"])[:FINALISTS]
        walk.forget()
        for i in sorted(finalists):
            table[i].update({"cases": len(many), "ndcg@10": walk.judge(grid[i], many)})
    return Tuned(walk.best, walk.best.config, table)


class _Walk:
    """Judge configs one after the other, fit only where one needs it, and keep the best."""

    best: Baseline

    def __init__(self, cls: type[Baseline], train: Dataset, exclude_seen: bool) -> None:
        self.cls, self.train, self.exclude_seen = cls, train, exclude_seen
        self.fitted: Baseline | None = None
        self.forget()

    def forget(self) -> None:
        """Let the next config be the best one."""
        self.top = -np.inf

    def judge(self, config: BaselineConfig, cases: Cases) -> float:
        """Mean NDCG@10 of a config."""
        again = None if self.fitted is None else self.fitted.with_config(config)
        if again is None:
            self.fitted = None  # frees a large matrix before the next one is made
            again = self.cls(config).fit(self.train, self.exclude_seen)
        self.fitted = again
        quality = _ndcg(again, cases, self.exclude_seen)
        if quality > self.top:
            self.best, self.top = again, quality
        return quality


def _sample(valid: Cases, asked: np.ndarray, limit: int, seed: int) -> Cases:
    if len(asked) > limit:
        asked = np.sort(random_state(seed, 5).choice(asked, limit, replace=False))
    return valid.rows(asked)


def _ndcg(recommender: Baseline, cases: Cases, exclude_seen: bool) -> float:
    """Mean NDCG@10 over cases: all items ranked, pessimistic ties."""
    total = 0.0
    for rows, scores in recommender.chunks(cases.histories, CHUNK):
        part = cases.rows(rows)
        if exclude_seen:
            hide_seen(scores, part.histories)
        ranks = rank_targets(scores, part.targets, part.offsets)
        total += float(ndcg(ranks, part.offsets, 10).sum())
    return total / len(cases)
