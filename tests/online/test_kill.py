"""kill -9 at any moment: what is there afterwards is whole, and the next learner goes on from it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import polars as pl
import pytest

from temporec.recommend.base import Recommender
from temporec.store.events import EventLog
from temporec.store.records import Record
from temporec.store.versions import Home

COMMAND = [sys.executable, "-c", "from temporec.cli.main import run; run()", "learn"]
OPTIONS = ["--set", "training.lr=0.01", "--set", "training.passes=1", "--set", "round=100", "--set", "pause=0.05"]


def start(home: Home, *words: str) -> subprocess.Popen[str]:
    command = [*COMMAND, str(home.path), *OPTIONS, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


@pytest.mark.slow
def test_a_killed_learner_loses_and_doubles_nothing(
    home: Home, log: EventLog, events: Callable[..., list[Record]]
) -> None:
    log.append(events("new", 450))
    draw = random.Random(0)
    for _ in range(5):
        process = start(home)
        assert process.stdout is not None
        process.stdout.readline()  # it has learned the first round
        time.sleep(draw.uniform(0.0, 2.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(home, "--once", "--json")
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    last = json.loads(out)
    assert last["offset"] == log.end()
    bodies = pl.DataFrame([record.body for record in log.read_all()]).select("user", "item", "time")
    versions = home.versions()
    assert len(versions) >= 2
    assert not list((home.path / "versions").glob(".*"))
    for info in versions:
        recommender = Recommender.load(home.folder(info.name))  # every file has its recorded hash
        table = recommender.dataset.interactions.to_frame(recommender.catalog.vocabulary)
        came = table.filter(pl.col("user") >= 1_000).select("user", "item", "time").sort("user", "time")
        expected = bodies.head(info.log_offset).sort("user", "time").cast(came.schema)
        assert came.equals(expected), info.name
    assert home.pointer().current in {info.name for info in versions}


@pytest.mark.slow
def test_a_learner_that_follows_ends_politely(home: Home, log: EventLog, events: Callable[..., list[Record]]) -> None:
    log.append(events("old", 20))
    process = start(home)
    assert process.stdout is not None
    assert "events, NDCG@10" in process.stdout.readline() + process.stdout.readline()
    other = start(home, "--once")
    assert "another process learns" in other.communicate(timeout=120)[1]
    assert other.returncode == 2
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "v2 waits for its proof" in out
    assert [info.name for info in home.versions()] == ["v1", "v2"]
    assert home.versions()[-1].log_offset == log.end()
