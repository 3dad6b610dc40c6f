"""Events are taken all or nothing, once, and only when they are durable."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def stored(server: Any, user: str) -> list[str]:
    """Ids of the user's records in the log, read past the service."""
    home = server.folder.with_name(f"{server.folder.name}.service")
    with sqlite3.connect(home / "events.db") as base:
        rows = base.execute('SELECT id FROM temporec_records WHERE "user" = ?', (f'"{user}"',)).fetchall()
    return [row[0] for row in rows]


def test_a_repetition_is_stored_once_and_another_content_is_refused(server: Any) -> None:
    event = {"id": "once", "user": "twice", "item": "i1", "time": 1_800_000_000, "kind": "view", "value": 2.5}
    first, second = (server.http.post("/v1/events", json=event) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json()["offset"] == second.json()["offset"]
    assert len(server.http.get("/v1/users/twice/events").json()["events"]) == 1
    other = server.http.post("/v1/events", json={**event, "item": "i2"})
    assert other.status_code == 409
    assert "once" in other.json()["detail"]
    assert stored(server, "twice") == ["once"]


def test_a_batch_is_all_or_nothing(server: Any) -> None:
    good = {"user": "batch", "item": "i1"}
    refused = server.http.post("/v1/events", json=[good, {"user": "batch", "item": "nix"}])
    assert refused.status_code == 422
    assert "'nix'" in refused.json()["detail"]
    clash = {"id": "batch-clash", "user": "batch", "item": "i1", "time": 1}
    assert server.http.post("/v1/events", json=[clash, {**clash, "item": "i2"}]).status_code == 409
    assert stored(server, "batch") == []
    assert server.http.get("/v1/users/batch/events").json()["events"] == []
    taken = server.http.post("/v1/events", json=[good, {**good, "item": "i2"}]).json()
    assert taken["taken"] == 2
    assert sorted(stored(server, "batch")) == sorted(taken["ids"])


def test_an_event_with_an_id_needs_its_time(server: Any) -> None:
    refused = server.event("anyone", "i1", id="no-time")
    assert refused.status_code == 422
    assert "time" in refused.json()["detail"]


def test_late_events_stand_where_they_belong(server: Any) -> None:
    for item, moment in (("i5", 1_800_000_300), ("i3", 1_800_000_100), ("i4", 1_800_000_200)):
        assert server.event("late", item, time=moment).status_code == 200
    events = server.http.get("/v1/users/late/events").json()["events"]
    assert [event["item"] for event in events] == ["i3", "i4", "i5"]
    assert server.ids("late", 1) == ["i6"]


def test_items_come_change_and_go_at_once(server: Any) -> None:
    fresh = {"item": "fresh", "title": "thing number 6", "price": 6}
    assert server.event("buyer", "fresh").status_code == 422
    assert server.http.put("/v1/items", json=fresh).json() == {"items": 1, "new": 1}
    assert server.event("buyer", "i4").status_code == 200
    assert "fresh" in server.ids("buyer", 100)
    assert server.http.put("/v1/items", json={**fresh, "available": False}).status_code == 200
    assert "fresh" not in server.ids("buyer", 100)
    assert server.http.put("/v1/items", json={**fresh, "title": "a new name"}).json()["new"] == 0
    answer = server.http.get("/v1/users/buyer/recommendations", params={"k": 100}).json()
    assert {row["item"]: row["title"] for row in answer["items"]}["fresh"] == "a new name"
    assert server.event("buyer", "fresh").status_code == 200
    assert server.http.delete("/v1/items/i9").status_code == 200
    assert "i9" not in server.ids("buyer", 100)
    assert server.http.put("/v1/items", json={"item": "i9"}).status_code == 200
    assert "i9" in server.ids("buyer", 100)
    assert server.http.delete("/v1/items/nix").status_code == 404


def test_without_texts_new_items_have_events_and_are_shown_when_they_are_learned(
    without_texts: Path, start: Callable[..., Any], temporec: Callable[..., Any]
) -> None:
    server = start(without_texts)
    assert server.http.put("/v1/items", json={"item": "fresh"}).json() == {"items": 1, "new": 1}
    for number in range(40):  # it comes behind i4
        for item in ("i3", "i4", "fresh"):
            assert server.event(f"new-{number}", item).status_code == 200
    assert "fresh" not in server.ids("u1", 100)
    told = server.http.get("/v1/explanations", params={"user": "u1", "item": "fresh"}).json()
    assert (told["user"], told["why_not"], told["score"], told["events"]) == ("u1", ["not_learned"], None, [])
    assert "nothing is known of it yet" in told["why"]
    assert server.event("late", "i4").status_code == 200
    assert server.ids("new-1", 3)
    assert server.stop() == 0
    server = start(without_texts)
    assert server.ids("new-1", 3)  # the item is there after a restart too
    learned = temporec("learn", without_texts, "--once", "--set", "every=100", "--set", "training.passes=20")
    assert learned.returncode == 0, learned.stderr
    assert temporec("models", "activate", without_texts, "v2").returncode == 0
    for _ in range(300):  # the service changes to the version by itself
        if "fresh" in server.ids("late", 3):
            return
        time.sleep(0.1)
    raise AssertionError(server.ids("late", 100))


@pytest.mark.parametrize(
    "wrong", [{"item": "z1", "nix": 1}, {"item": "z2", "price": "dear"}, {"item": "z3"}, {"item": "z4", "title": ["a"]}]
)
def test_an_item_that_no_model_can_place_is_refused(server: Any, wrong: dict[str, Any]) -> None:
    assert server.http.put("/v1/items", json=wrong).status_code == 422
    assert server.event("anyone", wrong["item"]).status_code == 422


def test_a_forgotten_user_is_gone_after_a_restart_too(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied())
    for item in ("i1", "i2"):
        assert server.event("u3", item).status_code == 200
    assert server.http.post(
        "/v1/feedback", json={"user": "u3", "item": "i1", "action": "shown", "version": "v1"}
    ).is_success
    answer = server.http.delete("/v1/users/u3").json()
    assert (answer["events"], answer["history"]) == (3, 6 + 2)  # records of the log; what answers were made from
    assert "weights" in answer["remains"]
    assert server.http.get("/v1/users/u3/recommendations").json()["source"] == "popularity"
    assert server.event("u3", "i11").status_code == 200
    assert server.stop(9) == -9
    again = start(server.folder)
    assert [event["item"] for event in again.http.get("/v1/users/u3/events").json()["events"]] == ["i11"]


def test_the_mode_frozen_keeps_events_and_changes_nothing(
    copied: Callable[[], Path], start: Callable[..., Any]
) -> None:
    server = start(copied(), "--mode", "frozen")
    before = server.ids("u3")
    assert server.event("u3", before[0]).status_code == 200
    assert server.ids("u3") == before
    assert len(stored(server, "u3")) == 1
    assert server.http.post("/v1/models/v1/activate").status_code == 409
