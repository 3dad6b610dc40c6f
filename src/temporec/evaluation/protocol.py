"""The one way in which everything is judged: exact ranks over the whole catalog, figures with intervals, rules stated.

Scores are asked for some users at a time and thrown away; users x items is never held.
"""

from typing import Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from temporec.config import Config
from temporec.data.catalog import PAD
from temporec.data.dataset import Dataset
from temporec.data.split import Cases
from temporec.errors import DataError
from temporec.evaluation.bootstrap import joint_intervals
from temporec.evaluation.result import Answers, Result
from temporec.evaluation.segments import history_segments, popularity_bands, target_segments
from temporec.evaluation.spaces import item_space
from temporec.metrics.beyond import (
    coverage,
    gini,
    intra_list_diversity,
    mean_popularity,
    novelty,
)
from temporec.metrics.ranking import evaluate_ranks
from temporec.metrics.ranks import NEVER, distinct_targets, rank_targets
from temporec.ranking.topk import top_k
from temporec.recommend.base import Recommender
from temporec.recommend.validation import hide_seen
from temporec.runtime import random_state

__all__ = ["EvaluationConfig", "Result", "answer", "evaluate"]

MetricName = Literal["hit_rate", "recall", "precision", "f1", "ndcg", "mrr", "map"]
PAIRED = ("ndcg@10", "hit_rate@10")
_ROWS = 128  # scores of so many users stay in the cache while they are ranked
_DIVERSE_LISTS = 2000  # lists whose diversity is measured, drawn at random where there are more


class EvaluationConfig(Config):
    """What is measured.

    Args:
        ks: cut-offs of the metrics.
        metrics: accuracy metrics, each at every k; accuracy@1 is always there.
        exclude_seen: leave the items of a user's history out of the ranking; None does as the recommender would.
        bootstrap: resamples behind an interval.
        seed: of the resamples.
        list_k: length of the lists for coverage, novelty, popularity, diversity and predictions.
    """

    ks: tuple[PositiveInt, ...] = Field(default=(5, 10, 20), min_length=1)
    metrics: tuple[MetricName, ...] = Field(
        default=("hit_rate", "recall", "precision", "f1", "ndcg", "mrr", "map"), min_length=1
    )
    exclude_seen: bool | None = None
    bootstrap: PositiveInt = 1000
    seed: NonNegativeInt = 0
    list_k: PositiveInt = 10

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics in full, each once, the paired ones always among them."""
        wanted = [f"{name}@{k}" for k in self.ks for name in self.metrics]
        return tuple(dict.fromkeys([*wanted, *PAIRED, "accuracy@1"]))


def evaluate(
    recommender: Recommender, cases: Cases, config: EvaluationConfig | None = None, *, train: Dataset | None = None
) -> Result:
    """Rank the targets of all cases and say how good that is.

    Args:
        recommender: what is judged; it sees the histories of the cases and nothing else of them.
        cases: questions with answers, in numbers of the recommender's catalog.
        config: what is measured.
        train: the training part of the split, for item popularity; the recommender's own data if None.

    Raises:
        DataError: there are no cases, or `train` has another catalog than the recommender.
    """
    config = config or EvaluationConfig()
    train = train or recommender.dataset
    _check(recommender, cases, train)
    exclude = recommender.exclude_seen if config.exclude_seen is None else config.exclude_seen
    cases = Cases(cases.histories, *distinct_targets(cases.targets, cases.offsets))
    answers = answer(recommender, cases, exclude, config.list_k)
    values = evaluate_ranks(config.names, answers.ranks, cases.offsets)
    lengths = cases.histories.lengths
    headline = (lengths > 0) & (np.diff(cases.offsets) > 0)
    counts = np.bincount(train.interactions.item, minlength=train.catalog.size)
    lists, totals, space = _beyond(answers.items[headline], counts, config, train)
    per_case = {name: each[headline] for name, each in values.items()} | lists
    bands = popularity_bands(counts)
    paired = {name: values[name] for name in PAIRED}
    rows = np.flatnonzero(headline)
    owned = np.repeat(headline, np.diff(cases.offsets))
    sampling = (config.bootstrap, config.seed)
    segments = (
        *history_segments(lengths, paired, *sampling),
        *target_segments(cases.rows(rows), answers.ranks[owned], bands, PAIRED, sampling),
    )
    metrics = {name: _mean(each) for name, each in per_case.items()} | totals
    found = _counts(cases, headline, answers.ranks, bands)
    return Result(
        metrics, joint_intervals(per_case, *sampling), segments, values, headline, found,
        _rules(config, exclude, found, bands, space), cases, answers,
        (recommender.users, recommender.catalog.vocabulary),
    )  # fmt: skip


@torch.no_grad()
def answer(recommender: Recommender, cases: Cases, exclude_seen: bool, k: int) -> Answers:
    """Ranks of all targets and the k best items of every case; ties are pessimistic."""
    width = min(k, recommender.catalog.size)
    ranks = np.full(len(cases.targets), NEVER, dtype=np.int64)
    items = np.zeros((len(cases), width), dtype=np.int32)
    probabilities = np.zeros((len(cases), width), dtype=np.float32)
    for chunk, given in recommender.chunks(cases.histories):
        scores = given.contiguous()
        scores[:, PAD] = -torch.inf
        if exclude_seen:
            hide_seen(scores, cases.histories.rows(chunk))
        for begin in range(0, len(chunk), _ROWS):
            rows, part = chunk[begin : begin + _ROWS], scores[begin : begin + _ROWS]
            span = slice(cases.offsets[rows[0]], cases.offsets[rows[-1] + 1])
            offsets = cases.offsets[rows[0] : rows[-1] + 2] - cases.offsets[rows[0]]
            ranks[span] = _ranks(part, cases.targets[span], offsets)
            best, numbers = top_k(part, width)
            shown = torch.isfinite(best)
            items[rows] = torch.where(shown, numbers, PAD).numpy()
            probabilities[rows] = torch.where(shown, torch.exp(best - _totals(part)), 0.0).numpy()
    return Answers(ranks, items, probabilities)


def _totals(scores: Tensor) -> Tensor:
    """Logarithm of the sum of the exponentials of each row [b, 1]; NaN counts as -inf."""
    totals = torch.logsumexp(scores, dim=1, keepdim=True)
    if bool(torch.isnan(totals).any()):
        totals = torch.logsumexp(torch.where(torch.isnan(scores), -torch.inf, scores), dim=1, keepdim=True)
    return totals


def _ranks(scores: Tensor, targets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Pessimistic ranks; with one target a row, the number of items whose score is not lower, in one pass."""
    if len(targets) != len(scores) or (np.diff(offsets) != 1).any():
        return rank_targets(scores, targets, offsets)
    lines = scores.numpy()
    own = lines[np.arange(len(targets)), targets]
    return np.where(own > -np.inf, np.count_nonzero(lines >= own[:, None], axis=1), NEVER)


