"""Stands in for `temporec.recommend.live` until that file is here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import polars as pl

from temporec.data.vocabulary import Id
from temporec.errors import TemporecError, UnknownIdError
from temporec.ranking.filters import Filters
from temporec.recommend.base import Recommender
from temporec.recommend.explanation import Explanation
from temporec.recommend.query import Event, Query, Recommendations


@dataclass(frozen=True, slots=True)
class LogEvent:  # noqa: D101
    user: Id
    item: Id
    time: int
    sequence: int
    kind: str | None = None
    value: float | None = None


class Live:  # noqa: D101
    def __init__(self, recommender: Recommender, capacity: int = 50_000) -> None:
        self.recommender, self.offset = recommender, 0
        self._events: dict[Id, list[LogEvent]] = {}
        self._forgotten: set[Id] = set()
        self._removed: set[Id] = set()

    @property
    def catalog(self) -> Any:
        return self.recommender.catalog

    def take(self, events: Sequence[LogEvent]) -> None:
        self.catalog.vocabulary.encode([event.item for event in events])
        for event in events:
            if event.sequence > self.offset:
                self._events.setdefault(event.user, []).append(event)
        self.offset = max(self.offset, *(event.sequence for event in events), 0)

    def forget(self, user: Id) -> int:
        known = len(self.history(user))
        self._events.pop(user, None)
        self._forgotten.add(user)
        return known

    def put_items(self, frame: pl.DataFrame) -> int:
        add: Any = getattr(self.recommender, "add_items", None)
        return int(add(frame)) if add is not None else 0

    def remove_items(self, ids: Sequence[Id]) -> None:
        self.catalog.vocabulary.encode(ids)
        self._removed.update(ids)

    def restore_items(self, ids: Sequence[Id]) -> None:
        self._removed.difference_update(ids)

    def _asked(self, query: Query) -> Query:
        own = [Event(e.item, e.time / 1000, e.kind, e.value) for e in self._events.get(query.user or "", ())]
        known = None if query.user in self._forgotten else query.user
        blocked = (*query.filters.blocked, *self._removed)
        return replace(
            query, user=known, history=(*own, *query.history), filters=replace(query.filters, blocked=blocked)
        )

    def recommend(self, query: Query) -> Recommendations:
        if query.user in self._forgotten and not self._events.get(query.user or "") and not query.history:
            raise UnknownIdError(f"user {query.user!r} is not known")
        return replace(self.recommender.recommend(self._asked(query)), user=query.user)

    def recommend_batch(self, queries: Sequence[Query]) -> list[Recommendations | TemporecError]:
        answers: list[Recommendations | TemporecError] = []
        for query in queries:
            try:
                answers.append(self.recommend(query))
            except TemporecError as error:
                answers.append(error)
        return answers

    def similar(self, item: Id, k: int = 10, filters: Filters | None = None) -> Recommendations:
        return self.recommender.similar(item, k, filters)

    def explain(self, item: Id, query: Query) -> Explanation:
        return self.recommender.explain(item, self._asked(query))

    def history(self, user: Id) -> list[Event]:
        r, known = self.recommender, list[Event]()
        if user in r.users and user not in self._forgotten:
            number = int(r.users.encode([user])[0])
            span = slice(r.log.offsets[number], r.log.offsets[number + 1])
            items, times = r.catalog.vocabulary.decode(r.log.items[span]), r.log.times[span].tolist()
            known = [Event(item, time / 1000) for item, time in zip(items, times, strict=True)]
        return [*known, *(Event(e.item, e.time / 1000, e.kind, e.value) for e in self._events.get(user, ()))]

    def users_by_activity(self, n: int) -> list[Id]:
        order = self.recommender.log.lengths.argsort()[::-1][:n]
        return self.recommender.users.decode(order)

    def warm(self, users: Sequence[Id]) -> None:
        pass

    def save(self, folder: str | Path) -> None:
        pass

    @classmethod
    def load(cls, folder: str | Path, recommender: Recommender) -> Self:
        return cls(recommender)
