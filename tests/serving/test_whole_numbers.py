"""A baseline with whole numbers as ids: 12 and "12" are one user, and what is no number is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from temporec.baselines.popularity import Popularity
from temporec.data.dataset import build_dataset
from temporec.serving.app import create_app
from temporec.serving.service import Service
from temporec.serving.settings import ServeConfig


@pytest.fixture
def asked(tmp_path: Path) -> Callable[[Callable[[httpx.AsyncClient], Awaitable[Any]]], Any]:
    """Runs a conversation with a service of its own, in this process."""
    rows = [(u, (u + t) % 9, 1_700_000_000_000 + t) for u in range(12) for t in range(4)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    Popularity().fit(build_dataset(frame)).save(tmp_path / "shop")

    def run(talk: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        async def served() -> Any:
            service = Service.open(tmp_path / "shop", ServeConfig(allowed_hosts=("service",)))
            app: Any = create_app(service)
            service.start()
            try:
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
                    return await talk(client)
            finally:
                service.close()

        return asyncio.run(served())

    return run


def test_numbers_and_texts_of_numbers_are_one_user(asked: Any) -> None:
    async def talk(client: httpx.AsyncClient) -> list[Any]:
        for user in (12, "12", 5, "5"):
            assert (await client.post("/v1/events", json={"user": user, "item": "3"})).status_code == 200
        return [(await client.get(f"/v1/users/{user}/events")).json()["events"] for user in (12, 5)]

    twelve, five = asked(talk)
    assert [event["item"] for event in twelve] == [3, 3]
    assert len(five) == 6


@pytest.mark.parametrize("wrong", ["--5", "-", "9" * 400, "1e3", "٣x", "anna", "0x1", "1.0"])
def test_what_is_no_number(asked: Any, wrong: str) -> None:
    async def talk(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/v1/events", json={"user": wrong, "item": 3}),
            await client.post("/v1/events", json={"user": 1, "item": wrong}),
            await client.get(f"/v1/items/{wrong}/similar"),
            await client.get(f"/v1/users/{wrong}/recommendations"),
        ]

    user, item, similar, unknown = asked(talk)
    assert (user.status_code, item.status_code, similar.status_code) == (422, 422, 404)
    assert wrong[:70] in user.json()["detail"]
    assert unknown.json()["source"] == "popularity"
