"""Offline = online: a log is replayed event by event through the service's engine, and compared with batch scoring."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from temporec.data.batch import Histories
from temporec.data.vocabulary import Id
from temporec.errors import EmptyLogError
from temporec.recommend.base import Recommender
from temporec.recommend.live import Live
from temporec.recommend.live_log import LogEvent
from temporec.recommend.query import Query, Recommendations
from temporec.recommend.recommender import NeuralRecommender
from temporec.workflow.load import load
from temporec.workflow.settings import Settings

__all__ = ["Difference", "VerifyReport", "verify"]

TOLERANCE = 1e-3  # of scores, which are cosines times about 14; states agree to 1e-5


@dataclass(frozen=True)
class Difference:
    """The first answer that was not the same."""

    event: int  # its place in the replayed log, from 1
    user: Id
    what: str  # state, score or list
    online: Any
    offline: Any


@dataclass(frozen=True)
class VerifyReport:
    """How many answers were compared, and where they differ."""

    events: int
    skipped: int  # events of items that the model does not have
    answers: int
    largest_score_difference: float
    differences: int
    first: Difference | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        said = (
            f"{self.events:,} events replayed, {self.answers:,} answers compared "
            f"({self.skipped:,} events of unknown items skipped): {self.differences:,} differences; scores differ by "
            f"{self.largest_score_difference:.2g} at most"
        )
        if self.first is None:
            return said
        f = self.first
        return f"{said}\nfirst: event {f.event}, user {f.user!r}, {f.what}: online {f.online}, offline {f.offline}"


def verify(
    folder: str | Path,
    log: Any,
    *,
    settings: Settings | None = None,
    every: int = 1,
    limit: int | None = None,
    k: int = 10,
) -> VerifyReport:
    """Replay a log through `Live`, as `serve` does, and through `score` on the raw histories, which takes no steps.

    Args:
        folder: what `fit` wrote.
        log: events that go on after it, in the order in which they came, so that late ones are late here too: a
            table, or `LogEvent`s as a service has stored them.
        settings: columns and cleaning of a table.
        every: compare the answer to the user of each so-manieth event.
        limit: replay at most so many events.
        k: length of the lists.

    Raises:
        EmptyLogError: the model has none of the items.
    """
    live, batch = Live(Recommender.load(folder)), _Batch(Recommender.load(folder))
    events = _events(log, settings or Settings())[:limit]
    known = [event for event in events if event.item in live.catalog.vocabulary]
    if not known:
        raise EmptyLogError("the model has none of the items of this log; give a log of the same catalog")
    largest, first, count, answers = 0.0, None, 0, 0
    for place, event in enumerate(known, 1):
        live.take([event])
        batch.take(event)
        if place % every:
            continue
        answers += 1
        gap, found = batch.compare(live, Query(user=event.user, at=batch.newest(event.user) / 1000, k=k))
        largest = max(largest, gap)
        if found is not None:
            count += 1
            first = first or Difference(place, event.user, *found)
    return VerifyReport(len(known), len(events) - len(known), answers, largest, count, first)


def _events(log: Any, settings: Settings) -> list[LogEvent]:
    if isinstance(log, Sequence) and all(isinstance(event, LogEvent) for event in log):
        return list(log)
    return list(_rows(load(log, None, settings.data).frame))


def _rows(frame: pl.DataFrame) -> Iterator[LogEvent]:
    timed = "time" in frame.columns
    for sequence, row in enumerate(frame.iter_rows(named=True), 1):
        yield LogEvent(
            row["user"], row["item"], row["time"] if timed else sequence, sequence, row.get("kind"), row.get("value")
        )


class _Batch:
    """The other way: raw histories, sorted when they are asked for, and one forward pass over each."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.new: dict[str, list[LogEvent]] = {}
        self.kinds = list(recommender.dataset.interactions.kinds)

    def take(self, event: LogEvent) -> None:
        self.new.setdefault(str(event.user), []).append(event)

    def newest(self, user: Id) -> int:
        """The moment of a user's newest event, so that a late one is compared with all that came before it."""
        known: list[int] = self._old(user).times.tolist()
        return max([event.time for event in self.new[str(user)]] + known)

    def _old(self, user: Id) -> Histories:
        rec = self.recommender
        return rec.log.rows(rec.users.encode([user]).astype(np.int64) if user in rec.users else _NOBODY)

    def history(self, user: Id, at: int) -> Histories:
        """Everything known of a user, ordered by (time, sequence)."""
        rec, new, old = self.recommender, self.new.get(str(user), []), self._old(user)
        times = np.concatenate([old.times, np.asarray([event.time for event in new], np.int64)])
        order = np.argsort(times, kind="stable") if old.has_time else np.arange(len(times))
        items = np.concatenate([old.items, rec.catalog.vocabulary.encode([event.item for event in new])])[order]
        kinds, values = old.kinds, old.values
        if kinds is not None:
            own = [self.kinds.index(e.kind) if e.kind in self.kinds else -1 for e in new]
            kinds = np.concatenate([kinds, np.asarray(own, np.int16)])[order]
        if values is not None:
            own_values = [np.nan if e.value is None else e.value for e in new]
            values = np.concatenate([values, np.asarray(own_values, np.float32)])[order]
        return Histories(
            items, times[order], np.asarray([0, len(items)]), np.asarray([at]), None, old.has_time, kinds, values
        )

    def compare(self, live: Live, query: Query) -> tuple[float, tuple[str, Any, Any] | None]:
        """Largest difference of the scores, and what differs first: state, score or list."""
        assert query.user is not None
        rec, at = self.recommender, round(float(str(query.at)) * 1000)
        history = self.history(query.user, at)
        offline = rec.score(history)[0].clone()
        if isinstance(rec, NeuralRecommender) and live.states is not None:
            number = live.log.number(query.user)
            stored = live.log.histories([number], np.asarray([at]))
            online, expected = live.states.queries(stored, [number], [len(stored.items)])[0], rec.queries(history)[0]
            if (gap := float((online - expected).abs().max() / expected.abs().max())) > _STATE:
                return gap, ("state", gap, f"at most {_STATE}")
        answer = live.recommend(query)
        mask = rec.mask(query, history.items)
        expected_answer = rec.answer(offline, mask, query, answer.source)
        return _lists(answer, expected_answer, offline, rec)


_NOBODY = np.zeros(0, np.int64)
_STATE = 1e-4  # relative to the largest value of the query vector


def _lists(
    online: Recommendations, offline: Recommendations, scores: Tensor, rec: Recommender
) -> tuple[float, tuple[str, Any, Any] | None]:
    """Scores of the shown items, then their order; items whose scores are equal within the tolerance may swap."""
    numbers = torch.from_numpy(rec.catalog.vocabulary.encode(online.ids).astype(np.int64))
    own = torch.tensor([row.score for row in online])
    gap = float((own - scores[numbers]).abs().max()) if len(numbers) else 0.0
    if gap > TOLERANCE:
        return gap, ("score", own.tolist(), scores[numbers].tolist())
    best = torch.tensor([row.score for row in offline])
    if len(own) != len(best) or bool(((scores[numbers] - best).abs() > TOLERANCE).any()):
        return gap, ("list", online.ids, offline.ids)
    return gap, None
