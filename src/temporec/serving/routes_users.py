"""Routes of the users: who there is, what one did, forgetting one."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from temporec.data.vocabulary import Id
from temporec.serving.answering import Answering, log_events, take_events
from temporec.serving.answers import Json, checked_id
from temporec.serving.documents import document, problems
from temporec.serving.routes_recommend import UserId
from temporec.serving.service import Service

__all__ = ["router"]

REMAINS = (
    "The weights of the model were learned from this user's events together with all others; they hold no list of "
    "them, and the next training, which has them no more, replaces the weights. Folders of versions that were saved "
    "before hold the events until they are pruned."
)


def router(service: Service) -> APIRouter:
    """The routes of one service."""
    routes = APIRouter(prefix="/v1", tags=["users"], default_response_class=Json)

    @routes.get("/users", responses={200: document("Users", users=list), **problems(422)})
    async def users(k: Annotated[int, Query(ge=1, le=500)] = 20) -> Json:
        """The users with the newest events."""
        return Json({"users": await service.engine.run(lambda a: a.current.live.busiest(k))})

    @routes.get("/users/{user:path}/events", responses={200: document("History", events=list), **problems(422)})
    async def events_of_user(user: UserId, k: Annotated[int, Query(ge=1, le=1_000)] = 100) -> Json:
        """The last events of a user, oldest first, as the current version knows them."""
        asked = service.user(checked_id(user, "user"))
        return Json(await service.engine.run(lambda answering: _history(answering, asked, k)))

    @routes.delete(
        "/users/{user:path}",
        responses={200: document("Forgotten", events=int, history=int, remains=str), **problems(422, 503)},
    )
    async def forget_user(user: UserId) -> Json:
        """Forget a user: records of the log (`events`), history and state; the answer says what remains."""
        asked = service.user(checked_id(user, "user"))
        gone = await asyncio.to_thread(service.log.forget, asked)
        await service.store([])  # through the writer: what was stored before is taken before
        forgotten = await service.engine.run(lambda answering: _forget(service, answering, asked))
        return Json({"user": asked, "events": gone, "history": forgotten, "remains": REMAINS})

    return routes


def _forget(service: Service, answering: Answering, user: Id) -> int:
    """Drop history and state; the log, in whose order it is, says what the user did since. How many events went."""
    count = max(version.live.forget(user) for version in answering.versions)
    if service.config.mode != "frozen" and (since := log_events(service.log.read_user(user))):
        for version in answering.versions:
            take_events(version, since)
    return count


def _history(answering: Answering, user: Id, k: int) -> dict[str, Any]:
    live = answering.current.live
    events = live.history(user)[-k:]
    titles = live.catalog.titles(live.catalog.vocabulary.encode([event.item for event in events]))
    rows = [
        {"item": e.item, "title": title, "time": e.time, "kind": e.kind, "value": e.value}
        for e, title in zip(events, titles, strict=True)
    ]
    return {"user": user, "events": rows}
