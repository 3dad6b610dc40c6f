"""Routes of the users: who there is, what one did, forgetting one."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from temporec.data.vocabulary import Id
from temporec.serving.answering import Answering
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
        forgotten = await service.engine.run(lambda a: [version.live.forget(asked) for version in a.versions])
        return Json({"user": asked, "events": gone, "history": max(forgotten), "remains": REMAINS})

    return routes


def _history(answering: Answering, user: Id, k: int) -> dict[str, Any]:
    live = answering.current.live
    events = live.history(user)[-k:]
    titles = live.catalog.titles(live.catalog.vocabulary.encode([event.item for event in events]))
    rows = [
        {"item": e.item, "title": title, "time": e.time, "kind": e.kind, "value": e.value}
        for e, title in zip(events, titles, strict=True)
    ]
    return {"user": user, "events": rows}
