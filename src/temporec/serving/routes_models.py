"""Routes of the versions: list and activate."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path

from temporec.recommend.folder import read_manifest
from temporec.serving.answers import Json
from temporec.serving.documents import document, problems
from temporec.serving.problems import Problem
from temporec.serving.service import Service
from temporec.store.reports import read_reports

__all__ = ["router"]

WAIT = 0.9  # share of the request's time that an activation may wait for the new version


def router(service: Service) -> APIRouter:
    """The routes of one service."""
    routes = APIRouter(prefix="/v1", tags=["models"], default_response_class=Json)

    @routes.get("/models", responses={200: document("Models", current=str, versions=list), **problems(503)})
    async def models() -> Json:
        """All versions, their figures, and which one answers."""
        versions = await asyncio.to_thread(service.home.versions)
        pointer, answering = service.home.pointer(), service.engine.answering
        return Json({
            "current": answering.current.name,
            "control": None if answering.control is None else answering.control.name,
            "share": answering.share,
            "previous": pointer.previous,
            "versions": [asdict(version) for version in versions],
        })  # fmt: skip

    @routes.get("/learning", responses={200: document("Learning", reports=list), **problems(503)})
    async def learning() -> Json:
        """What the learner said of its last rounds: prequential figures, drift, the factor of its learning rate."""
        return Json({"reports": await asyncio.to_thread(read_reports, service.home)})

    @routes.post(
        "/models/{version}/activate",
        responses={200: document("Activated", version=str, active=bool), **problems(404, 409, 422, 503)},
    )
    async def activate(version: Annotated[str, Path(description="Name of a version.")]) -> Json:
        """Let a version answer; `active` is false while it is still being built."""
        if service.config.mode == "frozen":
            raise Problem(409, "frozen", "this service runs in the mode frozen; start it with --mode state or adaptive")
        folder = service.home.folder(version)
        await asyncio.to_thread(read_manifest, folder)
        pointer = service.home.activate(version)
        active = await asyncio.to_thread(service.swap.wait_for, pointer.serial, WAIT * service.config.timeout)
        return Json({"version": version, "active": active, "previous": pointer.previous})

    return routes
