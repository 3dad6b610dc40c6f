"""What an evaluation found: figures with intervals and rules, and the single cases behind them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from temporec.data.split import Cases
from temporec.data.vocabulary import Vocabulary
from temporec.evaluation.segments import Segment
from temporec.metrics.ranks import NEVER

__all__ = ["Answers", "Result"]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a recommender answered to B cases.

    Args:
        ranks: int64 [M] of all targets of the cases.
        items: int32 [B, k] the best items, 0 where fewer could be shown.
        probabilities: float32 [B, k] of those items: softmax over all items that could be shown.
    """

    ranks: np.ndarray
    items: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class Result:
    """Figures of one recommender on some cases.

    Args:
        metrics: {"ndcg@10": 0.06, ...}, means over the headline cases.
        intervals: 95 % limits of the means.
        segments: the same figures on parts of the cases.
        values: per case, float64 [B], for pairing with another recommender on the same cases; NaN without a target.
        headline: bool [B], the cases of `metrics`: those with at least one known event and a target.
        counts: how many cases of which sort there are.
        rules: a sentence each; what was counted and how.
        cases: the cases (the targets of each are distinct).
        answers: what the recommender said to each.
        vocabularies: of users and items.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    segments: tuple[Segment, ...]
    values: Mapping[str, np.ndarray]
    headline: np.ndarray
    counts: Mapping[str, int]
    rules: tuple[str, ...]
    cases: Cases
    answers: Answers
    vocabularies: tuple[Vocabulary, Vocabulary]

    def segment_table(self) -> dict[str, dict[str, dict[str, float]]]:
        """{"history length": {"2-4": {"cases": 812, "ndcg@10": 0.05, ...}}, ...} without intervals."""
        table: dict[str, dict[str, dict[str, float]]] = {}
        for part in self.segments:
            table.setdefault(part.group, {})[part.name] = {"cases": part.cases, **part.values}
        return table

    def to_dict(self) -> dict[str, Any]:
        """JSON values: test, interval, segments, cases, counts, rules; a figure that does not exist is None."""
        segments: dict[str, dict[str, Any]] = {}
        for part in self.segments:
            segments.setdefault(part.group, {})[part.name] = part.to_dict()
        return {
            "test": {name: _finite(value) for name, value in self.metrics.items()},
            "interval": {name: [_finite(low), _finite(high)] for name, (low, high) in self.intervals.items()},
            "segments": segments,
            "cases": int(self.headline.sum()),
            "counts": dict(self.counts),
            "rules": " ".join(self.rules),
        }

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """A row per case with external ids: user, known_events, targets, rank, items, probabilities.

        `rank` is that of the best target, missing where none could be shown; a target that the training catalog does
        not have is a missing value in `targets`; `items` and `probabilities` are the list, best first.
        """
        users, items = self.vocabularies
        shown = self.answers.items > 0
        ends = np.cumsum(shown.sum(axis=1))
        spans = np.concatenate([[0], ends])
        best = _best_ranks(self.answers.ranks, self.cases.offsets)
        return pl.DataFrame(
            {
                "user": _ids(users, self._user_numbers()),
                "known_events": self.cases.histories.lengths.astype(np.int64),
                "targets": _lists(_ids(items, self.cases.targets), self.cases.offsets),
                "rank": pl.Series(best, dtype=pl.Int64).replace(NEVER, None),
                "items": _lists(_ids(items, self.answers.items[shown]), spans),
                "probabilities": _lists(pl.Series(self.answers.probabilities[shown]), spans),
            }
        )

    def _user_numbers(self) -> np.ndarray:
        numbers = self.cases.histories.users
        return np.full(len(self.cases), -1) if numbers is None else numbers


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _best_ranks(ranks: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    best = np.full(len(offsets) - 1, NEVER, dtype=np.int64)
    np.minimum.at(best, np.repeat(np.arange(len(best)), np.diff(offsets)), ranks)
    return best


def _ids(vocabulary: Vocabulary, numbers: np.ndarray) -> pl.Series:
    """External ids; missing where the number stands for none."""
    index = numbers.astype(np.int64) - vocabulary.first
    known = (index >= 0) & (index < len(vocabulary))
    return vocabulary.ids.gather(pl.Series(np.where(known, index, 0)).set(pl.Series(~known), None))


def _lists(values: pl.Series, offsets: np.ndarray) -> pl.Series:
    """Consecutive values as one list per span."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    grouped = pl.DataFrame({"row": row, "value": values}).group_by("row", maintain_order=True).agg("value")
    rows = pl.DataFrame({"row": np.arange(len(offsets) - 1)})
    joined = rows.join(grouped, on="row", how="left", maintain_order="left")["value"]
    return joined.fill_null(pl.Series([[]], dtype=joined.dtype).first())
