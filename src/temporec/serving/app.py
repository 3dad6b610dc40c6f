"""The application: routes, problems, the OpenAPI document, the page; the gate around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from temporec import __version__
from temporec.errors import TemporecError
from temporec.serving import (
    routes_events,
    routes_items,
    routes_models,
    routes_operations,
    routes_recommend,
    routes_users,
)
from temporec.serving.answers import Shortcut
from temporec.serving.documents import PROBLEM
from temporec.serving.gate import App, Gate
from temporec.serving.problems import MEDIA_TYPE, Problem, of_error, of_validation
from temporec.serving.service import Service
from temporec.serving.tracing import open_tracer

__all__ = ["create_app", "describe"]

_WORDS = {404: "there is no such address; /v1/openapi.json lists all", 405: "this address does not know this method"}


def create_app(service: Service) -> App:
    """The ASGI application of an open service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.close()

    api = FastAPI(
        title="Temporec", version=__version__, description="Temporal recommendation as a service.",
        docs_url=None, redoc_url=None, openapi_url="/v1/openapi.json", lifespan=lifespan,
    )  # fmt: skip
    for routes in (routes_recommend, routes_users, routes_events, routes_items, routes_models, routes_operations):
        api.include_router(routes.router(service))
    api.mount("/static", StaticFiles(directory=routes_operations.STATIC))
    for kind in (Problem, TemporecError, RequestValidationError, HTTPException):
        api.add_exception_handler(kind, _answered)
    api.openapi = lambda: describe(api)  # type: ignore[method-assign]
    gate = Gate(api, Shortcut(service), service, open_tracer(service.config.traces))
    if not service.config.cors:
        return gate
    # Outside the gate: a preflight carries no token, and a page may read refusals too.
    return CORSMiddleware(
        gate, allow_origins=service.config.cors, allow_methods=["*"],
        allow_headers=["authorization", "content-type", "x-request-id"], expose_headers=["x-request-id", "retry-after"],
    )  # fmt: skip


def describe(api: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the problem and the token."""
    if api.openapi_schema is None:
        made = FastAPI.openapi(api)
        parts = made.setdefault("components", {})
        parts.setdefault("schemas", {})["Problem"] = PROBLEM
        parts["schemas"].pop("HTTPValidationError", None)
        parts["schemas"].pop("ValidationError", None)
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}, {}]
    assert api.openapi_schema is not None
    return api.openapi_schema


async def _answered(request: Request, error: Exception) -> Response:
    problem = _problem(error)
    body = problem.body(request.state.request)
    return Response(body, problem.status, {**problem.headers, "content-type": MEDIA_TYPE})


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case TemporecError():
            return of_error(error)
        case RequestValidationError():
            return of_validation(error.errors())
        case HTTPException():
            detail = _WORDS.get(error.status_code, str(error.detail))
            return Problem(error.status_code, "http", detail, headers=error.headers)
    raise error
