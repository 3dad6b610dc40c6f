"""The question (who, when, among what) and the answer (items, scores, probabilities)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypedDict

import numpy as np
import polars as pl

from temporec.data.batch import Histories
from temporec.data.interactions import kind_numbers
from temporec.data.vocabulary import Id, Vocabulary
from temporec.errors import DataError
from temporec.ranking.filters import Filters

__all__ = [
    "Event", "Query", "QueryFields", "Recommendation", "Recommendations", "Words", "event_times", "item_numbers",
    "milliseconds", "with_marks",
]  # fmt: skip

Moment = datetime | int | float | str


@dataclass(frozen=True, slots=True)
class Event:
    """One past event of a history: an item and, if known, when it happened, its kind (view, buy) and its value.

    Kind and value reach models that have learned them (`events=event_kind,event_value`); a new kind is unknown to them.
    """

    item: Id
    time: Moment | None = None
    kind: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request. Models ask it; the caller never prepares tensors.

    Args:
        user: a known user id, or None for an anonymous session.
        history: events oldest first (item ids or `Event`s). With a user, they come after the events the model knows.
            What is no known id but holds a space, or Chinese, Japanese or Korean signs, is read as words about an item.
        words: what is wanted, in words; counts as one more event, the last one.
        profile: what is known of the user, by column of the users table: {"age": 30, "gender": "F"}. It goes before
            what that table says, and counts as one event before the first of a short history (`profiles.until`).
        at: the moment of the request: events of the user after it do not count, and models that have learned to look at
            the time of a request do so. None = all events count, and the moment is unknown.
        k: how many items.
        candidates: rank only these items.
        filters: what may not be shown.
        diversity: 0 = by score alone; up to 1 = items as unlike each other as possible (MMR).
    """

    user: Id | None = None
    history: Sequence[Id | Event] = ()
    at: Moment | None = None
    k: int = 10
    candidates: Sequence[Id] | None = None
    filters: Filters = field(default_factory=Filters)
    diversity: float = 0.0
    words: str | None = None
    profile: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.diversity <= 1.0:
            raise DataError(f"diversity must lie between 0 and 1; got {self.diversity!r}")
        if isinstance(self.k, bool) or self.k < 1:
            raise DataError(f"k must be a whole number of at least 1; got {self.k!r}")
        if isinstance(self.history, str):
            raise DataError(f"history must be a list of item ids, oldest first; got the text {self.history!r}")
        if self.words is not None and not self.words.strip():
            raise DataError("words must say what is wanted; got an empty text")
        if self.profile is not None and not self.profile:
            raise DataError('a profile must say something of the user, such as {"age": 30}; got an empty one')

    @property
    def moment(self) -> int | None:
        """`at` in UTC milliseconds."""
        return None if self.at is None else milliseconds(self.at)

    @property
    def events(self) -> list[Event]:
        """The given history as `Event`s, the words last."""
        own = [event if isinstance(event, Event) else Event(event) for event in self.history]
        return own if self.words is None else [*own, Event(Words(self.words))]


class Words(str):
    """Words about an item, wherever an item id is taken in a history."""


class QueryFields(TypedDict, total=False):
    """The fields of a `Query` as keyword arguments."""

    user: Id | None
    history: Sequence[Id | Event]
    at: Moment | None
    k: int
    candidates: Sequence[Id] | None
    filters: Filters
    diversity: float
    words: str | None
    profile: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One recommended item. `probability` is the softmax over all items that were allowed to be shown.

    `why` is one sentence, where reasons were asked for (`recommend.explain.with_reasons`).
    """

    item: Id
    score: float
    probability: float
    title: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Recommendations:
    """The answer to one query, best first. `source`: the model, or popularity where nothing is known."""

    items: tuple[Recommendation, ...]
    user: Id | None = None
    source: str = "model"

    def __iter__(self) -> Any:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def ids(self) -> list[Id]:
        return [row.item for row in self.items]

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {"rank": i, "item": r.item, "title": r.title, "score": r.score, "probability": r.probability}
            | ({} if r.why is None else {"why": r.why})
            for i, r in enumerate(self.items, 1)
        ]
        return {"user": self.user, "source": self.source, "items": rows}

    def to_frame(self) -> pl.DataFrame:
        return pl.DataFrame(self.to_dict()["items"])


def item_numbers(ids: Sequence[Id], vocabulary: Vocabulary, words: list[str]) -> np.ndarray:
    """Item numbers int32 [n]; words get numbers behind the items, in the order of `words`, to which they are added.

    Raises:
        UnknownIdError: something is neither a known id nor, by its looks, words.
    """
    numbers = np.zeros(len(ids), dtype=np.int32)
    spoken = [_is_words(each) and each not in vocabulary for each in ids]
    numbers[~np.asarray(spoken, dtype=bool)] = vocabulary.encode([e for e, s in zip(ids, spoken, strict=True) if not s])
    for i in np.flatnonzero(spoken):
        numbers[i] = vocabulary.first + len(vocabulary) + len(words)
        words.append(str(ids[int(i)]))
    return numbers


def event_times(events: Sequence[Event], at: Moment | None, known: np.ndarray) -> np.ndarray:
    """Times int64 [n] of events after the `known` ones.

    One without a time has that of the one before; the first ones, that of the first which has one, else the request's.
    """
    given = [None if event.time is None else milliseconds(event.time) for event in events]
    asked = 0 if at is None else milliseconds(at)
    first = int(known[-1]) if len(known) else next((time for time in given if time is not None), asked)
    return np.maximum.accumulate([first, *(first if time is None else time for time in given)])[1:].astype(np.int64)


def with_marks(made: Histories, known: Histories, queries: Sequence[Query], kinds: Sequence[str]) -> Histories:
    """The histories of some queries, known events before given ones, with the kinds and values of their events.

    Args:
        known: those of all users, a row each.
        kinds: what the numbers of `known.kinds` mean.
    """
    assert made.users is not None
    users = np.repeat(made.users, made.lengths)
    place = np.arange(len(made.items)) - np.repeat(made.offsets[:-1], made.lengths)
    old = place < np.repeat(made.lengths - [len(query.events) for query in queries], made.lengths)
    rows = known.offsets[users[old]] + place[old]
    given = [event for query in queries for event in query.events]
    numbers = values = None
    if known.kinds is not None:
        numbers = np.full(len(old), -1, dtype=np.int16)
        numbers[old] = known.kinds[rows]
        numbers[~old] = kind_numbers([event.kind for event in given], kinds)[:-1]
    if known.values is not None:
        values = np.full(len(old), np.nan, dtype=np.float32)
        values[old] = known.values[rows]
        values[~old] = [np.nan if event.value is None else event.value for event in given]
    return replace(made, kinds=numbers, values=values)


def _is_words(item: Id) -> bool:
    """Whether an item of a history can only be meant as words: marked so, or with spaces or CJK signs in it."""
    if isinstance(item, Words):
        return True
    return isinstance(item, str) and any(c.isspace() or "\u2e80" <= c <= "\ud7ff" for c in item.strip())


def milliseconds(moment: Moment) -> int:
    """UTC milliseconds of a datetime (naive = UTC), an ISO text, or a number of seconds since 1970."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment.strip())
        except ValueError:
            raise DataError(
                f"time {moment!r} is not ISO 8601; write it like 2011-12-09T12:50 or as epoch seconds"
            ) from None
    if isinstance(moment, datetime):
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not abs(moment) < 1e11:
        raise DataError(f"time {moment!r} is out of range; give epoch *seconds*, a datetime or ISO text")
    return round(moment * 1000)
