"""Routes that change what is known: events and feedback."""

import time
import uuid
from collections.abc import Sequence

from fastapi import APIRouter

from temporec.errors import DataError, UnknownIdError
from temporec.recommend.query import milliseconds
from temporec.serving.answers import Json
from temporec.serving.documents import document, problems
from temporec.serving.problems import of_error
from temporec.serving.schemas import EventIn, Events, FeedbackIn, Feedbacks
from temporec.serving.service import Service
from temporec.store.records import Record

__all__ = ["router"]


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
            service.metrics.judged(each.version, each.action)
        return Json({"taken": len(stored), "offset": max(r.offset for r in stored)})

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
        if service.users.is_integer and not isinstance(user, int):
            raise DataError(f"event {place}: users are whole numbers in this model; got {user!r:.80}")
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
