"""A recommender that lives: events, items and users come and go while it answers."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Unpack

import numpy as np
import polars as pl
import torch
from torch import Tensor

from temporec.data.batch import Histories
from temporec.data.catalog import Catalog
from temporec.data.vocabulary import Id
from temporec.errors import ConfigError, TemporecError
from temporec.ranking.filters import Filters
from temporec.ranking.popularity import log_popularity
from temporec.ranking.topk import top_k
from temporec.recommend.base import Recommender
from temporec.recommend.explain import with_reasons
from temporec.recommend.explanation import Explanation
from temporec.recommend.live_log import LiveLog, LogEvent
from temporec.recommend.query import Event, Query, QueryFields, Recommendation, Recommendations, milliseconds
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.state import UserStates

__all__ = ["Live"]

_NO_FILTERS = Filters()
_WARM = 256


class Live:
    """The engine behind a service: the recommender of a checkpoint, and all that has happened since.

    Histories are those of the checkpoint and the events taken since, ordered by (time, sequence). Where the recommender
    is a neural one, each user has an encoder state that an event moves by one step; answers are those of `forward` over
    the whole history. Not for several threads at once.

    Args:
        recommender: is this object's own from now on.
        megabytes: bound of the memory of the encoder states.
    """

    def __init__(self, recommender: Recommender, megabytes: int = 512) -> None:
        self.recommender = recommender
        self.log = LiveLog(recommender.log, recommender.users)
        self.megabytes = megabytes
        self.offset = 0  # of the last record of the event log that was taken
        self.absent: set[int] = set()  # numbers of items that may not be shown
        self.put: set[int] = set()  # numbers of items that came or changed since the checkpoint
        self._kinds = {kind: number for number, kind in enumerate(recommender.dataset.interactions.kinds)}
        self._renew()

    def _renew(self) -> None:
        """Take over the recommender's catalog after it has changed."""
        rec = self.recommender
        self.states = UserStates(rec, self.megabytes) if isinstance(rec, NeuralRecommender) else None
        self._ids = rec.catalog.vocabulary.ids.to_list()
        self._tell()
        self._count()

    def _tell(self) -> None:
        """What an answer says of its items, and which may be in none."""
        self._titles = self.catalog.titles(np.arange(1, self.catalog.size))
        self._hidden = sorted(self.absent)

    def _count(self) -> None:
        self._counts = self.log.counts(self.catalog.size)
        self._stale = True

    def _popular(self) -> None:
        """Bring the popularity up to date, where it is going to be looked at."""
        if self._stale:
            self.recommender.popularity, self._stale = log_popularity(self._counts), False

    @property
    def catalog(self) -> Catalog:
        return self.recommender.catalog

    def take(self, events: Sequence[LogEvent]) -> int:
        """Take events, all or none: new users are welcome, those known already are left out. Returns how many are new.

        Raises:
            UnknownIdError: the catalog does not have an item.
        """
        items = self.catalog.vocabulary.encode([event.item for event in events]).tolist()
        new = 0
        for event, item in zip(events, items, strict=True):
            if (placed := self.log.add(event, item, self._kinds.get(event.kind or "", -1))) is not None:
                new += 1
                self._counts[item] += 1
                if self.states is not None:
                    self.states.rewind(*placed)
            self.offset = max(self.offset, event.sequence)
        self._stale = True
        return new

    def forget(self, user: Id) -> int:
        """Drop a user's events and state; how many events there were. What the weights have learned stays."""
        if self.states is not None:
            self.states.drop(self.log.number(user))
        count = self.log.forget(user)
        self._count()
        return count

    def put_items(self, items: pl.DataFrame) -> int:
        """Add items, or change what is known about them; all of them may be shown. Returns how many are new.

        Where the recommender was fitted without texts, a new item may have events, but is in no answer before a version
        that has learned it.

        Raises:
            ConfigError: the recommender cannot take new items.
            DataError: a new item has no text, though the recommender places new items by their texts.
        """
        rec, added = self.recommender, 0
        if self.catalog.extend(items).size > self.catalog.size:
            if not isinstance(rec, NeuralRecommender):
                raise ConfigError(f"a recommender of the kind {rec.kind!r} cannot take new items; fit a neural one")
            added = rec.admit(items) if rec.cold is None else rec.add_items(items)
        rec.catalog = rec.catalog.changed(items)
        numbers = rec.catalog.vocabulary.encode(items["item"].cast(rec.catalog.vocabulary.ids.dtype).to_list()).tolist()
        self.absent.difference_update(numbers)
        self.put.update(numbers)
        self._renew() if added else self._tell()
        return added

    def remove_items(self, items: Sequence[Id]) -> None:
        """These items are not shown until they are put again; histories keep them."""
        self.absent.update(self.catalog.vocabulary.encode(items).tolist())
        self._hidden = sorted(self.absent)

    def history(self, user: Id, until: int | None = None) -> list[Event]:
        """The events of a user, oldest first, up to a moment in milliseconds; an unknown user has none."""
        items, times, kinds, values = self.log.events(self.log.number(user))
        names = [*self._kinds, None]
        timed = self.log.base.has_time
        if until is not None and timed:  # they are in the order of their times
            items = items[: np.searchsorted(times, until, side="right")]
        return [
            Event(self._ids[i - 1], datetime.fromtimestamp(t / 1000, UTC) if timed else None, names[kind],
                  None if np.isnan(value) else float(value))
            for i, t, kind, value in zip(items.tolist(), times.tolist(), kinds.tolist(), values, strict=False)
        ]  # fmt: skip

    def recommend(self, query: Query | None = None, **fields: Unpack[QueryFields]) -> Recommendations:
        """As `Recommender.recommend`, but a user who is not known gets what is popular."""
        answer = self.recommend_batch([query or Query(**fields)])[0]
        if isinstance(answer, TemporecError):
            raise answer
        return answer

    def recommend_batch(self, queries: Sequence[Query]) -> list[Recommendations | TemporecError]:
        """Answers to several queries, scored together; a query that cannot be answered has its error in its place."""
        answers: list[Recommendations | TemporecError] = [TemporecError("not answered")] * len(queries)
        alone = [i for i, query in enumerate(queries) if query.events or query.profile is not None]
        rest = sorted(set(range(len(queries))).difference(alone))
        together = [[i for i in rest if (queries[i].at is None) == timeless] for timeless in (True, False)]
        for rows in [*filter(None, together), *([i] for i in alone)]:
            try:
                found: Sequence[Recommendations | TemporecError] = self._answers([queries[i] for i in rows])
            except TemporecError as error:
                found = [error] * len(rows)
            for i, answer in zip(rows, found, strict=True):
                answers[i] = answer
        return answers

    def _answers(self, queries: Sequence[Query]) -> list[Recommendations | TemporecError]:
        """Several queries without events of their own, or a single one."""
        numbers = [self.log.number(query.user) for query in queries]
        histories, stored = self._histories(queries, numbers)
        if not histories.lengths.all():
            self._popular()
        scores = self._scores(histories, numbers, stored)
        row = np.repeat(np.arange(len(queries)), histories.lengths)
        hides = np.asarray([self.recommender.hides_seen(query.filters) for query in queries])[row]
        hides &= histories.items < scores.shape[1]  # words are no items
        plain = scores.numpy()  # the same memory, by a library that asks less for a small change
        plain[row[hides], histories.items[hides]] = -np.inf
        if len(self._hidden):
            plain[:, self._hidden] = -np.inf
        values, items = top_k(scores, max(query.k for query in queries))
        chances = torch.exp(values - torch.logsumexp(scores, dim=1, keepdim=True))
        rows = zip(values.tolist(), items.tolist(), chances.tolist(), strict=True)
        known = histories.lengths > 0
        return [
            self._own_answer(query, scores[i], known[i])
            if query.diversity > 0 or query.filters != _NO_FILTERS or query.candidates is not None
            else self._listed(query, *row, known[i])
            for i, (query, row) in enumerate(zip(queries, rows, strict=True))
        ]

    def _whole(self, query: Query) -> Query:
        """The query with all that is known of its user in it, and without what is absent."""
        profile = query.profile if (known := self.recommender.profiles) is None else known.of(query) or None
        history = [*(() if query.user is None else self.history(query.user, query.moment)), *query.history]
        return replace(query, user=None, history=history, profile=profile, filters=self._shown(query.filters))

    def _own_answer(self, query: Query, scores: Tensor, known: bool) -> Recommendations | TemporecError:
        """The answer to a query that not all items may be in."""
        try:
            mask = self.recommender.mask(query, np.zeros(0, np.int32))
            return self.recommender.answer(scores, mask, query, "model" if known else "popularity")
        except TemporecError as error:
            return error

    def _listed(
        self, query: Query, values: list[float], items: list[int], chances: list[float], known: bool
    ) -> Recommendations:
        made = [
            Recommendation(self._ids[item - 1], score, chance, self._titles[item - 1])
            for item, score, chance in list(zip(items, values, chances, strict=True))[: query.k]
            if score > -math.inf
        ]
        return Recommendations(tuple(made), query.user, "model" if known else "popularity")

    def _histories(self, queries: Sequence[Query], numbers: Sequence[int]) -> tuple[Histories, list[int]]:
        """What is known of the users (all queries have `at`, or none), and behind it what a single query brings.

        Beside it, how many first events of each row are the user's own: none where a profile stands before them.
        """
        at = None if queries[0].at is None else np.asarray([query.moment for query in queries], np.int64)
        made = self.log.histories(numbers, at).until(at)
        stored, profiles = made.lengths, self.recommender.profiles
        if queries[0].events:
            given = self.recommender.histories([self._alone(queries[0], made)])
            made = made.followed_by(given)
        if profiles is not None:
            before = made.lengths
            made = profiles.put_first(made, queries, self.catalog.size)
            stored = np.where(made.lengths > before, 0, stored)
        return made, stored.tolist()

    def _alone(self, query: Query, stored: Histories) -> Query:
        """The query without its user; the events that it brings come not before those that are known."""
        history = [event if isinstance(event, Event) else Event(event) for event in query.history]
        if len(stored.items) and stored.has_time:
            last = int(stored.times[-1])
            times = [last if event.time is None else max(last, milliseconds(event.time)) for event in history]
            history = [replace(event, time=time / 1000) for event, time in zip(history, times, strict=True)]
        at = query.at if query.at is not None or not len(stored.items) else int(stored.times[-1]) / 1000
        return replace(query, user=None, history=history, at=at, profile=None)

    def _scores(self, histories: Histories, numbers: Sequence[int], stored: Sequence[int]) -> Tensor:
        """Scores [B, V + 1]; those of an empty history are the popularity."""
        rec = self.recommender
        if self.states is None or not isinstance(rec, NeuralRecommender):
            return rec.score(histories)
        filled = np.flatnonzero(histories.lengths > 0)
        if len(filled) == len(numbers):
            return rec.score_queries(self.states.queries(histories, numbers, stored), histories)
        queries = torch.zeros(len(numbers), rec.item_vectors.shape[1], device=rec.item_vectors.device)
        if len(filled):
            own = self.states.queries(
                histories.rows(filled), [numbers[i] for i in filled.tolist()], [stored[i] for i in filled.tolist()]
            )
            queries[torch.from_numpy(filled)] = own
        return rec.score_queries(queries, histories)

    def similar(self, item: Id, k: int = 10, filters: Filters | None = None) -> Recommendations:
        """The items closest to one item; absent ones are left out."""
        return self.recommender.similar(item, k, self._shown(filters or Filters()))

    def explain(self, item: Id, query: Query | None = None, **fields: Unpack[QueryFields]) -> Explanation:
        """Why an item is in the answer to a query, or why not."""
        self._popular()
        asked = query or Query(**fields)
        return replace(self.recommender.explain(item, self._whole(asked)), user=asked.user)

    def with_reasons(self, query: Query, answer: Recommendations) -> Recommendations:
        """The answer to a query with `why` beside every item."""
        self._popular()
        return with_reasons(self.recommender, self._whole(query), answer)

    def _shown(self, filters: Filters) -> Filters:
        blocked = [*filters.blocked, *(self._ids[number - 1] for number in sorted(self.absent))]
        return replace(filters, blocked=blocked)

    def warm(self, users: Sequence[Id]) -> None:
        """Build the states of some users before they ask."""
        if self.states is None:
            return
        numbers = [number for user in users if self.log.length(number := self.log.number(user))]
        for begin in range(0, len(numbers), _WARM):
            histories = self.log.histories(part := numbers[begin : begin + _WARM])
            self.states.queries(histories, part, histories.lengths.tolist())

    def busiest(self, count: int) -> list[Id]:
        """The users with the newest events."""
        return self.log.ids(self.log.most_active(count))

    def restore(self, changes: pl.DataFrame, offset: int) -> None:
        """Take over the events of a snapshot, beside a fresh recommender of the same checkpoint."""
        self.log.restore(changes)
        self.offset = offset
        self._renew()
