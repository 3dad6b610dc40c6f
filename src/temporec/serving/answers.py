"""Recommendations over HTTP: the short way that most requests take, and what it shares with the documented route."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from temporec.errors import UnknownNameError
from temporec.recommend.query import Query, Recommendations
from temporec.serving.answering import Answering
from temporec.serving.engine import Answer
from temporec.serving.gate import App, Receive, Scope, Send
from temporec.serving.problems import Problem, of_validation
from temporec.serving.schemas import RecommendParams
from temporec.serving.service import Service

__all__ = ["Json", "Shortcut", "answer_dict", "checked_id", "recommend"]

USER_PATH = re.compile(r"/v1/users/(.{1,512})/recommendations", re.DOTALL)
ROUTE = "/v1/users/{user}/recommendations"
_LISTS = frozenset(name for name, field in RecommendParams.model_fields.items() if "list" in str(field.annotation))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_JSON = (b"content-type", b"application/json")


class Json(Response):
    """Plain values as JSON, without checking them once more."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def checked_id(text: str, what: str) -> str:
    """An id of an address; what no id can be is refused."""
    if not 0 < len(text) <= 512 or _CONTROL.search(text) or "\ufffd" in text:
        raise Problem(422, "invalid", f"path.{what}: an id has 1 to 512 characters, none of them a control character")
    return text


async def recommend(service: Service, query: Query, version: str | None, why: bool) -> Answer:
    """Ask the engine; a version that is not in memory is loaded first."""
    query = _spelt(service, query)
    if version is not None:
        await held(service, version)
    answer = await service.engine.recommend(query, version)
    if not why:
        return answer
    return await service.engine.run(lambda answering: _with_reasons(answering, query, answer))


async def held(service: Service, version: str) -> None:
    """Make sure that a version is in memory."""
    import asyncio

    try:
        service.engine.answering.named(version)
    except UnknownNameError:
        service.home.folder(version)
        await asyncio.to_thread(service.swap.load_other, version)


def _with_reasons(answering: Answering, query: Query, answer: Answer) -> Answer:
    return Answer(answering.named(answer.version).live.with_reasons(query, answer.found), answer.version)


def _spelt(service: Service, query: Query) -> Query:
    if query.user is None:
        return query
    user = service.user(query.user)
    return query if user is query.user else replace(query, user=user)


def answer_dict(found: Recommendations, version: str, request: str) -> dict[str, Any]:
    """The answer: the fields of `Recommendations`, the version that made it, and the id to give feedback on."""
    rows = [
        {"rank": i, "item": r.item, "title": r.title, "score": r.score, "probability": r.probability}
        | ({} if r.why is None else {"why": r.why})
        for i, r in enumerate(found.items, 1)
    ]
    return {"user": found.user, "source": found.source, "version": version, "request": request, "items": rows}


class Shortcut:
    """Answers `GET /v1/users/{user}/recommendations` without the framework; a test holds it equal to the route."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __call__(self, scope: Scope) -> App | None:
        if scope["method"] != "GET" or not (found := USER_PATH.fullmatch(scope["path"])):
            return None
        user = found[1]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"]["route"] = ROUTE
            params = _params(scope["query_string"])
            query = params.to_query(checked_id(user, "user"))
            found, version = await recommend(self.service, query, params.version, params.why)
            body = orjson.dumps(answer_dict(found, version, scope["state"]["request"]))
            headers = [_JSON, (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return app


@lru_cache(maxsize=1024)
def _params(query_string: bytes) -> RecommendParams:
    if not query_string:
        return RecommendParams()
    try:
        given = parse_qs(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=5_000)
    except ValueError:
        raise Problem(422, "invalid", "query: more than 5,000 parameters; send a POST to /v1/recommendations") from None
    return parse_params(given)


def parse_params(given: Mapping[str, Sequence[str]]) -> RecommendParams:
    """Parameters of an address; of one that is no list the last counts, as in the framework."""
    try:
        return RecommendParams.model_validate(
            {name: values if name in _LISTS else values[-1] for name, values in given.items()}
        )
    except ValidationError as error:
        raise of_validation(error.errors(), "query") from None
