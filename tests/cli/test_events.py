"""`temporec events`: the log of a service is copied, filled and cut from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from temporec.store import sql
from temporec.store.events import now, open_event_log
from temporec.store.records import Record
from temporec.store.versions import Home

DAY = 86_400_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A service with one event a day for 10 days, the last one today."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "manifest.json").write_text("{}")
    home, today = Home.open(tmp_path / "shop"), now()
    with open_event_log(home.events_path) as log:
        for day in range(10):
            monkeypatch.setattr(sql, "now", lambda day=day: today - (9 - day) * DAY)
            log.append([Record(f"e{day}", "events", {"item": day}, "ann")])
    return home


def snapshot(home: Home, name: str, offset: int) -> None:
    folder = home.snapshot_path / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "live.json").write_text(json.dumps({"offset": offset}))


def test_backup_and_restore(
    home: Home, tmp_path: Path, answered: Callable[..., str], refused: Callable[..., str]
) -> None:
    copy = tmp_path / "copy"
    assert answered("events", "backup", tmp_path / "shop", copy) == f"10 records are in {copy}\n"
    assert "holds records up to offset 10; restore into a new or empty log" in refused(
        "events", "restore", home.path, copy
    )
    for path in home.path.glob("events.db*"):
        path.rename(tmp_path / f"old-{path.name}")
    assert json.loads(answered("events", "restore", home.path, copy, "--json")) == {"records": 10, "file": str(copy)}
    with open_event_log(home.events_path) as log, open_event_log(tmp_path / "old-events.db") as old:
        assert log.read() == old.read()
    other = tmp_path / "other.db"
    assert "10 records came" in answered("events", "restore", home.path, copy, "--log", other)
    assert "10 records are" in answered("events", "backup", home.path, tmp_path / "again", "--log", other)
    assert (tmp_path / "again").read_bytes() == copy.read_bytes()
    assert "does not exist" in refused("events", "backup", tmp_path / "nowhere", copy)
    assert "cannot read the backup" in refused("events", "restore", home.path, tmp_path / "nowhere")


def test_trim_by_age_and_by_offset_never_beyond_the_snapshots(
    home: Home, answered: Callable[..., str], refused: Callable[..., str]
) -> None:
    for words in ([], ["--days", "3", "--keep-after", "4"]):
        assert "give either --days or --keep-after" in refused("events", "trim", home.path, *words)
    assert "up to offset 3 would go, but the snapshots of the service hold only those up to 0" in refused(
        "events", "trim", home.path, "--days", "6.5"
    )
    snapshot(home, "v1", 5)
    assert answered("events", "trim", home.path, "--days", "6.5") == "3 records went; the log begins at offset 4\n"
    assert json.loads(answered("events", "trim", home.path, "--keep-after", "5", "--json")) == {"gone": 2, "begin": 6}
    assert answered("events", "trim", home.path, "--days", "400").startswith("0 records went")
    assert "only those up to 5" in refused("events", "trim", home.path, "--keep-after", "6")

    def write(folder: Path) -> None:
        (folder / "manifest.json").write_text("{}")

    snapshot(home, home.add(write, parent="v1", log_offset=7, metrics={}), 7)
    home.activate("v2")
    assert "only those up to 5" in refused("events", "trim", home.path, "--keep-after", "6")
    snapshot(home, "v1", 6)
    assert answered("events", "trim", home.path, "--keep-after", "6").startswith("1 records went")
    assert "begins at offset 11" in answered("events", "trim", home.path, "--days", "0", "--force")


def test_trim_waits_for_the_learner(home: Home, answered: Callable[..., str], refused: Callable[..., str]) -> None:
    snapshot(home, "v1", 10)
    home.reports_path.write_text("[]")
    assert "up to offset 4 would go, but the learner goes on from 0" in refused(
        "events", "trim", home.path, "--keep-after", "4"
    )
    home.add(lambda folder: (folder / "manifest.json").touch(), parent="v1", log_offset=4, metrics={})
    assert answered("events", "trim", home.path, "--keep-after", "4").startswith("4 records went")
    assert "goes on from 4" in refused("events", "trim", home.path, "--keep-after", "5")


def test_forgotten_users_and_changes_of_items_are_never_trimmed(home: Home, answered: Callable[..., str]) -> None:
    with open_event_log(home.events_path) as log:
        log.append([Record("i", "items", {"action": "delete", "item": 3})])
        log.forget("eve")
        said = answered("events", "trim", home.path, "--keep-after", "12", "--force")
        assert said == "10 records went; the log begins at offset 13\n"
        assert [record.topic for record in log.read()] == ["items", "forget"]


def test_restore_goes_on_behind_what_versions_and_snapshots_have_seen(
    home: Home, tmp_path: Path, answered: Callable[..., str]
) -> None:
    answered("events", "backup", home.path, tmp_path / "copy")
    snapshot(home, "v1", 25)
    answered("events", "restore", home.path, tmp_path / "copy", "--log", tmp_path / "new.db")
    with open_event_log(tmp_path / "new.db") as log:
        assert log.append([Record("new", "events", {}, "ann")])[0].offset == 26
