"""Recommendations over HTTP: the short way that most requests take, and what it shares with the documented route."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import parse_qs

import orjson
from pydantic import ValidationError
from starlette.responses import Response

from temporec.recommend.query import Query, Recommendations
from temporec.serving.answering import Answering, NotInMemoryError
from temporec.serving.engine import Answer
from temporec.serving.gate import App, Receive, Scope, Send
from temporec.serving.problems import Problem, of_validation
from temporec.serving.schemas import RecommendParams
from temporec.serving.service import Service

__all__ = ["Json", "Shortcut", "answer_dict", "checked_id", "recommend", "with_version"]

T = TypeVar("T")

USER_PATH = re.compile(r"/v1/users/(.{1,512})/recommendations", re.DOTALL)
ROUTE = "/v1/users/{user}/recommendations"
_LISTS = frozenset(name for name, field in RecommendParams.model_fields.items() if "list" in str(field.annotation))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TRIES = 5  # times that a version is loaded for one request
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
    query, engine = _spelt(service, query), service.engine
    if why:
        return await with_version(service, version, lambda: engine.run(lambda a: _with_reasons(a, query, version)))
    if version is None:
        return await engine.recommend(query)
    return await with_version(service, version, lambda: engine.recommend(query, version))


async def with_version(service: Service, name: str | None, ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` gives once the version of a name is in memory; loaded again where a swap lets go of it in between."""
    for _ in range(_TRIES):
        if name is not None:
            await _held(service, name)
        try:
            return await ask()
        except NotInMemoryError:
            continue
    raise Problem(
        429, "busy", f"version {name!r} had to make room for others {_TRIES} times; ask for fewer versions at once",
        headers={"retry-after": "1"},
    )  # fmt: skip


async def _held(service: Service, version: str) -> None:
    """Make sure that a version is in memory."""
    import asyncio

    try:
        service.engine.answering.named(version)
    except NotInMemoryError:
        service.home.folder(version)
        await asyncio.to_thread(service.swap.load_other, version)


def _with_reasons(answering: Answering, query: Query, name: str | None) -> Answer:
    """Answer and reasons in one go, so by one version."""
    version = answering.chosen(name, query.user)
    return Answer(version.live.with_reasons(query, version.live.recommend(query)), version.name)


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
