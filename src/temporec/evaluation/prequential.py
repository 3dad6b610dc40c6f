"""Prequential evaluation: every event is first predicted, then known, then (if wanted) learned from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.data.interactions import kind_numbers
from temporec.data.split import Cases
from temporec.errors import DataError
from temporec.evaluation.protocol import answer
from temporec.metrics.ranking import evaluate_ranks
from temporec.recommend.base import Recommender

__all__ = ["Window", "prequential"]

_LONGEST = 512  # events of a history that are handed over, the last ones

Update = Callable[[pl.DataFrame], object]


@dataclass(frozen=True, slots=True)
class Window:
    """Figures over the events of one span [begin, end) of time, in UTC milliseconds."""

    begin: int
    end: int
    events: int  # predicted: those of users with at least one known event
    cold: int  # events of users without one
    metrics: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        return {
            "begin": self.begin,
            "end": self.end,
            "events": self.events,
            "cold": self.cold,
            **{name: value if np.isfinite(value) else None for name, value in self.metrics.items()},
        }


def prequential(
    recommender: Recommender,
    log: Dataset,
    borders: Sequence[int],
    *,
    update: Update | None = None,
    metrics: Sequence[str] = ("hit_rate@10", "ndcg@10"),
    exclude_seen: bool | None = None,
) -> list[Window]:
    """Replay a log: predict each event of a window from everything before it, then hand the window to `update`.

    Weights are those of the start of the window; histories grow with every event.

    Args:
        recommender: fitted on events before `borders[0]`.
        log: the whole log, with the events before it: they are the histories.
        borders: times that part the windows, ascending; the last is the end (exclusive).
        update: called after each window with its events (user, item, time ... in external ids), for instance
            `recommender.update`; None leaves the recommender as it is.
        metrics: names with their k.
        exclude_seen: leave seen items out; None does as the recommender would.
    """
    events = log.interactions
    if len(borders) < 2 or any(a >= b for a, b in pairwise(borders)):
        raise DataError(f"borders must be at least two ascending times in milliseconds; got {list(borders)}")
    hide = recommender.exclude_seen if exclude_seen is None else exclude_seen
    windows = []
    for begin, end in pairwise(borders):
        rows = np.flatnonzero((events.time >= begin) & (events.time < end))
        cases = _cases(recommender, log, rows)
        known = np.flatnonzero(cases.histories.lengths > 0)
        judged = cases.rows(known)
        ranks = answer(recommender, judged, hide, 1).ranks if len(known) else np.zeros(0, np.int64)
        values = evaluate_ranks(metrics, ranks)
        means = {name: float(each.mean()) if len(each) else float("nan") for name, each in values.items()}
        windows.append(Window(begin, end, len(known), len(rows) - len(known), means))
        if update is not None and len(rows):
            update(_external(log, rows))
    return windows


def _cases(recommender: Recommender, log: Dataset, rows: np.ndarray) -> Cases:
    """Each event as a question: the user's events before it, in numbers of the recommender's catalog."""
    events = log.interactions
    number = np.zeros(log.catalog.size, dtype=np.int32)
    number[1:] = recommender.catalog.vocabulary.encode_series(log.catalog.vocabulary.ids)
    known = number[events.item] > 0
    kept = np.flatnonzero(known)
    before = np.concatenate([[0], np.cumsum(known)])  # known events before each row of the log
    ends = before[rows]
    starts = np.maximum(before[events.offsets[events.user[rows]]], ends - _LONGEST)
    offsets = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)
    flat = kept[np.repeat(starts - offsets[:-1], ends - starts) + np.arange(offsets[-1])]
    users = recommender.users.encode_series(events.users.ids)[events.user[rows]].astype(np.int32)
    kinds = kind_numbers(events.kinds, recommender.dataset.interactions.kinds)
    histories = Histories(
        number[events.item[flat]], events.time[flat], offsets, None, users, events.has_time,
        None if events.kind is None else kinds[events.kind[flat]],
        None if events.value is None else events.value[flat],
    )  # fmt: skip
    return Cases(histories, number[events.item[rows]], np.arange(len(rows) + 1, dtype=np.int64))


def _external(log: Dataset, rows: np.ndarray) -> pl.DataFrame:
    """Events in external ids and in the order of time."""
    return log.interactions.take(rows).to_frame(log.catalog.vocabulary).sort("time", maintain_order=True)
