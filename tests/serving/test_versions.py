"""What a version has seen of the log: users who went, logs that were restored or trimmed, checkpoints fitted anew."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from temporec.cli.main import app
from temporec.errors import StoreError
from temporec.recommend.base import Recommender
from temporec.recommend.live import Live
from temporec.serving.settings import ServeConfig
from temporec.serving.versions import build, forget_in_snapshots, snapshot, snapshot_of
from temporec.store.events import EventLog, open_event_log
from temporec.store.records import Record
from temporec.store.versions import Home

STATE = ServeConfig(warm=2)
T0 = 1_800_000_000_000


def event(number: int, user: str = "new") -> Record:
    return Record(f"e{number}", "events", {"user": user, "item": f"i{number}", "time": T0 + number}, user)


def items(live: Live, user: str = "new") -> list[str]:
    return [str(one.item) for one in live.history(user)]


def cli(*words: str | Path) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def copy_of(home: Home, name: str) -> str:
    return home.add(Recommender.load(home.folder(name)).save, parent=name, log_offset=0, metrics={})


def live_of(home: Home, log: EventLog, name: str = "v1", config: ServeConfig = STATE) -> Live:
    return build(home, name, log, config).live


def test_who_was_forgotten_stays_so_in_every_mode(home: Home, log: EventLog) -> None:
    log.append([event(1, "u3"), event(2, "u4")])
    log.forget("u3")
    for mode in ("frozen", "state"):
        live = live_of(home, log, config=STATE.override({"mode": mode}))
        assert live.history("u3") == []
        assert len(live.history("u4")) == (6 if mode == "frozen" else 7)


def test_events_after_an_older_backup_are_in_the_states(home: Home, tmp_path: Path) -> None:
    with open_event_log(home.events_path) as log:
        log.append([event(1), event(2)])
        cli("events", "backup", home.path, tmp_path / "backup")
        log.append([event(3), event(4)])
        assert snapshot(home, "v1", log, STATE) == 4
    for path in home.path.glob("events.db*"):
        path.unlink()
    cli("events", "restore", home.path, tmp_path / "backup")
    with open_event_log(home.events_path) as log:
        assert log.append([event(5)])[0].offset == 5
        assert items(live_of(home, log)) == ["i1", "i2", "i3", "i4", "i5"]


def test_another_log_goes_on_behind_the_old_one_or_is_refused(home: Home, log: EventLog, tmp_path: Path) -> None:
    log.append([event(number) for number in range(1, 9)])
    snapshot(home, "v1", log, STATE)
    with open_event_log(tmp_path / "new.db") as new:
        live_of(home, new)
        assert new.append([event(9)])[0].offset == 9
        assert items(live_of(home, new)) == [f"i{number}" for number in range(1, 10)]
    with open_event_log(tmp_path / "other.db") as other:
        other.append([event(10)])
        with pytest.raises(StoreError, match=r"ends at offset 1, but .* has seen events up to 8"):
            live_of(home, other)


def test_after_a_swap_the_log_is_trimmed_without_force_and_nothing_is_lost(home: Home, log: EventLog) -> None:
    log.append([event(number) for number in range(1, 7)])
    log.append([Record("item", "items", {"action": "delete", "item": "i7"}), event(10, "u3"), event(11, "u4")])
    log.forget("u3")
    home.activate(copy_of(home, "v1"))
    assert "7 records went; the log begins at offset 11" in cli("events", "trim", home.path, "--keep-after", 10)
    assert [record.topic for record in log.read()] == ["items", "forget"]
    log.append([event(8)])
    snapshot(home, "v2", log, STATE)  # as the service does
    for name in ("v1", "v2"):
        live = live_of(home, log, name)
        assert items(live) == ["i1", "i2", "i3", "i4", "i5", "i6", "i8"], name
        assert (len(live.history("u3")), len(live.history("u4"))) == (0, 7)
        assert "i7" not in live.recommend(user="u4", k=20).ids


def test_events_that_a_new_fit_has_learned_stand_once(home: Home, log: EventLog, copied: Callable[[], Path]) -> None:
    """The log holds all of u3's events of the fit, the last one twice, and one that came after the data were taken."""
    frame = Recommender.load(home.folder("v1")).dataset.interactions.to_frame(
        Recommender.load(home.folder("v1")).catalog.vocabulary
    )
    rows = frame.filter(pl.col("user") == "u3").select("user", "item", "time").to_dicts()
    log.append([Record(f"r{n}", "events", row, "u3") for n, row in enumerate([*rows, rows[-1], event(1, "u3").body])])
    refit = home.add(Recommender.load(home.folder("v1")).save, parent=None, log_offset=0, metrics={})
    log.append([Record("again", "events", rows[-1], "u3")])  # after the fit: an event of its own
    live = live_of(home, log, refit)
    own = [row["item"] for row in rows]
    assert items(live, "u3") == [*own, own[-1], "i1"]
    snapshot(home, refit, log, STATE)
    assert items(live_of(home, log, refit), "u3") == items(live, "u3")


def test_snapshots_name_no_forgotten_user(home: Home, log: EventLog) -> None:
    log.append([event(1, "u3"), event(2, "new"), event(3, "u4")])
    snapshot(home, "v1", log, STATE)
    folder = snapshot_of(home, "v1")
    assert set(pl.read_parquet(folder / "events.parquet")["user"]) == {"u3", "new", "u4"}
    for user in ("u3", "new"):
        log.forget(user)
    log.append([event(4, "u3")])
    forget_in_snapshots(home, log)
    assert set(pl.read_parquet(folder / "events.parquet")["user"]) == {"u4"}
    live = live_of(home, log)
    assert (items(live, "u3"), items(live), len(items(live, "u4"))) == (["i4"], [], 7)
    log.forget("u3")
    snapshot(home, "v1", log, STATE)
    assert set(pl.read_parquet(folder / "events.parquet")["user"]) == {"u4"}
    assert b"u3" not in (folder / "live.json").read_bytes()
    assert len(json.loads((folder / "live.json").read_text())["gone"]) == 1
    assert live_of(home, log).history("u3") == []


def test_a_snapshot_whose_writer_was_killed_between_two_renames_is_there(home: Home, log: EventLog) -> None:
    log.append([event(1), event(2)])
    for name in ("v1", copy_of(home, "v1")):
        snapshot(home, name, log, STATE)
        home.activate(name)
    log.trim(3)
    for name in ("v1", "v2"):
        snapshot_of(home, name).replace(home.snapshot_path / f".{name}.old-123")
    log.append([event(3)])
    snapshot(home, "v2", log, STATE)
    assert sorted(path.name for path in home.snapshot_path.iterdir()) == ["v1", "v2"]
    for name in ("v1", "v2"):
        assert items(live_of(home, log, name)) == ["i1", "i2", "i3"]