def _beyond(
    lists: np.ndarray, counts: np.ndarray, config: EvaluationConfig, train: Dataset
) -> tuple[dict[str, np.ndarray], dict[str, float], str]:
    """Figures per case, figures of all lists together, and what diversity was measured by."""
    k, items = config.list_k, len(train.catalog)
    vectors, space = item_space(train)
    diversity = np.full(len(lists), np.nan)
    some = np.arange(len(lists))
    if len(some) > _DIVERSE_LISTS:
        some = np.sort(random_state(config.seed, 1).choice(some, _DIVERSE_LISTS, replace=False))
        space += f", on {len(some):,} lists"
    diversity[some] = intra_list_diversity(lists[some], vectors)
    lists_of = {
        f"novelty@{k}": novelty(lists, counts),
        f"popularity@{k}": mean_popularity(lists, counts),
        f"diversity@{k}": diversity,
    }
    return lists_of, {f"coverage@{k}": coverage(lists, items), f"gini@{k}": gini(lists, items)}, space


def _check(recommender: Recommender, cases: Cases, train: Dataset) -> None:
    if not len(cases):
        raise DataError("there are no cases to evaluate; use a longer log or another split")
    if not train.catalog.vocabulary.ids.equals(recommender.catalog.vocabulary.ids):
        raise DataError(
            f"the training data has a catalog of {len(train.catalog):,} items, the recommender another one of "
            f"{len(recommender.catalog):,}; evaluate with the training part that it was fitted on"
        )
    if cases.targets.max(initial=0) >= train.catalog.size or cases.histories.items.max(initial=0) >= train.catalog.size:
        raise DataError(f"the cases have item numbers above {len(train.catalog)}; encode them in the training catalog")


def _counts(cases: Cases, headline: np.ndarray, ranks: np.ndarray, bands: np.ndarray) -> dict[str, int]:
    answered = np.diff(cases.offsets) > 0
    return {
        "cases": int(headline.sum()),
        "cold_users": int((answered & (cases.histories.lengths == 0)).sum()),
        "without_target": int((~answered).sum()),
        "targets": len(cases.targets),
        "unknown_targets": int((cases.targets == PAD).sum()),
        "cold_targets": int((bands[cases.targets] == 3).sum()),
        "hidden_targets": int(((ranks == NEVER) & (cases.targets != PAD)).sum()),
    }


def _rules(
    config: EvaluationConfig, exclude: bool, found: dict[str, int], bands: np.ndarray, space: str
) -> tuple[str, ...]:
    head, mid, tail = ((bands[1:] == band).sum() for band in range(3))
    seen = (
        "Items of the user's history are left out of the ranking; a target among them counts as a miss."
        if exclude
        else "Items of the user's history stay in the ranking."
    )
    return (
        f"Every target is ranked among all {len(bands) - 1:,} items of the training catalog; among equal scores it "
        "stands last.",
        seen,
        f"Figures are means over the {found['cases']:,} cases with at least one known event; the "
        f"{found['cold_users']:,} cold users (no known event) are a segment of their own.",
        f"{found['unknown_targets']:,} of {found['targets']:,} targets are not in the training catalog and "
        f"{found['hidden_targets']:,} could not be shown; they count as misses.",
        f"Intervals are 95 % percentile bootstrap over cases, {config.bootstrap:,} resamples, seed {config.seed}.",
        f"Target popularity: the {head:,} head items hold the first third of the training events, the {mid:,} mid "
        f"items the second, the {tail:,} tail items the last; cold targets have no training event.",
        f"Lists of {config.list_k}: popularity is the mean number of training events of an item, gini how unevenly "
        f"items are shown (0 to 1), diversity is by {space}.",
    )


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
