"""Routes that change what is known: events, feedback, forgetting a user; and the histories of users."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query

from temporec.data.vocabulary import Id
from temporec.errors import DataError, UnknownIdError
from temporec.recommend.query import milliseconds
from temporec.serving.answers import Json, checked_id
from temporec.serving.documents import document, problems
from temporec.serving.engine import Answering
from temporec.serving.problems import of_error
from temporec.serving.routes_recommend import UserId
from temporec.serving.schemas import EventIn, Events, FeedbackIn, Feedbacks
from temporec.serving.service import Service
from temporec.store.records import Record

__all__ = ["router"]

REMAINS = (
    "The weights of the model were learned from this user's events together with all others; they hold no list of "
    "them, and the next training, which has them no more, replaces the weights. Folders of versions that were saved "
    "before hold the events until they are pruned."
)


def router(service: Service) -> APIRouter:
    """The routes of one service."""
    routes = APIRouter(prefix="/v1", tags=["events"], default_response_class=Json)

    @routes.post("/events", responses={200: document("Taken", taken=int, offset=int), **problems(409, 422, 503)})
    async def send_events(body: Events) -> Json:
        """Store one event or a batch, all or nothing; after the answer they are durable and in effect."""
        events = body if isinstance(body, list) else [body]
        stored = await service.store(_event_records(service, events))
        service.metrics.events.inc(len(stored))
        return Json({"taken": len(stored), "ids": [r.id for r in stored], "offset": max(r.offset for r in stored)})

    @routes.post("/feedback", responses={200: document("Taken", taken=int, offset=int), **problems(422, 503)})
    async def send_feedback(body: Feedbacks) -> Json:
        """Say what became of recommendations: shown, or clicked."""
        given = body if isinstance(body, list) else [body]
        stored = await service.store([_feedback_record(service, each) for each in given])
        for each in given:
            service.metrics.feedback.labels(each.version, each.action).inc()
        return Json({"taken": len(stored), "offset": max(r.offset for r in stored)})

    @routes.get("/users", responses={200: document("Users", users=list), **problems(422)})
    async def users(k: Annotated[int, Query(ge=1, le=500)] = 20) -> Json:
        """The users with the most events."""
        return Json({"users": await service.engine.run(lambda a: a.current.live.busiest(k))})

    @routes.get("/users/{user:path}/events", responses={200: document("History", events=list), **problems(422)})
    async def events_of_user(user: UserId, k: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Json:
        """The last events of a user, oldest first, as the current version knows them."""
        asked = service.user(checked_id(user, "user"))
        return Json(await service.engine.run(lambda answering: _history(answering, asked, k)))

    @routes.delete(
        "/users/{user:path}", responses={200: document("Forgotten", events=int, remains=str), **problems(422, 503)}
    )
    async def forget_user(user: UserId) -> Json:
        """Forget a user: events, feedback and state; the answer says what remains."""
        asked = service.user(checked_id(user, "user"))
        gone = await asyncio.to_thread(service.log.forget, asked)
        await service.engine.run(lambda answering: [version.live.forget(asked) for version in answering.versions])
        return Json({"user": asked, "events": gone, "remains": REMAINS})

    return routes


def _event_records(service: Service, events: Sequence[EventIn]) -> list[Record]:
    """Records of events about known items; raises a problem that names the first item that is not known."""
    known, now = service.engine.catalog.vocabulary, time.time_ns() // 1_000_000
    records = []
    for place, event in enumerate(events):
        item, user = service.item(event.item), service.user(event.user)
        if item not in known:
            raise of_error(
                UnknownIdError(
                    f"event {place}: item {item!r:.80} is not in the catalog; put the item first. Nothing was taken."
                )
            )
        if event.id is not None and event.time is None:
            raise DataError(f"event {place} has an id and no time; give both, so that a repetition is the same event")
        body = {"user": user, "item": item, "time": now if event.time is None else milliseconds(event.time)}
        extra = {name: value for name in ("kind", "value") if (value := getattr(event, name)) is not None}
        records.append(Record(event.id or uuid.uuid4().hex, "events", body | extra, user))
    return records


def _feedback_record(service: Service, given: FeedbackIn) -> Record:
    user = None if given.user is None else service.user(given.user)
    moment = time.time_ns() // 1_000_000 if given.time is None else milliseconds(given.time)
    body = {"version": given.version, "item": service.item(given.item), "action": given.action, "time": moment}
    optional = {"user": user, "request": given.request}
    body |= {name: value for name, value in optional.items() if value is not None}
    return Record(uuid.uuid4().hex, "feedback", body, user)


def _history(answering: Answering, user: Id, k: int) -> dict[str, Any]:
    live = answering.current.live
    events = live.history(user)[-k:]
    titles = live.catalog.titles(live.catalog.vocabulary.encode([event.item for event in events]))
    rows = [
        {"item": e.item, "title": title, "time": e.time, "kind": e.kind, "value": e.value}
        for e, title in zip(events, titles, strict=True)
    ]
    return {"user": user, "events": rows}
