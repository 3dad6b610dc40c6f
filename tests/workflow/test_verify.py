"""Offline = online: the sample log, replayed, gives the same answers; a planted fault is found."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from temporec.cli.main import app
from temporec.data.samples import online_retail
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.live_log import LogEvent
from temporec.recommend.state import UserStates
from temporec.runtime import RunOptions
from temporec.store.events import open_event_log
from temporec.store.records import Record
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


def test_late_events_go_back_into_the_states(halves: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Events stand in a log in the order in which they came; half of these are older than one before them."""
    folder, log = halves
    frame = pl.read_parquet(log)
    busy = frame.filter(pl.col("user") == frame["user"].mode().min())[:40].with_row_index("came")
    mixed = busy.sort(pl.col("came") % 2, "came", descending=[True, False]).drop("came")
    mixed.write_parquet(log.with_name("mixed.parquet"))
    places: list[tuple[int, int]] = []
    rewind = UserStates.rewind

    def noted(states: UserStates, user: int, place: int) -> None:
        places.append((user, place))
        rewind(states, user, place)

    monkeypatch.setattr(UserStates, "rewind", noted)
    report = verify(folder, log.with_name("mixed.parquet"))
    assert (report.differences, report.answers) == (0, report.events)
    known = places[0][1]  # events of the user in the checkpoint
    assert sum(place < known + taken for taken, (_, place) in enumerate(places)) > 5
    monkeypatch.setattr(UserStates, "rewind", lambda states, user, place: None)
    assert verify(folder, log.with_name("mixed.parquet")).differences > 0


def test_the_log_of_a_service_is_replayed(halves: tuple[Path, Path], tmp_path: Path) -> None:
    folder, log = halves
    frame = pl.read_parquet(log)[:100]
    bodies = [{"user": u, "item": i, "time": t} for u, i, t in frame.select("user", "item", "time").iter_rows()]
    bodies.append({"user": "u", "item": "not there", "time": 1})
    with open_event_log(tmp_path / "events.db") as stored:
        stored.append([Record(str(n), "events", body, str(body["user"])) for n, body in enumerate(bodies)])
        events = [LogEvent.of(record.body, record.offset) for record in stored.read_all(topics={"events"})]
    report = verify(folder, events)
    assert report.skipped >= 1
    assert (report.events + report.skipped, report.differences) == (101, 0)
    (tmp_path / "current.json").write_text("{}")
    for path in (tmp_path, tmp_path / "events.db"):  # the home of a service, and its log
        done = CliRunner().invoke(app, ["verify", str(folder), str(path), "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout) == report.to_dict()


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
