"""Running it: one version answers one request, versions change under load, a full queue says so, a stop drains."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from temporec.recommend.base import Recommender
from temporec.store.versions import Home


def home_of(server: Any) -> Home:
    return Home.open(server.folder)


def second_version(server: Any, parent: str = "v1") -> str:
    """A version that ranks the other way round: its answers tell which version gave them."""
    home = home_of(server)
    model: Any = Recommender.load(home.folder(parent))
    for weights in model.model.parameters():
        weights.data.mul_(-0.7)
    return home.add(model.save, parent=parent, log_offset=0, metrics={"ndcg": 0.5})


def lists_by_version(server: Any, user: str) -> dict[str, list[str]]:
    return {name: server.ids(user, 5, version=name) for name in ("v1", "v2")}


@pytest.mark.parametrize("swaps", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_swaps_under_load(copied: Callable[[], Path], start: Callable[..., Any], swaps: int) -> None:
    server = start(copied())
    assert second_version(server) == "v2"
    right = lists_by_version(server, "u3")
    assert right["v1"] != right["v2"]
    stop, wrong, seen = threading.Event(), list[Any](), Counter[str]()

    def load() -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not stop.is_set():
                answer = client.get("/v1/users/u3/recommendations", params={"k": 5})
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    continue
                plain = answer.json()
                seen[plain["version"]] += 1
                if [row["item"] for row in plain["items"]] != right[plain["version"]]:
                    wrong.append(plain)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(swaps):
        name = ("v2", "v1")[n % 2]
        answer = server.http.post(f"/v1/models/{name}/activate")
        assert answer.json()["active"], answer.text
        assert server.http.get("/v1/status").json()["version"] == name
        assert server.event("walker", f"i{n % 20}").status_code == 200
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert set(seen) == {"v1", "v2"}
    assert len(server.http.get("/v1/users/walker/events?k=1000").json()["events"]) == swaps


def test_a_share_of_the_users_stays_with_the_control(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied())
    home, name = home_of(server), second_version(server)
    home.activate(name, control="v1", share=0.5)
    deadline = time.monotonic() + 60
    while server.http.get("/v1/status").json()["control"] != "v1" and time.monotonic() < deadline:
        time.sleep(0.1)
    by_user = {}
    for n in range(60):
        user = f"n{n}"
        versions = {server.http.get(f"/v1/users/{user}/recommendations").json()["version"] for _ in range(3)}
        assert len(versions) == 1
        by_user[user] = versions.pop()
    assert 10 < list(by_user.values()).count("v1") < 50
    assert set(by_user.values()) == {"v1", "v2"}


def test_a_version_that_cannot_be_loaded_changes_nothing(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied())
    home, name = home_of(server), second_version(server)
    (home.folder(name) / "model.safetensors").write_bytes(b"damaged")
    refused = server.http.post(f"/v1/models/{name}/activate")
    assert refused.status_code == 409
    assert "damaged" in refused.json()["detail"]
    home.activate(name)
    deadline = time.monotonic() + 60
    while server.http.get("/v1/status").json()["failed"] is None and time.monotonic() < deadline:
        time.sleep(0.1)
    status = server.http.get("/v1/status").json()
    assert status["version"] == "v1"
    assert name in status["failed"]
    assert server.ids("u3")
    assert server.http.post("/v1/models/nix/activate").status_code == 404
    assert server.http.post("/v1/models/..%2F..%2Fetc/activate").status_code == 404


def test_a_full_queue_says_so(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied(), "--set", "queue=2")

    def ask(_: int) -> httpx.Response:
        return httpx.get(f"{server.url}/v1/explanations", params={"item": "i6", "user": "u0"}, timeout=60)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(120)))
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 429}, counts
    busy = next(answer for answer in answers if answer.status_code == 429)
    assert busy.headers["retry-after"] == "1"
    assert busy.json()["type"] == "urn:temporec:problem:busy"
    assert server.ids("u0")


def test_a_stop_answers_what_is_open(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied())
    acknowledged, refused, stop = [], list[str](), threading.Event()

    def send(worker: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            n = 0
            while not stop.is_set():
                event = {"id": f"{worker}-{n}", "user": f"d{worker}", "item": f"i{n % 20}", "time": 1_800_000_000 + n}
                try:
                    answer = client.post("/v1/events", json=event)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    refused.append(repr(error))
                    return
                if answer.status_code == 200:
                    acknowledged.append(event["id"])
                n += 1

    threads = [threading.Thread(target=send, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    assert server.stop() == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert acknowledged
    assert any(line["event"] == "stopped" for line in server.lines())
    again = start(server.folder)
    kept = sum(len(again.http.get(f"/v1/users/d{worker}/events?k=1000").json()["events"]) for worker in range(4))
    assert kept >= len(acknowledged)


def test_a_second_service_on_one_home_is_refused(server: Any, start: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match="another service runs"):
        start(server.folder)


def test_figures_logs_and_the_document(server: Any) -> None:
    assert server.http.get("/readyz").json() == {"ready": True, "version": "v1"}
    assert server.ids("somebody-secret")
    text = server.http.get("/metrics").text
    assert 'temporec_requests_total{route="GET /v1/users/{user}/recommendations",status="200"}' in text
    assert "process_resident_memory_bytes" in text
    lines = [line for line in server.lines() if line["event"] == "request"]
    assert {"time", "level", "request", "method", "route", "status", "ms", "token"} <= set(lines[0])
    assert "somebody-secret" not in server.log_path.read_text()
    document = server.http.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    routes = {
        "/v1/events", "/v1/users/{user}/recommendations", "/v1/recommendations", "/v1/items/{item}/similar",
        "/v1/items", "/v1/items/{item}", "/v1/users/{user}", "/v1/explanations", "/v1/models",
        "/v1/models/{version}/activate", "/v1/feedback", "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    assert routes <= set(document["paths"])


def test_spans_go_to_the_console(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is not installed")
    server = start(copied(), "--set", "traces=console")
    assert server.ids("u3")
    assert server.stop() == 0
    spans = [line for line in server.lines() if "context" in line]
    assert any(span["attributes"]["http.route"] == "/v1/users/{user}/recommendations" for span in spans), spans


def test_settings_come_from_file_environment_and_command_line(
    copied: Callable[[], Path], start: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "serve.yaml").write_text("mode: frozen\nqueue: 7\nlog_requests: false\n")
    server = start(
        copied(), "--config", str(tmp_path / "serve.yaml"), "--mode", "state", environment={"TEMPOREC_QUEUE": "9"}
    )
    ready = next(line for line in server.lines() if line["event"] == "ready")
    assert (ready["mode"], ready["queue"]) == ("state", 9)
    assert server.ids("u1")
    assert not [line for line in server.lines() if line["event"] == "request"]
    json.dumps(server.lines())
