"""A small fitted model, and real server processes over copies of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from temporec.data.dataset import build_dataset
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.runtime import RunOptions
from temporec.store.events import EventLog, open_event_log
from temporec.store.versions import Home

CODE = "from temporec.cli.main import run; run()"
SOURCE = Path(__file__).parents[2] / "src"
USERS, EVENTS, ITEMS = 30, 6, 20
T0 = 1_700_000_000  # seconds
HOSTILE = "<script>alert(1)</script>"


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}


class Server:
    """`temporec serve FOLDER WORDS` on a free port, and a client of it."""

    def __init__(self, folder: Path, *words: str, environment: dict[str, str] | None = None) -> None:
        self.folder, self.log_path = folder, folder.with_name(f"{folder.name}.log")
        command = [sys.executable, "-c", CODE, "serve", str(folder), "--port", "0", *words]
        env = {**ENVIRONMENT, **(environment or {})}
        with self.log_path.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=env)
        self.url = self._listening()
        self.http = httpx.Client(base_url=self.url, timeout=60)

    def _listening(self) -> str:
        for _ in range(1_200):
            for line in self.lines():
                if line.get("event") == "listening":
                    return str(line["url"])
            assert self.process.poll() is None, self.log_path.read_text()
            time.sleep(0.1)
        raise AssertionError(f"the server does not listen: {self.log_path.read_text()}")

    def lines(self) -> list[dict[str, Any]]:
        """The log so far."""
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return [line for line in found if isinstance(line, dict)]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end: the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def event(self, user: str, item: str, **fields: Any) -> httpx.Response:
        return self.http.post("/v1/events", json={"user": user, "item": item, **fields})

    def ids(self, user: str, k: int = ITEMS, **params: Any) -> list[str]:
        """Recommended ids."""
        response = self.http.get(f"/v1/users/{user}/recommendations", params={"k": k, **params})
        assert response.status_code == 200, response.text
        return [row["item"] for row in response.json()["items"]]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that knows users who walk along a circle of items; one title is hostile."""
    titles = [HOSTILE if i == 7 else f"thing number {i}" for i in range(ITEMS)]
    items = pl.DataFrame(
        {"item": [f"i{i}" for i in range(ITEMS)], "title": titles, "price": [float(i) for i in range(ITEMS)]}
    )
    return fitted(tmp_path_factory.mktemp("model") / "shop", items)


@pytest.fixture(scope="session")
def without_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a shop that knows nothing of its items."""
    return fitted(tmp_path_factory.mktemp("ids") / "shop", None)


def fitted(folder: Path, items: pl.DataFrame | None) -> Path:
    """Save a model of users who walk along the circle."""
    rows = [(f"u{u}", f"i{(u + t) % ITEMS}", 1000 * (T0 + 86_400 * t + u)) for u in range(USERS) for t in range(EVENTS)]
    dataset = build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), items)
    config = FitConfig.of({
        "encoder": {"kind": "gru", "dim": 16}, "dropout": 0.0, "events": ["time"],
        "training": {"epochs": 15, "lr": 0.01, "tokens": 256},
    })  # fmt: skip
    fit_recommender(dataset, config, RunOptions(precision="fp32")).recommender.save(folder)
    return folder


@pytest.fixture(scope="session")
def temporec() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`temporec("tokens", "add", ...)` is a real process that has ended."""

    def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", CODE, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT)

    return run


@pytest.fixture(scope="session")
def copied(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """`copied()` is a new copy of the model, so a new service."""

    def copy() -> Path:
        return Path(shutil.copytree(model, tmp_path_factory.mktemp("service") / "shop"))

    return copy


@pytest.fixture(scope="module")
def start() -> Iterator[Callable[..., Server]]:
    """`start(folder, "--mode", "frozen")` is a running server; all are killed at the end."""
    servers: list[Server] = []

    def run(folder: Path, *words: str, environment: dict[str, str] | None = None) -> Server:
        servers.append(Server(folder, *words, environment=environment))
        return servers[-1]

    yield run
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        server.http.close()


@pytest.fixture(scope="module")
def server(copied: Callable[[], Path], start: Callable[..., Server]) -> Server:
    """One server that the tests of a file share; each uses users of its own."""
    return start(copied())


@pytest.fixture
def home(copied: Callable[[], Path]) -> Home:
    return Home.open(copied())


@pytest.fixture
def log(home: Home) -> Iterator[EventLog]:
    with open_event_log(home.events_path) as opened:
        yield opened
