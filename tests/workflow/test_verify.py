"""Offline = online: the sample log, replayed, gives the same answers; a planted fault is found."""

from pathlib import Path

import polars as pl
import pytest

from temporec.data.samples import online_retail
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.state import UserStates
from temporec.runtime import RunOptions
from temporec.workflow import load
from temporec.workflow.verify import verify


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of the first part of the sample, and the events after it."""
    folder = tmp_path_factory.mktemp("verify")
    frame = load(online_retail().head(40_000)).frame.sort("time")
    size = len(frame)
    early, late = frame[: size // 2], frame[size // 2 : size // 2 + 600]
    late.write_parquet(folder / "late.parquet")
    config = FitConfig.of({"encoder": {"kind": "gru", "dim": 8}, "training": {"epochs": 1}, "events": ["time"]})
    data = load(early).dataset
    fit_recommender(data, config, RunOptions(precision="fp32")).recommender.save(folder / "model")
    return folder / "model", folder / "late.parquet"


def test_the_sample_replayed_gives_the_same_answers(halves: tuple[Path, Path]) -> None:
    report = verify(*halves, every=3)
    assert (report.differences, report.first) == (0, None)
    assert report.answers == report.events // 3 > 50
    assert report.events + report.skipped <= 600


def test_a_state_that_forgets_to_look_back_is_found(halves: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def late(states: UserStates, user: int, place: int) -> None:
        """The state stays where it was."""

    folder, log = halves
    frame = pl.read_parquet(log)[:60]
    old = Recommender.load(folder)
    user = old.users.decode([int(old.log.lengths.argmax())])[0]
    first = int(old.log.times.min())
    early = frame.with_columns(user=pl.lit(user), time=first + pl.int_range(len(frame)) * 60_000)
    early.write_parquet(log.with_name("early.parquet"))
    assert verify(folder, log.with_name("early.parquet")).differences == 0
    monkeypatch.setattr(UserStates, "rewind", late)
    report = verify(folder, log.with_name("early.parquet"))
    assert report.differences > 0
    assert report.first is not None
    assert report.first.what == "state"
    assert "first: event" in report.to_text()
