"""Routes of the items: find, put, remove."""

import asyncio
import uuid
from typing import Annotated, Any, NamedTuple

import polars as pl
from fastapi import APIRouter, Query

from temporec.data.catalog import Catalog
from temporec.data.vocabulary import Id
from temporec.errors import UnknownIdError
from temporec.recommend.live import Live
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
    routes, made = APIRouter(prefix="/v1", tags=["items"], default_response_class=Json), _Changes(service)

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
        return Json({"items": len(changes), "new": await made.apply(changes)})

    @routes.delete("/items/{item:path}", responses={200: document("Removed", items=int), **problems(404, 422, 503)})
    async def remove_item(item: ItemId) -> Json:
        """Never recommend an item again, until it is put again."""
        asked = service.item(checked_id(item, "item"))
        if asked not in service.engine.catalog.vocabulary:
            raise of_error(
                UnknownIdError(f"item {item!r:.80} is not in the catalog, so there is nothing to remove"), 404
            )
        await made.apply([{"action": "delete", "item": asked}])
        return Json({"items": 1})

    return routes


def _change(service: Service, item: ItemIn) -> Change:
    columns = {name: value for name, value in (item.model_extra or {}).items() if name != "action"}
    change: Change = {**columns, "action": "put", "item": service.item(item.item)}
    return change if item.available else {**change, "available": False}


class _Changes:
    """Changes of items: in memory, then durable, one after another, so that what fails can be undone.

    Memory comes first, because only a model can say whether it can place an item. Events may be about new items once
    they are durable; where that fails, known items are again as they were, and new ones are hidden.
    """

    def __init__(self, service: Service) -> None:
        self.service, self._one_by_one = service, asyncio.Lock()

    async def apply(self, changes: list[Change]) -> int:
        """Make changes in all versions; how many items are new. Who waits no longer does not stop it half-way."""
        return await asyncio.shield(asyncio.ensure_future(self._in_turn(changes)))

    async def _in_turn(self, changes: list[Change]) -> int:
        async with self._one_by_one:
            return await self._apply(changes)

    async def _apply(self, changes: list[Change]) -> int:
        engine, before = self.service.engine, dict[int, _Before]()

        def change(answering: Answering) -> int:
            new = 0
            for live in [version.live for version in answering.versions if id(version.live) not in before]:
                was = _Before(live, live.catalog, sorted(live.absent))
                new = max(new, apply_items(live, changes))
                before[id(live)] = was
            return new

        def publish(answering: Answering) -> None:
            change(answering)  # versions that came meanwhile
            engine.show(answering)

        def undo(_: Answering) -> None:
            for each in before.values():
                each.restore([item for change in changes if isinstance(item := change["item"], str | int)])

        try:
            new = await engine.run(change)
            await self.service.store([Record(uuid.uuid4().hex, "items", {**change}) for change in changes])
        except BaseException:
            engine.submit(undo)
            raise
        await engine.run(publish)
        return new


class _Before(NamedTuple):
    """What a live model knew of its items."""

    live: Live
    catalog: Catalog
    absent: list[int]

    def restore(self, items: list[Id]) -> None:
        """Let it know of some items what it knew; those that are new since are hidden."""
        live, size = self.live, len(self.catalog)
        frame = pl.concat([self.catalog.frame, live.catalog.frame[size:]])
        live.recommender.catalog = Catalog(live.catalog.vocabulary, frame)
        live.put_items(pl.DataFrame({"item": items}, schema={"item": frame.schema["item"]}))
        hidden = [item for item in items if item not in self.catalog.vocabulary]
        live.remove_items([*hidden, *self.catalog.vocabulary.decode(self.absent)])


def _find(catalog: Catalog, text: str, k: int) -> list[dict[str, Any]]:
    column = catalog.title_column or "item"
    found = catalog.frame.select("item", pl.col(column).cast(pl.String).fill_null("").alias("title"))
    pattern = text.strip().lower()
    if pattern:
        found = found.filter(pl.col("title").str.to_lowercase().str.contains(pattern, literal=True))
    return found.head(k).to_dicts()
