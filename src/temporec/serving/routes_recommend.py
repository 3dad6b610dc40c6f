"""Routes that answer: recommendations, similar items, explanations."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from temporec.data.vocabulary import Id
from temporec.errors import UnknownIdError
from temporec.recommend.explanation import Explanation
from temporec.recommend.query import Query as Asked
from temporec.recommend.query import Recommendations
from temporec.serving.answering import Answering
from temporec.serving.answers import Json, answer_dict, checked_id, recommend, with_version
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
        asked, run = service.item(checked_id(item, "item")), service.engine.run
        if asked not in service.engine.catalog.vocabulary:
            raise of_error(UnknownIdError(f"item {item!r:.80} is not in the catalog; give an id of an item"), 404)
        found, version = await with_version(service, params.version, lambda: run(lambda a: _similar(a, asked, params)))
        return Json(answer_dict(found, version, request.state.request))

    @routes.get("/explanations", responses={200: EXPLANATION, **problems(404, 422)})
    async def explain(params: Annotated[ExplainParams, Query()]) -> Json:
        """Why an item is recommended to a user or after a history, or why not."""
        query = params.to_query(None if params.user is None else service.user(params.user))
        item, name, run = service.item(params.item), params.version, service.engine.run
        found, version = await with_version(service, name, lambda: run(lambda a: _explained(a, name, item, query)))
        return Json({**found.to_dict(), "version": version})

    return routes


def _similar(answering: Answering, item: Id, params: SimilarParams) -> tuple[Recommendations, str]:
    version = answering.chosen(params.version, None)
    return version.live.similar(item, params.k, params.to_filters()), version.name


def _explained(answering: Answering, name: str | None, item: Id, query: Asked) -> tuple[Explanation, str]:
    version = answering.chosen(name, query.user)
    return version.live.explain(item, query), version.name
