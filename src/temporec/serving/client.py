"""`temporec.Client`: a running service, with the verbs of a recommender."""

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import quote

import polars as pl

from temporec.data.vocabulary import Id
from temporec.errors import (
    DataError,
    EventConflictError,
    MissingExtraError,
    ServiceError,
    StoreBusyError,
    TemporecError,
    UnknownIdError,
    UnknownNameError,
)
from temporec.ranking.filters import Filters
from temporec.recommend.explanation import EventEffect, Explanation, Fact, ItemPopularity
from temporec.recommend.query import Event, Moment, Query, QueryFields, Recommendation, Recommendations, milliseconds

__all__ = ["Answer", "Client"]

_BATCH = 500  # events sent at once
_ERRORS: dict[str, type[TemporecError]] = {
    "conflict": EventConflictError,
    "busy": StoreBusyError,
    "rate": StoreBusyError,
    "unknown-id": UnknownIdError,
    "unknown-name": UnknownNameError,
    "invalid": DataError,
}


@dataclass(frozen=True, slots=True)
class Answer(Recommendations):
    """Recommendations, the version that made them, and the id under which feedback names them."""

    version: str = ""
    request: str = ""


class Client:
    """A service at an address.

    Args:
        url: such as http://127.0.0.1:8000.
        token: where the service has tokens.
        timeout: seconds for one request.
        retries: how often a busy service is asked again, after the time that it names.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 10.0, retries: int = 2) -> None:
        try:
            import httpx
        except ModuleNotFoundError:
            raise MissingExtraError("a client needs httpx. Run: pip install 'temporec[serve]'") from None
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self.url, self.retries = url.rstrip("/"), retries
        self._http: Any = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def recommend(
        self, query: Query | None = None, *, version: str | None = None, **fields: Unpack[QueryFields]
    ) -> Answer:
        """The best items for a user or a history: `recommend(user=7, k=5)`."""
        asked = query_body(query or Query(**fields))
        return _answer(self._ask("POST", "/v1/recommendations", json=_with(asked, version=version)))

    def similar(self, item: Id, k: int = 10, filters: Filters | None = None) -> Answer:
        """The items closest to one item."""
        params = {"k": k, **_flat(filters or Filters())}
        return _answer(self._ask("GET", f"/v1/items/{_path(item)}/similar", params=params))

    def explain(self, item: Id, query: Query | None = None, **fields: Unpack[QueryFields]) -> Explanation:
        """Why an item is in the answer to a query, or why not."""
        query = query or Query(**fields)
        if any(isinstance(event, Event) for event in query.history):
            raise DataError("an explanation by the service takes a history of ids; leave out times, kinds and values")
        params = _with(
            {"item": item, "k": query.k, "diversity": query.diversity, **_flat(query.filters)},
            user=query.user,
            history=list(query.history) or None,
            words=query.words,
            at=_moment(query.at),
            candidates=None if query.candidates is None else list(query.candidates),
            profile=[f"{name}={_text(value)}" for name, value in (query.profile or {}).items()] or None,
        )
        return _explanation(self._ask("GET", "/v1/explanations", params=params))

    def send(
        self,
        user: Id,
        item: Id,
        time: Moment | None = None,
        kind: str | None = None,
        value: float | None = None,
        id: str | None = None,
    ) -> str:
        """Send one event; when this returns it is durable and in effect. Returns its id."""
        moment = _moment(time) if time is not None else _now()
        event = _with(
            {"id": id or uuid.uuid4().hex, "user": user, "item": item, "time": moment}, kind=kind, value=value
        )
        self._ask("POST", "/v1/events", json=event)
        return str(event["id"])

    def update(self, events: pl.DataFrame) -> int:
        """Send events (columns user, item, time in UTC milliseconds, and optionally id, kind, value); how many.

        Rows are sent in batches; sent again, rows with an id are stored once.
        """
        names = [name for name in ("id", "user", "item", "time", "kind", "value") if name in events.columns]
        rows = [
            _with({"id": uuid.uuid4().hex}, **{**row, "time": row["time"] / 1000})
            for row in events.select(names).to_dicts()
        ]
        for begin in range(0, len(rows), _BATCH):
            self._ask("POST", "/v1/events", json=rows[begin : begin + _BATCH])
        return len(rows)

    def add_items(self, items: pl.DataFrame) -> int:
        """Add items or change them, effective at once; how many are new."""
        return sum(
            int(self._ask("PUT", "/v1/items", json=items[begin : begin + _BATCH].to_dicts())["new"])
            for begin in range(0, len(items), _BATCH)
        )

    def remove_item(self, item: Id) -> None:
        """Never recommend an item again, until it is added again."""
        self._ask("DELETE", f"/v1/items/{_path(item)}")

    def forget(self, user: Id) -> dict[str, Any]:
        """Forget a user; the answer says what remains."""
        return self._ask("DELETE", f"/v1/users/{_path(user)}")

    def history(self, user: Id, k: int = 100) -> list[Event]:
        """The last events of a user, oldest first."""
        rows = self._ask("GET", f"/v1/users/{_path(user)}/events", params={"k": k})["events"]
        return [Event(row["item"], row["time"], row["kind"], row["value"]) for row in rows]

    def feedback(self, answer: Answer, item: Id, action: str) -> None:
        """Say that an item of an answer was shown or clicked."""
        body = {"item": item, "action": action, "version": answer.version, "request": answer.request}
        self._ask("POST", "/v1/feedback", json=_with(body, user=answer.user))

    def models(self) -> dict[str, Any]:
        """The versions, and which one answers."""
        return self._ask("GET", "/v1/models")

    def activate(self, version: str) -> bool:
        """Let a version answer; whether it does already."""
        return bool(self._ask("POST", f"/v1/models/{_path(version)}/activate")["active"])

    def status(self) -> dict[str, Any]:
        """Versions, sizes, latencies."""
        return self._ask("GET", "/v1/status")

    def _ask(self, method: str, path: str, **words: Any) -> dict[str, Any]:
        for left in range(self.retries, -1, -1):
            with _reached(self.url):
                response = self._http.request(method, path, **words)
            if response.status_code == 429 and left:
                time.sleep(float(response.headers.get("retry-after", 1)))
                continue
            if response.is_success:
                found: dict[str, Any] = response.json()
                return found
            raise _error(response)
        raise AssertionError


@contextmanager
def _reached(url: str) -> Iterator[None]:
    import httpx

    try:
        yield
    except httpx.HTTPError as error:
        said = str(error) or type(error).__name__
        raise ServiceError(f"no answer from {url}: {said}; is `temporec serve` running there?") from None


def _error(response: Any) -> TemporecError:
    try:
        problem = response.json()
        code, detail = str(problem["type"]).rpartition(":")[2], str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"{response.url} answered {response.status_code}; is a Temporec service there?")
    if code in _ERRORS:
        return _ERRORS[code](detail)
    return ServiceError(f"{response.status_code}: {detail}")


def query_body(query: Query) -> dict[str, Any]:
    """A query as the body of a request."""
    filters = _with(
        {},
        exclude_seen=query.filters.exclude_seen,
        allowed=None if query.filters.allowed is None else list(query.filters.allowed),
        blocked=list(query.filters.blocked) or None,
        category={name: _listed(values) for name, values in (query.filters.category or {}).items()} or None,
    )
    return _with(
        {"k": query.k, "diversity": query.diversity},
        user=query.user,
        history=[_activity(event) for event in query.history] or None,
        words=query.words,
        profile=None if query.profile is None else dict(query.profile),
        at=_moment(query.at),
        candidates=None if query.candidates is None else list(query.candidates),
        filters=filters or None,
    )


def _activity(event: Id | Event) -> Any:
    if not isinstance(event, Event):
        return event
    return _with({"item": event.item}, time=_moment(event.time), kind=event.kind, value=event.value)


def _flat(filters: Filters) -> dict[str, Any]:
    """Filters as parameters of an address."""
    pairs = [f"{name}={value}" for name, values in (filters.category or {}).items() for value in _listed(values)]
    return _with(
        {},
        exclude_seen=filters.exclude_seen,
        allowed=None if filters.allowed is None else list(filters.allowed),
        blocked=list(filters.blocked) or None,
        category=pairs or None,
    )


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _listed(values: Sequence[str] | str) -> list[str]:
    return [values] if isinstance(values, str) else list(values)


def _with(known: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    return {**known, **{name: value for name, value in optional.items() if value is not None}}


def _moment(moment: Moment | None) -> float | None:
    return None if moment is None else milliseconds(moment) / 1000


def _now() -> float:
    return round(datetime.now().timestamp(), 3)


def _path(value: Id) -> str:
    return quote(str(value), safe="").replace(".", "%2E")  # so that ".." stays an id


def _answer(plain: dict[str, Any]) -> Answer:
    rows = tuple(
        Recommendation(row["item"], row["score"], row["probability"], row["title"], row.get("why"))
        for row in plain["items"]
    )
    return Answer(rows, plain["user"], plain["source"], plain["version"], plain["request"])


def _explanation(plain: dict[str, Any]) -> Explanation:
    fields = {name: value for name, value in plain.items() if name in Explanation.__dataclass_fields__}
    return Explanation(**{
        **fields,
        "why_not": tuple(plain["why_not"]),
        "events": tuple(EventEffect(**event) for event in plain["events"]),
        "popularity": ItemPopularity(**plain["popularity"]),
        "facts": tuple(
            Fact(fact["kind"], tuple(fact["items"]), tuple(fact["titles"]), fact["numbers"]) for fact in plain["facts"]
        ),
    })  # fmt: skip
