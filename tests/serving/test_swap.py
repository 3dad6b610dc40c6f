"""The thread that follows the pointer: failures that wait, an end that comes, two versions to compare."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from temporec.errors import CheckpointError
from temporec.serving import swap as module
from temporec.serving.answering import Answering, Version
from temporec.serving.metrics import Metrics
from temporec.serving.settings import ServeConfig
from temporec.serving.swap import Swap
from temporec.store.events import EventLog
from temporec.store.versions import Home


class FakeEngine:
    """Does at once what it is told."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering

    def show(self, answering: Answering) -> None:
        self.answering = answering

    def submit(self, call: Callable[[Answering], Any]) -> "Future[Any]":
        done: Future[Any] = Future()
        done.set_result(call(self.answering))
        return done


def version(name: str, offset: int = 0) -> Version:
    live: Any = SimpleNamespace(offset=offset)
    return Version(name, live, 0)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    lines: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(module, "say", lambda event, **fields: lines.append((event, fields)))
    monkeypatch.setattr(module, "_SETTLED", 0.0)
    return lines


@pytest.fixture
def swap(home: Home, log: EventLog, said: list[Any]) -> Swap:
    engine: Any = FakeEngine(Answering(version("v1")))
    return Swap(home, log, engine, ServeConfig(check_every=0.01, snapshot_every=10), Metrics())


def test_a_snapshot_that_fails_is_named_and_waits_longer_each_time(
    swap: Swap, said: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def full(*_: object) -> int:
        tries.append(time.monotonic())
        raise CheckpointError("cannot write: No space left on device")

    monkeypatch.setattr(module, "snapshot", full)
    monkeypatch.setattr(module, "_AGAIN", (0.1, 1.0))
    swap.engine.answering.current.live.offset = 10
    swap.start()
    deadline = time.monotonic() + 60
    while len(tries) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    swap.close()
    assert tries[1] - tries[0] >= 0.1
    assert tries[2] - tries[1] >= 0.2
    assert {line[0] for line in said} == {"the live histories cannot be saved"}
    assert "No space left" in said[0][1]["why"]
    assert [line[1]["again_in"] for line in said[:2]] == [0.1, 0.2]


def test_the_end_waits_for_a_build_only_for_a_while(
    swap: Swap, home: Home, said: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    building, free = threading.Event(), threading.Event()

    def slow(*_: object) -> Version:
        building.set()
        free.wait(30)
        raise CheckpointError("too late")

    monkeypatch.setattr(module, "build", slow)
    monkeypatch.setattr(module, "_STOP", 0.2)
    swap.start()
    home.activate(home.add(lambda to: (to / "manifest.json").touch(), parent="v1", log_offset=0, metrics={}))
    assert building.wait(10)
    began = time.monotonic()
    swap.close()
    assert time.monotonic() - began < 5
    free.set()


def test_two_versions_are_compared_without_loading_them_again(swap: Swap, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(module, "build", lambda home, name, *_: built.append(name) or version(name))
    monkeypatch.setattr(Swap, "_finish", lambda *_: None)
    for name in ("v2", "v3", "v2", "v3", "v1"):
        swap.load_other(name)
    assert built == ["v2", "v3"]
    assert [one.name for one in swap.engine.answering.versions] == ["v1", "v2", "v3"]
    swap.load_other("v4")
    assert [one.name for one in swap.engine.answering.others] == ["v3", "v4"]
