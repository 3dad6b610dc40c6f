"""Reasons, explanations and similar items are of one version, the user's, also while versions change."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from temporec.recommend.base import Recommender
from temporec.store.versions import Home

ADDRESSES = {
    "why": "/v1/users/u3/recommendations?k=5&why=true",
    "explain": "/v1/explanations?item=i11&user=u3",
    "similar": "/v1/items/i3/similar?k=5",
}


def second_version(server: Any) -> Home:
    """The home of a service that has a version v2, which ranks the other way round."""
    home = Home.open(server.folder)
    model: Any = Recommender.load(home.folder("v1"))
    for weights in model.model.parameters():
        weights.data.mul_(-0.7)
    assert home.add(model.save, parent="v1", log_offset=0, metrics={}) == "v2"
    return home


def said(kind: str, plain: dict[str, Any]) -> Any:
    """What an answer says, without what differs between two requests."""
    return plain["rank"] if kind == "explain" else [row["item"] for row in plain["items"]]


@pytest.mark.parametrize("swaps", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_swaps_under_load(copied: Callable[[], Path], start: Callable[..., Any], swaps: int) -> None:
    server = start(copied())
    second_version(server)
    names, right = ("v1", "v2"), dict[tuple[str, str], Any]()
    for kind, address in ADDRESSES.items():
        for name in names:
            plain = server.http.get(f"{address}&version={name}").json()
            assert plain["version"] == name
            right[kind, name] = said(kind, plain)
    assert right["why", "v1"] != right["why", "v2"]
    assert right["explain", "v1"] != right["explain", "v2"]
    stop, wrong, seen = threading.Event(), list[Any](), Counter[tuple[str, str]]()

    def load(kind: str, address: str) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not stop.is_set():
                answer = client.get(address)
                if answer.status_code != 200:
                    wrong.append(answer.text)
                    continue
                plain = answer.json()
                seen[kind, plain["version"]] += 1
                if said(kind, plain) != right[kind, plain["version"]]:
                    wrong.append((kind, plain))

    threads = [threading.Thread(target=load, args=each) for each in ADDRESSES.items()]
    by_name = [(kind, f"{address}&version=v1") for kind, address in ADDRESSES.items()]
    threads += [threading.Thread(target=load, args=each) for each in by_name]
    for thread in threads:
        thread.start()
    for n in range(swaps):
        name = names[1 - n % 2]
        assert server.http.post(f"/v1/models/{name}/activate").json()["active"]
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert set(seen) == set(right)


def test_an_explanation_is_of_the_version_that_answers_the_user(
    copied: Callable[[], Path], start: Callable[..., Any]
) -> None:
    server = start(copied(), "--set", "check_every=0.1")
    second_version(server).activate("v2", control="v1", share=0.5)
    deadline = time.monotonic() + 60
    while server.http.get("/v1/status").json()["control"] != "v1" and time.monotonic() < deadline:
        time.sleep(0.1)
    seen = set()
    for n in range(30):
        listed = server.http.get(f"/v1/users/u{n}/recommendations", params={"why": n % 2 == 0}).json()
        item = listed["items"][3]
        told = server.http.get("/v1/explanations", params={"user": f"u{n}", "item": item["item"]}).json()
        assert (told["version"], told["rank"]) == (listed["version"], item["rank"])
        assert told["score"] == pytest.approx(item["score"], abs=1e-4)
        seen.add(told["version"])
    assert seen == {"v1", "v2"}
