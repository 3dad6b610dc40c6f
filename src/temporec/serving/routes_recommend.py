"""Routes that answer: recommendations, similar items, explanations."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from temporec.errors import UnknownIdError
from temporec.recommend.query import Event
from temporec.recommend.query import Query as Asked
from temporec.serving.answers import Json, answer_dict, checked_id, held, recommend
from temporec.serving.documents import ANSWER, EXPLANATION, problems
from temporec.serving.problems import of_error
from temporec.serving.schemas import ExplainParams, QueryIn, RecommendParams, SimilarParams
from temporec.serving.service import Service

__all__ = ["router"]

UserId = Annotated[str, Path(description="An id of a user; one who is not known gets what is popular.")]
ItemId = Annotated[str, Path(description="An id of an item.")]


def router(service: Service) -> APIRouter:
    """The routes of one service."""
    routes = APIRouter(prefix="/v1", tags=["recommend"], default_response_class=Json)

    @routes.get("/users/{user:path}/recommendations", responses={200: ANSWER, **problems(404, 422)})
    async def recommendations_of_user(
        request: Request, user: UserId, params: Annotated[RecommendParams, Query()]
    ) -> Json:
        """The best next items for a user."""
        query = params.to_query(checked_id(user, "user"))
        found, version = await recommend(service, query, params.version, params.why)
        return Json(answer_dict(found, version, request.state.request))

    @routes.post("/recommendations", responses={200: ANSWER, **problems(404, 422)})
    async def recommendations(request: Request, body: QueryIn) -> Json:
        """The best next items for a user or a history of ids and words."""
        found, version = await recommend(service, body.to_query(), body.version, body.why)
        return Json(answer_dict(found, version, request.state.request))

    @routes.get("/items/{item:path}/similar", responses={200: ANSWER, **problems(404, 422)})
    async def similar(request: Request, item: ItemId, params: Annotated[SimilarParams, Query()]) -> Json:
        """The items closest to one item."""
        asked, version = service.item(checked_id(item, "item")), await _version(service, params.version)
        if asked not in service.engine.catalog.vocabulary:
            raise of_error(UnknownIdError(f"item {item!r:.80} is not in the catalog; give an id of an item"), 404)
        filters = params.to_filters()
        found = await service.engine.run(lambda a: a.named(version).live.similar(asked, params.k, filters))
        return Json(answer_dict(found, version, request.state.request))

    @routes.get("/explanations", responses={200: EXPLANATION, **problems(404, 422)})
    async def explain(params: Annotated[ExplainParams, Query()]) -> Json:
        """Why an item is recommended to a user or after a history, or why not."""
        query, version = _asked(service, params), await _version(service, params.version)
        item = service.item(params.item)
        found = await service.engine.run(lambda a: a.named(version).live.explain(item, query))
        return Json({**found.to_dict(), "version": version})

    return routes


def _asked(service: Service, params: ExplainParams) -> Asked:
    from dataclasses import replace

    user = None if params.user is None else service.user(params.user)
    query = params.to_query(user)
    history: list[str | int | Event] = list(params.history)
    return replace(query, history=history, words=params.words)


async def _version(service: Service, name: str | None) -> str:
    """The version asked for, in memory; the current one by default."""
    if name is None:
        return service.engine.answering.current.name
    await held(service, name)
    return name
