"""`serve --mode adaptive` with its learner, as real processes: either may die at any moment."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from temporec.errors import StoreError
from temporec.store.versions import Home


def learns(home: Home) -> bool:
    """Whether a learner holds the home."""
    try:
        with home.alone("learn", "held"):
            return False
    except StoreError:
        return True


def wait(until: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := until()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found
    return found


def learners(server: Any) -> list[int]:
    return [line["pid"] for line in server.lines() if line["event"] == "the learner starts"]


def runs(server: Any) -> bool:
    return "temporec_learner_running 1.0" in server.http.get("/metrics").text


@pytest.mark.slow
def test_a_learner_is_started_again_and_ends_with_its_service(
    copied: Callable[[], Path], start: Callable[..., Any]
) -> None:
    server = start(copied(), "--mode", "adaptive")
    home = Home.open(server.folder)
    for n in range(60):
        assert server.event(f"n{n % 12}", f"i{n % 20}").status_code == 200
    wait(lambda: server.http.get("/v1/learning").json()["reports"])
    assert runs(server)
    (first,) = learners(server)
    os.kill(first, signal.SIGKILL)
    second = wait(lambda: learners(server)[1:])[0]
    assert second != first
    (told,) = [line for line in server.lines() if line["event"] == "the learner ended and is started again"]
    assert (told["level"], told["code"]) == ("error", -9)
    wait(lambda: learns(home))
    assert runs(server)
    reports = len(server.http.get("/v1/learning").json()["reports"])
    assert server.event("n1", "i19").status_code == 200
    wait(lambda: len(server.http.get("/v1/learning").json()["reports"]) > reports)
    assert server.stop(signal.SIGKILL) == -9
    wait(lambda: not learns(home))
    server = start(server.folder, "--mode", "adaptive")
    wait(lambda: learns(home))
    assert server.stop() == 0
    assert not learns(home)
