"""Routes for operators and the page: alive, ready, figures, status."""

import time
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from temporec import __version__
from temporec.serving.answers import Json
from temporec.serving.documents import document, problems
from temporec.serving.problems import Problem
from temporec.serving.service import Service

__all__ = ["STATIC", "router"]

STATIC = Path(__file__).parent / "static"


def router(service: Service) -> APIRouter:
    """The routes of one service."""
    routes = APIRouter(tags=["operations"], default_response_class=Json)

    @routes.get("/", include_in_schema=False)
    async def page() -> Response:
        """The page."""
        return FileResponse(STATIC / "index.html", media_type="text/html; charset=utf-8")

    @routes.get("/healthz", responses={200: document("Alive", alive=bool)})
    async def healthz() -> Json:
        """Whether the process lives."""
        return Json({"alive": True})

    @routes.get("/readyz", responses={200: document("Ready", ready=bool), **problems(503)})
    async def readyz() -> Json:
        """Whether requests are answered."""
        if not service.ready:
            raise Problem(503, "not-ready", "the service starts or stops; ask again", headers={"retry-after": "1"})
        if not service.engine.is_alive:
            raise Problem(
                503, "not-ready", "the engine has ended; start the service again", headers={"retry-after": "1"}
            )
        return Json({"ready": True, "version": service.engine.answering.current.name})

    @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Figures for Prometheus."""
        service.metrics.waiting.set(service.engine.waiting)
        return Response(service.metrics.to_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.get("/v1/status", responses={200: document("Status", mode=str, version=str)})
    async def status() -> Json:
        """What the page shows: versions, sizes, latencies in ms, the place in the log."""
        return Json(_status(service))

    return routes


def _status(service: Service) -> dict[str, Any]:
    answering, metrics = service.engine.answering, service.metrics
    live = answering.current.live
    return {
        "temporec": __version__,
        "mode": service.config.mode,
        "version": answering.current.name,
        "control": None if answering.control is None else answering.control.name,
        "share": answering.share,
        "uptime": round(time.time() - service.started, 1),
        "items": len(service.engine.catalog),
        "users": len(live.recommender.users),
        "offset": live.offset,
        "events": int(metrics.total(metrics.events)),
        "requests": int(metrics.total(metrics.requests)),
        "latency_ms": metrics.percentiles(),
        "waiting": service.engine.waiting,
        "open": service.tokens.is_open,
        "failed": None if service.swap.failed is None else service.swap.failed[1],
    }
