"""What requests may say: the same names as in Python, checked before anything is done."""

import math
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from temporec.ranking.filters import Filters
from temporec.recommend.query import Event, Query

__all__ = [
    "ActivityIn", "EventIn", "Events", "ExplainParams", "FeedbackIn", "Feedbacks", "FiltersIn", "ItemIn", "Items",
    "ListParams", "QueryIn", "RecommendParams", "SimilarParams",
]  # fmt: skip

MAX_BATCH = 1_000
MAX_K = 500
_SHOWABLE = r"^[^\x00-\x1f\x7f]+$"

Text = Annotated[str, Field(min_length=1, max_length=512, pattern=_SHOWABLE)]
Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1, strict=True)]
Id = Text | Whole
Moment = Annotated[float, Field(gt=-1e11, lt=1e11)] | Annotated[str, Field(max_length=40)]
Number = Annotated[float, Field(allow_inf_nan=False)]
K = Annotated[int, Field(ge=1, le=MAX_K)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Ids = Annotated[list[Id], Field(max_length=10_000)]
TextIds = Annotated[list[Text], Field(max_length=1_000)]
VersionName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Body(BaseModel):
    """Base of all schemas: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EventIn(Body):
    """One event. Sent again with the same id it is stored once; so an event with an id needs its time."""

    user: Id
    item: Id
    time: Moment | None = Field(default=None, description="ISO 8601 or epoch seconds; now, if left out.")
    id: Text | None = Field(default=None, description="Unique; the service makes one, if left out.")
    kind: Text | None = None
    value: Number | None = None


def _is_batch(value: Any) -> str:
    return "batch" if isinstance(value, list) else "one"


_MANY, _WHICH = Field(min_length=1, max_length=MAX_BATCH), Discriminator(_is_batch)
Events = Annotated[Annotated[EventIn, Tag("one")] | Annotated[list[EventIn], _MANY, Tag("batch")], _WHICH]


class FeedbackIn(Body):
    """What became of a recommendation."""

    item: Id
    action: Literal["shown", "clicked"]
    version: VersionName
    user: Id | None = None
    request: Text | None = Field(default=None, description="`request` of the answer that the item stood in.")
    time: Moment | None = None


Feedbacks = Annotated[Annotated[FeedbackIn, Tag("one")] | Annotated[list[FeedbackIn], _MANY, Tag("batch")], _WHICH]

Scalar = Annotated[str, Field(max_length=100_000)] | bool | Whole | Number
Value = Scalar | Annotated[list[Scalar], Field(max_length=10_000)] | None


class ItemIn(BaseModel):
    """One item: its id, whether it can be had, and the columns of the items table."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[Text, Value]

    item: Id
    available: bool = Field(default=True, description="false = out of stock: never recommended until it is back.")


Items = Annotated[Annotated[ItemIn, Tag("one")] | Annotated[list[ItemIn], _MANY, Tag("batch")], _WHICH]


class FiltersIn(Body):
    """What may not be shown."""

    exclude_seen: bool | None = None
    allowed: Ids | None = None
    blocked: Ids = []
    category: dict[Text, Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=100)]] | None = None

    def to_filters(self) -> Filters:
        return Filters(
            exclude_seen=self.exclude_seen, allowed=self.allowed, blocked=tuple(self.blocked), category=self.category
        )


class ActivityIn(Body):
    """One event of a history that comes with the request."""

    item: Id
    time: Moment | None = None
    kind: Text | None = None
    value: Number | None = None


class QueryIn(Body):
    """A query as in Python: a user, a history of ids and words, candidates, filters."""

    user: Id | None = None
    history: Annotated[list[Id | ActivityIn], Field(max_length=MAX_BATCH)] = []
    words: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    profile: Annotated[dict[Text, Scalar], Field(min_length=1, max_length=100)] | None = None
    at: Moment | None = None
    k: K = 10
    candidates: Ids | None = None
    filters: FiltersIn = FiltersIn()
    diversity: Share = 0.0
    why: bool = Field(default=False, description="One sentence of why beside every item.")
    version: VersionName | None = None

    def to_query(self) -> Query:
        history = [Event(e.item, e.time, e.kind, e.value) if isinstance(e, ActivityIn) else e for e in self.history]
        return Query(
            user=self.user,
            history=history,
            words=self.words,
            profile=self.profile,
            at=self.at,
            k=self.k,
            candidates=self.candidates,
            filters=self.filters.to_filters(),
            diversity=self.diversity,
        )


def _pairs(values: list[str]) -> list[str]:
    if wrong := [value for value in values if "=" not in value]:
        raise ValueError(f"{wrong[0][:80]!r} is not of the form column=value")
    return values


class ListParams(Body):
    """Filters and length of a list, as parameters of an address."""

    k: K = 10
    exclude_seen: bool | None = None
    allowed: TextIds | None = None
    blocked: TextIds = []
    category: Annotated[list[Text], AfterValidator(_pairs), Field(max_length=100)] = []
    version: VersionName | None = None

    def to_filters(self) -> Filters:
        wanted: dict[str, list[str]] = {}
        for pair in self.category:
            column, _, value = pair.partition("=")
            wanted.setdefault(column, []).append(value)
        return Filters(
            exclude_seen=self.exclude_seen, allowed=self.allowed, blocked=tuple(self.blocked), category=wanted or None
        )


class SimilarParams(ListParams):
    """As above."""


class RecommendParams(ListParams):
    """What `GET .../recommendations` takes: the query, flat."""

    at: Annotated[str, Field(max_length=40)] | None = None
    candidates: TextIds | None = None
    diversity: Share = 0.0
    why: bool = False

    def to_query(self, user: str | int | None) -> Query:
        return Query(
            user=user,
            at=moment(self.at),
            k=self.k,
            candidates=self.candidates,
            filters=self.to_filters(),
            diversity=self.diversity,
        )


class ExplainParams(RecommendParams):
    """The query, flat, and the item that is asked about."""

    item: Text
    user: Text | None = None
    history: TextIds = []
    words: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    profile: Annotated[
        list[Text],
        AfterValidator(_pairs),
        Field(max_length=100, description="What is known of the user: column=value."),
    ] = []

    def to_query(self, user: str | int | None) -> Query:
        history: list[str | int | Event] = list(self.history)
        known = {column: value for column, _, value in (pair.partition("=") for pair in self.profile)}
        return replace(super().to_query(user), history=history, words=self.words, profile=known or None)


def moment(text: str | float | None) -> str | float | None:
    """A moment in an address: epoch seconds are digits there."""
    if not isinstance(text, str):
        return text
    try:
        seconds = float(text)
    except ValueError:
        return text
    return seconds if math.isfinite(seconds) else text
