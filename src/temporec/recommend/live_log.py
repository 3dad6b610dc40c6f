"""Histories that grow: the events of a checkpoint, and behind or between them those of the stream."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Self

import numpy as np
import polars as pl

from temporec.data.batch import Histories
from temporec.data.vocabulary import Id, Vocabulary

__all__ = ["LiveLog", "LogEvent"]

_SCHEMA = {
    "user": pl.String, "item": pl.Int32, "time": pl.Int64, "sequence": pl.Int64, "kind": pl.Int16, "value": pl.Float64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event of the stream; `sequence` is its place in the log, > 0, and orders what happened at the same time."""

    user: Id
    item: Id
    time: int  # UTC milliseconds
    sequence: int
    kind: str | None = None
    value: float | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any], sequence: int) -> Self:
        """From the body of a stored record."""
        return cls(body["user"], body["item"], body["time"], sequence, body.get("kind"), body.get("value"))


# One event. A user's are packed in bytes, for there are many users; sequence 0 = of the checkpoint.
_EVENT = np.dtype([("item", "<i4"), ("time", "<i8"), ("sequence", "<i8"), ("kind", "<i2"), ("value", "<f4")])


class LiveLog:
    """Events by user, in the order of (time, sequence). Users are numbered; new ones behind those of the checkpoint.

    Args:
        base: the events of the checkpoint, row = user number.
        users: their ids.

    Attributes:
        fitted: place in the log up to which the checkpoint may hold the same events: one of the same user, item, time
            and kind is that event, and is not taken again. 0 = none.
        gone: numbers of the users whose events of the checkpoint are forgotten.
    """

    def __init__(self, base: Histories, users: Vocabulary) -> None:
        self.base, self.users = base, users
        self._own: dict[int, bytes] = {}  # of _EVENT, oldest first
        self._new: dict[str, int] = {}  # an id may come as 7 or as "7", as in a vocabulary
        self._new_ids: list[Id] = []
        self.fitted = 0
        self.gone: set[int] = set()

    def number(self, user: Id | None) -> int:
        """The number of a user, -1 = not known."""
        if user is None:
            return -1
        if user in self.users:
            return int(self.users.encode([user])[0])
        return self._new.get(str(user), -1)

    def ids(self, numbers: Sequence[int] | None = None) -> list[Id]:
        """The ids of some users, or of all."""
        count = len(self.users)
        if numbers is None:
            return [*self.users.ids.to_list(), *self._new_ids]
        known = iter(self.users.decode([n for n in numbers if n < count]))
        return [self._new_ids[n - count] if n >= count else next(known) for n in numbers]

    def _add_user(self, user: Id) -> int:
        if (number := self.number(user)) < 0:
            number = self._new[str(user)] = len(self.users) + len(self._new_ids)
            self._new_ids.append(user)
        return number

    def add(self, event: LogEvent, item: int, kind: int) -> tuple[int, int] | None:
        """Take one event: (number of the user, its place in the history); None where it has been taken before."""
        number = self._add_user(event.user)
        own = self._records(number)
        begin, end = 0, len(own)
        if self.base.has_time:
            begin, end = np.searchsorted(own["time"], [event.time, event.time + 1]).tolist()
        if (own["sequence"][begin:end] == event.sequence).any() or self._is_fitted(event, item, kind, own[begin:end]):
            return None
        place = end
        if self.base.has_time:
            place = begin + int(np.searchsorted(own["sequence"][begin:end], event.sequence, side="right"))
        value = math.nan if event.value is None else event.value
        one = np.array((item, event.time, event.sequence, kind, value), _EVENT)
        self._own[number] = own[:place].tobytes() + one.tobytes() + own[place:].tobytes()
        return number, place

    def _is_fitted(self, event: LogEvent, item: int, kind: int, same_time: np.ndarray) -> bool:
        """Whether an event is one of the checkpoint, given all events of the user at its time."""
        if not self.base.has_time or event.sequence > self.fitted:
            return False
        own = same_time[same_time["sequence"] == 0]
        return bool(((own["item"] == item) & (own["kind"] == kind)).any())

    def _records(self, number: int) -> np.ndarray:
        """The events of a user as _EVENT [n], oldest first, not to be written."""
        if (own := self._own.get(number)) is not None:
            return np.frombuffer(own, _EVENT)
        items, times, kinds, values = self._stored(number)
        records = np.zeros(len(items), _EVENT)
        records["item"], records["time"], records["kind"], records["value"] = items, times, kinds, values
        return records

    def _stored(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Items, times, kinds and values of a user in the checkpoint."""
        base = self.base
        begin, end = (base.offsets[number], base.offsets[number + 1]) if self._has_base(number) else (0, 0)
        kinds = np.full(end - begin, -1, np.int16) if base.kinds is None else base.kinds[begin:end]
        values = np.full(end - begin, np.nan, np.float32) if base.values is None else base.values[begin:end]
        return base.items[begin:end], base.times[begin:end], kinds, values

    def length(self, number: int) -> int:
        """How many events a user has."""
        own = self._own.get(number)
        if own is not None:
            return len(own) // _EVENT.itemsize
        return int(self.base.offsets[number + 1] - self.base.offsets[number]) if self._has_base(number) else 0

    def _has_base(self, number: int) -> bool:
        return 0 <= number < len(self.base) and number not in self.gone

    def events(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Items int32 [n], times int64 [n], kinds int16 [n] and values float32 [n] of a user, oldest first."""
        if number not in self._own:
            return self._stored(number)
        own = self._records(number)
        return np.array(own["item"]), np.array(own["time"]), np.array(own["kind"]), np.array(own["value"])

    def histories(self, numbers: Sequence[int], at: np.ndarray | None = None) -> Histories:
        """Whole histories of some users; -1 has none."""
        parts = [self.events(number) for number in numbers]
        items, times, kinds, values = (np.concatenate([part[i] for part in parts]) for i in range(4))
        offsets = np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])]).astype(np.int64)
        return Histories(
            items, times, offsets, at, None, self.base.has_time,
            None if self.base.kinds is None else kinds, None if self.base.values is None else values,
        )  # fmt: skip

    def counts(self, size: int) -> np.ndarray:
        """Events of each item, int64 [size]."""
        whole = np.bincount(self.base.items, minlength=size)
        for number in self.gone.union(self._own):
            if number < len(self.base):
                np.subtract.at(whole, self.base.items[self.base.offsets[number] : self.base.offsets[number + 1]], 1)
        for number in self._own:
            np.add.at(whole, self._records(number)["item"], 1)
        return whole

    def forget(self, user: Id) -> int:
        """Drop all events of a user; how many there were."""
        number = self.number(user)
        if number < 0:
            return 0
        count = len(self.events(number)[0])
        self._own.pop(number, None)
        self.gone.add(number)
        return count

    def most_active(self, count: int) -> list[int]:
        """Numbers of the users with the newest events, the newest first."""
        last = np.full(len(self.base), np.iinfo(np.int64).min)
        filled = self.base.lengths > 0
        last[filled] = self.base.times[self.base.offsets[1:][filled] - 1]
        if self.gone:
            last[[number for number in self.gone if number < len(last)]] = np.iinfo(np.int64).min
        best = {int(n): int(last[n]) for n in np.argsort(-last, kind="stable")[:count] if self._has_base(int(n))}
        best.update({number: int(self._records(number)["time"][-1]) for number in self._own})
        return sorted(best, key=lambda number: (-best[number], number))[:count]

    def changes(self) -> pl.DataFrame:
        """All events of users who have had some since the checkpoint; together with `gone`, `restore` is the inverse.

        Columns user (text), item (number), time, sequence, kind (number), value.
        """
        rows = [
            (str(user), *event)
            for number, user in zip(self._own, self.ids(list(self._own)), strict=True)
            for event in self._records(number).tolist()
        ]
        return pl.DataFrame(rows, schema=_SCHEMA, orient="row")

    def restore(self, changes: pl.DataFrame) -> None:
        """Take over what `changes` gave; a row without item, of an older version, says that its user is forgotten."""
        for user, rows in groupby(changes.iter_rows(), key=itemgetter(0)):  # a user's rows stand together
            number = self._add_user(user)
            events = []
            for _, *event in rows:
                if event[0] is None:
                    self.gone.add(number)
                else:
                    events.append(tuple(event))
            if events:
                self._own[number] = np.array(events, _EVENT).tobytes()
