"""A tiny shop fitted on a known process, its home and log, and streams of events of the same or another process."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from temporec.data.dataset import Dataset
from temporec.data.synthetic import MarkovProcess
from temporec.online.learner import LearnerConfig
from temporec.recommend.fitting import fit_recommender
from temporec.runtime import RunOptions
from temporec.store.events import EventLog, open_event_log
from temporec.store.records import Record
from temporec.store.versions import Home
from temporec.workflow.presets import fit_config

ITEMS = 30
SMALL = {
    "encoder.dim": 16, "encoder.max_len": 8, "training.epochs": 6, "training.average": 0.0, "training.lr": 0.01,
    "training.tokens": 256, "cooccurrence.weight": 0.0, "dropout": 0.1,
}  # fmt: skip
WORLDS = {name: MarkovProcess(ITEMS, concentration=0.02, seed=seed) for name, seed in (("old", 1), ("new", 2))}


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GRU that knows the old process."""
    made = fit_recommender(
        WORLDS["old"].sample(150, 8), fit_config("gru", overrides=SMALL), RunOptions(threads=1), exclude_seen=False
    )
    folder = tmp_path_factory.mktemp("fitted") / "shop"
    made.recommender.save(folder)
    return folder


@pytest.fixture
def home(fitted: Path, tmp_path: Path) -> Home:
    shutil.copytree(fitted, tmp_path / "shop")
    return Home.open(tmp_path / "shop")


@pytest.fixture
def log(home: Home) -> Iterator[EventLog]:
    with open_event_log(home.events_path) as opened:
        yield opened


@pytest.fixture(scope="session")
def small() -> LearnerConfig:
    return LearnerConfig.of({"training": {"lr": 0.01, "tokens": 512}, "round": 250, "run": {"threads": 1}})


@pytest.fixture(scope="session")
def events() -> Callable[..., list[Record]]:
    """`events("new", 500)`: records of 500 users of the new process in the order of time, 10 each."""

    def made(world: str, users: int, first_user: int = 1_000) -> list[Record]:
        return records_of(WORLDS[world].sample(users, 10), first_user)

    return made


def records_of(dataset: Dataset, first_user: int) -> list[Record]:
    sampled = dataset.interactions
    rows = sorted(zip(sampled.time.tolist(), sampled.user.tolist(), sampled.item.tolist(), strict=True))
    return [
        Record(f"e-{first_user}-{place}", "events", {"user": first_user + user, "item": item, "time": time},
               first_user + user)
        for place, (time, user, item) in enumerate(rows)
    ]  # fmt: skip
