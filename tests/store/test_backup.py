"""A backup is consistent while the log is in use, is checked before it is restored, and fits every kind of log."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from temporec.errors import StoreError
from temporec.store.events import EventLog, open_event_log
from temporec.store.records import Record


def event(number: int, user: str = "ann") -> Record:
    return Record(f"e{number}", "events", {"item": number, "title": "红色 \x00"}, user)


def test_there_and_back(log: EventLog, new_url: Callable[[], str | Path], tmp_path: Path) -> None:
    """Into a log of the same kind, and by way of SQLite."""
    log.append([event(number) for number in range(2300)])
    log.forget("nobody")
    log.append([event(9000, "bob")])
    log.trim(100)
    log.forget("bob")
    log.append([event(9001)])
    end = log.append([event(9002)])[0].offset
    log.forget("eve")
    assert log.backup(tmp_path / "backup") == len(list(log.read_all()))
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
    for url in (tmp_path / "events.db", new_url()):
        assert EventLog.restore(tmp_path / "backup", url) == len(list(log.read_all()))
        with open_event_log(url) as restored:
            assert list(restored.read_all()) == list(log.read_all())
            assert [r.stored for r in restored.read_all()] == [r.stored for r in log.read_all()]
            assert (restored.begin(), restored.end()) == (log.begin(), log.end())
            assert restored.read_user("ann") == log.read_user("ann")
            assert restored.append([event(9002)])[0].offset == end
            assert restored.append([event(9003)])[0].offset == log.end() + 1
        with pytest.raises(StoreError, match=r"holds records up to offset .*; restore into a new"):
            EventLog.restore(tmp_path / "backup", url)


def test_only_the_owner_reads_it_and_it_is_restored_behind_what_was_seen(log: EventLog, tmp_path: Path) -> None:
    log.append([event(1)])
    before = os.umask(0o022)
    (tmp_path / "backup.part").touch()  # left by a process that was killed
    log.backup(tmp_path / "backup")
    os.umask(before)
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    EventLog.restore(tmp_path / "backup", tmp_path / "events.db", least=9)
    with open_event_log(tmp_path / "events.db") as restored:
        assert [record.offset for record in restored.read()] == [1]
        assert restored.append([event(2)])[0].offset == 10


def test_an_empty_log_and_one_whose_last_records_went(log: EventLog, tmp_path: Path) -> None:
    assert log.backup(tmp_path / "empty") == 0
    assert EventLog.restore(tmp_path / "empty", tmp_path / "empty.db") == 0
    log.append([event(1), event(2)])
    log.trim(3)
    assert log.backup(tmp_path / "trimmed") == 0
    EventLog.restore(tmp_path / "trimmed", tmp_path / "trimmed.db")
    with open_event_log(tmp_path / "trimmed.db") as restored:
        assert restored.end() == 2


def test_while_the_log_is_in_use(log: EventLog, url: str | Path, tmp_path: Path) -> None:
    """No batch is in the copy in part, and no forgotten user is."""
    log.append([event(number, f"u{number % 10}") for number in range(3000)])
    stop = threading.Event()

    def work() -> None:
        with open_event_log(url) as own:
            for number in range(3000, 9000, 10):
                own.append([event(number + place, "new") for place in range(10)])
                if number < 3100:
                    own.forget(f"u{number // 10 % 10}")
                if stop.is_set():
                    return

    thread = threading.Thread(target=work)
    thread.start()
    log.backup(tmp_path / "backup")
    stop.set()
    thread.join()
    EventLog.restore(tmp_path / "backup", tmp_path / "copy.db")
    with open_event_log(tmp_path / "copy.db") as copy:
        copied, now = list(copy.read_all()), list(log.read_all())
        forgotten = {record.body["user_hash"] for record in copied if record.topic == "forget"}
        kept = {record.user for record in copied if record.topic == "events"} - {"new"}
        assert len(forgotten) + len(kept) == 10
        assert len([record for record in copied if record.user == "new"]) % 10 == 0
        end = copied[-1].offset
        assert {record.offset for record in now if record.offset <= end} <= {record.offset for record in copied}


def test_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    path, target = tmp_path / "backup", tmp_path / "events.db"
    with open_event_log(tmp_path / "log.db") as log:
        log.append([event(1), event(2)])
        log.backup(path)
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    bad = (
        b"", b"\n", b"{}\n", b"no backup", good[:-10], good.replace(b"e2", b"e3"), b"".join(lines[:-1]),
        b"".join(lines[1:]), b"".join([lines[0], lines[2], lines[1], lines[3]]), good + lines[1],
    )  # fmt: skip
    for data in bad:
        path.write_bytes(data)
        with pytest.raises(StoreError, match="is no complete backup of an event log, or it is damaged"):
            EventLog.restore(path, target)
    path.write_bytes(good.replace(b'"format":1', b'"format":2'))
    with pytest.raises(StoreError, match="has format 2; this version reads up to 1"):
        EventLog.restore(path, target)
    with pytest.raises(StoreError, match=r"cannot read the backup .*: No such file"):
        EventLog.restore(tmp_path / "nowhere", target)
    assert not target.exists()


def test_no_place_for_a_backup(small_disk: Path, tmp_path: Path) -> None:
    with open_event_log(tmp_path / "log.db") as log:
        log.append([event(number) for number in range(8000)])
        with pytest.raises(StoreError, match="No space left on device; look for free space"):
            log.backup(small_disk / "backup")
        assert list(small_disk.iterdir()) == []
        with pytest.raises(StoreError, match="No such file"):
            log.backup(tmp_path / "no" / "backup")
