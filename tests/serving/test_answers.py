"""What a service answers: as the model in Python, and each event in the very next answer."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from temporec.recommend.base import Recommender
from temporec.serving.app import create_app
from temporec.serving.gate import Gate
from temporec.serving.service import Service
from temporec.serving.settings import ServeConfig
from temporec.serving.tracing import Tracer

RIGHT = [
    "", "k=3", "k=3&why=true", "exclude_seen=false", "blocked=i9&blocked=i10", "allowed=i1&allowed=i2&allowed=i12",
    "candidates=i11&candidates=i12", "category=title%3Dthing%20number%2012", "at=2024-01-01T00:00&k=2", "at=1800000000",
    "diversity=0.5&k=5", "version=v1", "k=1&k=2", "allowed=i1&category=price%3D1.0",
]  # fmt: skip
WRONG = [
    "k=0", "k=501", "k=x", "k=1e3", "k=", "k", "diversity=2", "diversity=nan", "at=yesterday", "at=nan", "unknown=1",
    "blocked=nix", "category=title", "category=nix%3D1", "version=..%2F..", "exclude_seen=maybe", "blocked=",
    "candidates=a%00b", "version=v9", "%ff=1", "k=%ff",
]  # fmt: skip


def test_it_answers_as_the_model(server: Any, model: Path) -> None:
    offline = Recommender.load(model).recommend(user="u3", k=5)
    answer = server.http.get("/v1/users/u3/recommendations", params={"k": 5}).json()
    assert [row["item"] for row in answer["items"]] == offline.ids
    assert [row["score"] for row in answer["items"]] == pytest.approx([row.score for row in offline], abs=1e-4)
    assert answer["items"][0]["probability"] == pytest.approx(offline.items[0].probability, abs=1e-4)
    assert (answer["user"], answer["source"], answer["version"]) == ("u3", "model", "v1")
    assert [row["rank"] for row in answer["items"]] == [1, 2, 3, 4, 5]


def test_the_short_way_and_the_route_are_equal(copied: Callable[[], Path]) -> None:
    async def both() -> dict[str, list[httpx.Response]]:
        service = Service.open(copied(), ServeConfig(allowed_hosts=("testserver",)))
        short = create_app(service)
        assert isinstance(short, Gate)
        service.start()
        found = {}
        for query in [*RIGHT, *WRONG]:
            path = f"http://testserver/v1/users/u3/recommendations?{query}"
            found[query] = []
            for app in (short, Gate(short.app, lambda _: None, service, Tracer())):
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
                    found[query].append(await client.get(path))
        service.close()
        return found

    for query, (short, long) in asyncio.run(both()).items():
        assert short.status_code == long.status_code, query
        assert short.is_success == (query in RIGHT), (query, short.text)
        assert {**short.json(), "request": ""} == {**long.json(), "request": ""}, query
        assert len(short.json().get("items", [0])) > 0, query


def test_a_user_who_is_not_known_gets_what_is_popular(server: Any) -> None:
    answer = server.http.get("/v1/users/nobody/recommendations").json()
    assert (answer["source"], answer["user"], len(answer["items"])) == ("popularity", "nobody", 10)


def test_each_event_is_in_the_very_next_answer(server: Any) -> None:
    for n in range(60):
        user, item = f"new-{n % 7}", f"i{(3 * n) % 20}"
        assert server.event(user, item).status_code == 200
        assert item not in server.ids(user), n
        events = server.http.get(f"/v1/users/{user}/events").json()["events"]
        assert events[-1]["item"] == item


def test_a_history_and_words_are_enough(server: Any) -> None:
    body = {"history": ["i3", {"item": "i4"}, {"item": "i5", "time": 1_800_000_000}], "k": 1}
    answer = server.http.post("/v1/recommendations", json=body).json()
    assert [row["item"] for row in answer["items"]] == ["i6"]
    assert answer["user"] is None
    spoken = server.http.post("/v1/recommendations", json={"words": "thing number 3", "k": 3, "why": True}).json()
    assert len(spoken["items"]) == 3
    assert all(row["why"] for row in spoken["items"])
    filters = {"blocked": ["i6"], "allowed": ["i6", "i7"], "exclude_seen": False}
    left = server.http.post("/v1/recommendations", json={**body, "k": 5, "filters": filters}).json()
    assert [row["item"] for row in left["items"]] == ["i7"]
    refused = server.http.post("/v1/recommendations", json={**body, "filters": {"blocked": ["nix"]}})
    assert refused.status_code == 422
    assert "nix" in refused.json()["detail"]


def test_similar_items_and_explanations(server: Any, model: Path) -> None:
    offline = Recommender.load(model)
    similar = server.http.get("/v1/items/i3/similar", params={"k": 4}).json()
    assert [row["item"] for row in similar["items"]] == offline.similar("i3", 4).ids
    assert server.http.get("/v1/items/nix/similar").status_code == 404
    found = server.http.get("/v1/explanations", params={"item": "i6", "user": "u0"}).json()
    own = offline.explain("i6", user="u0")
    assert found["rank"] == own.rank
    assert [event["item"] for event in found["events"]] == [event.item for event in own.events]
    assert found["text"]
    assert server.http.get("/v1/explanations", params={"item": "nix", "user": "u0"}).status_code == 422


def test_it_finds_users_and_items(server: Any) -> None:
    users = server.http.get("/v1/users", params={"k": 3}).json()["users"]
    assert len(users) == 3
    found = server.http.get("/v1/items", params={"query": "NUMBER 12"}).json()["items"]
    assert found == [{"item": "i12", "title": "thing number 12"}]
    assert len(server.http.get("/v1/items", params={"k": 4}).json()["items"]) == 4
