"""`kill -9` at any moment: no acknowledged event is lost, none is there twice, and the answers are those of before."""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

WORKERS = 3


def send(url: str, name: str, acknowledged: list[tuple[str, str]], begun: threading.Event) -> None:
    """Send events in batches until the server is gone; a batch that is not acknowledged is sent again by nobody."""
    with httpx.Client(base_url=url, timeout=30) as client:
        for n in range(100_000):
            batch = [
                {
                    "id": f"{name}-{n}-{i}",
                    "user": f"{name}-u{i % 3}",
                    "item": f"i{(n + i) % 20}",
                    "time": 1_800_000_000 + n,
                }
                for i in range(5)
            ]
            try:
                answer = client.post("/v1/events", json=batch)
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                acknowledged += [(event["user"], event["id"]) for event in batch]
                begun.set()


def stored(server: Any) -> list[tuple[str, str]]:
    """User and id of all events in the log, read past the service."""
    from temporec.store.events import open_event_log

    with open_event_log(server.folder.with_name(f"{server.folder.name}.service") / "events.db") as log:
        return [(str(record.user), record.id) for record in log.read_all(topics={"events"})]


@pytest.mark.parametrize("rounds", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_kill_nine_under_load(copied: Callable[[], Path], start: Callable[..., Any], rounds: int) -> None:
    draw, server = random.Random(11), start(copied(), "--set", "snapshot_every=40", "--set", "check_every=0.1")
    acknowledged: list[tuple[str, str]] = []
    for number in range(rounds):
        begun = threading.Event()
        threads = [
            threading.Thread(target=send, args=(server.url, f"r{number}w{worker}", acknowledged, begun))
            for worker in range(WORKERS)
        ]
        for thread in threads:
            thread.start()
        assert begun.wait(60)
        time.sleep(draw.uniform(0.0, 0.6))
        assert server.stop(signal.SIGKILL) == -9
        for thread in threads:
            thread.join()
        server.http.close()
        server = start(server.folder, "--set", "snapshot_every=40", "--set", "check_every=0.1")
        found = stored(server)
        assert len(found) == len(set(found))
        assert set(acknowledged) <= set(found)
        by_user = Counter(user for user, _ in found)
        for user in draw.sample(sorted(by_user), 5):
            events = server.http.get(f"/v1/users/{user}/events", params={"k": 1_000}).json()["events"]
            assert len(events) == by_user[user]
    assert acknowledged


def test_the_state_after_a_kill_is_the_one_before(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied())
    draw = random.Random(5)
    users = [f"s{n}" for n in range(6)] + ["u1", "u2"]
    for n in range(150):
        event = {
            "user": draw.choice(users),
            "item": f"i{draw.randrange(20)}",
            "time": 1_800_000_000 + draw.randrange(90),
        }
        assert server.http.post("/v1/events", json={**event, "id": f"e{n}"}).status_code == 200
    assert server.http.put("/v1/items", json={"item": "new", "title": "thing number 2"}).status_code == 200
    assert server.http.delete("/v1/items/i4").status_code == 200

    def answers(at: Any) -> list[Any]:
        found = [at.http.get(f"/v1/users/{user}/recommendations", params={"k": 50}).json()["items"] for user in users]
        histories = [at.http.get(f"/v1/users/{user}/events", params={"k": 1_000}).json() for user in users]
        rounded = [[(row["item"], round(row["score"], 3)) for row in rows] for rows in found]
        return [rounded, histories]

    before = answers(server)
    assert server.stop(signal.SIGKILL) == -9
    killed = start(server.folder)
    assert answers(killed) == before
    assert killed.stop() == 0
    assert (server.folder.with_name(f"{server.folder.name}.service") / "snapshot" / "v1" / "manifest.json").is_file()
    assert answers(start(server.folder)) == before
