"""Routes of the items: find, put, remove."""

import asyncio
import uuid
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query

from temporec.data.catalog import Catalog
from temporec.errors import UnknownIdError
from temporec.serving.answering import Answering
from temporec.serving.answers import Json, checked_id
from temporec.serving.documents import document, problems
from temporec.serving.problems import of_error
from temporec.serving.routes_recommend import ItemId
from temporec.serving.schemas import ItemIn, Items
from temporec.serving.service import Service
from temporec.serving.versions import apply_items
from temporec.store.records import Record

__all__ = ["router"]

Change = dict[str, object]


def router(service: Service) -> APIRouter:
    """The routes of one service."""
    routes = APIRouter(prefix="/v1", tags=["items"], default_response_class=Json)

    @routes.get("/items", responses={200: document("Found", items=list), **problems(422)})
    async def find_items(
        query: Annotated[str, Query(max_length=200, description="A part of the title.")] = "",
        k: Annotated[int, Query(ge=1, le=500)] = 20,
    ) -> Json:
        """Items whose title holds a text."""
        return Json({"items": await asyncio.to_thread(_find, service.engine.catalog, query, k)})

    @routes.put("/items", responses={200: document("Put", items=int, new=int), **problems(422, 503)})
    async def put_items(body: Items) -> Json:
        """Add items or change them, effective at once; `available: false` takes one out of stock."""
        changes = [_change(service, item) for item in (body if isinstance(body, list) else [body])]
        return Json({"items": len(changes), "new": await _apply(service, changes)})

    @routes.delete("/items/{item:path}", responses={200: document("Removed", items=int), **problems(404, 422, 503)})
    async def remove_item(item: ItemId) -> Json:
        """Never recommend an item again, until it is put again."""
        asked = service.item(checked_id(item, "item"))
        if asked not in service.engine.catalog.vocabulary:
            raise of_error(
                UnknownIdError(f"item {item!r:.80} is not in the catalog, so there is nothing to remove"), 404
            )
        await _apply(service, [{"action": "delete", "item": asked}])
        return Json({"items": 1})

    return routes


def _change(service: Service, item: ItemIn) -> Change:
    columns = {name: value for name, value in (item.model_extra or {}).items() if name != "action"}
    change: Change = {**columns, "action": "put", "item": service.item(item.item)}
    return change if item.available else {**change, "available": False}


async def _apply(service: Service, changes: list[Change]) -> int:
    """Change the items in memory, make it durable, then let events be about them.

    Memory comes first, because only a model can say whether it can place an item; an item that is new and cannot be
    made durable is hidden again.
    """
    engine, done = service.engine, set[int]()

    def change(answering: Answering) -> int:
        new = [apply_items(v.live, changes) for v in answering.versions if id(v.live) not in done]
        done.update(id(version.live) for version in answering.versions)
        return max(new, default=0)

    def publish(answering: Answering) -> None:
        change(answering)  # versions that came meanwhile
        engine.show(answering)

    before = engine.catalog
    new = await engine.run(change)
    try:
        await service.store([Record(uuid.uuid4().hex, "items", {**change}) for change in changes])
    except BaseException:
        fresh = [{"action": "delete", "item": c["item"]} for c in changes if c["item"] not in before.vocabulary]
        engine.submit(lambda answering: [apply_items(version.live, fresh) for version in answering.versions])
        raise
    await engine.run(publish)
    return new


def _find(catalog: Catalog, text: str, k: int) -> list[dict[str, Any]]:
    column = catalog.title_column or "item"
    found = catalog.frame.select("item", pl.col(column).cast(pl.String).fill_null("").alias("title"))
    pattern = text.strip().lower()
    if pattern:
        found = found.filter(pl.col("title").str.to_lowercase().str.contains(pattern, literal=True))
    return found.head(k).to_dicts()
