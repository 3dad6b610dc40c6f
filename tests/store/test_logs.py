"""What is special about each kind of log: which files and servers are refused, and how a log is named."""

import logging
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from temporec.errors import ConfigError, MissingExtraError, StoreBusyError, StoreError
from temporec.store import sqlite
from temporec.store.events import open_event_log
from temporec.store.records import Record

EVENT = Record("e1", "events", {"item": "SECRET-OF-ANN"}, "ann")


def test_names_of_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (Path("a.db"), "b.db", "sqlite:///c%20d.db", f"sqlite:///{tmp_path / 'new' / 'e.db'}"):
        with open_event_log(url) as log:
            log.append([EVENT])
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")) == [
        "a.db", "b.db", "c d.db", "new/e.db",
    ]  # fmt: skip
    assert (tmp_path / "a.db").stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match=r"kafka://; give a path, sqlite:///, postgresql:// or redis://"):
        open_event_log("kafka://host/topic")


@pytest.mark.parametrize(("name", "url"), [("redis", "redis://host"), ("psycopg", "postgresql://host/base")])
def test_an_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    for module in ("postgresql", "redis_streams"):
        monkeypatch.delitem(sys.modules, f"temporec.store.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"needs {name}, .* pip install 'temporec\[brokers\]'"):
        open_event_log(url)


def test_other_files_and_newer_logs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all " * 100)
    with pytest.raises(StoreError, match="is damaged"):
        open_event_log(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("CREATE TABLE orders (id)")
    base.close()
    with pytest.raises(StoreError, match="is an SQLite file, but no event log"):
        open_event_log(tmp_path / "other.db")
    open_event_log(tmp_path / "events.db").close()
    with sqlite3.connect(tmp_path / "events.db") as base:
        base.execute("PRAGMA user_version = 2")
    base.close()
    with pytest.raises(StoreError, match=r"has schema 2; this version of Temporec reads up to 1\. Update"):
        open_event_log(tmp_path / "events.db")
    with pytest.raises(StoreError, match="cannot open the event log"):
        open_event_log(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="File exists; look for"):
        open_event_log(tmp_path / "file" / "events.db")


def test_a_log_that_another_process_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on, writing says that it is busy, and succeeds once the other is done."""
    monkeypatch.setattr(sqlite, "PATIENCE", 0.05)
    with open_event_log(tmp_path / "events.db") as log:
        log.append([EVENT])
        other = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusyError, match="is kept busy by another process; try again"):
            log.append([Record("e2", "items", {})])
        assert len(log.read()) == 1
        other.execute("COMMIT")
        other.close()
        log.append([Record("e2", "items", {})])
        assert len(log.read()) == 2


def test_nothing_of_a_forgotten_user_is_left_in_the_files(tmp_path: Path) -> None:
    with open_event_log(tmp_path / "events.db") as log:
        log.append([EVENT])
        assert any(b"SECRET-OF-ANN" in path.read_bytes() for path in tmp_path.iterdir())
        log.forget("ann")
        assert not any(b"SECRET-OF-ANN" in path.read_bytes() for path in tmp_path.iterdir())


def test_the_wal_stays_small_beside_a_reader(tmp_path: Path) -> None:
    """Reads are short transactions: a log that is read all the time still takes its WAL in."""
    stop, reads = threading.Event(), []
    with open_event_log(tmp_path / "events.db") as log, open_event_log(tmp_path / "events.db") as other:

        def read() -> None:
            while not stop.is_set():
                reads.append(len(other.read()))

        thread = threading.Thread(target=read)
        thread.start()
        for batch in range(200):
            log.append([Record(f"{batch}-{n}", "items", {"text": "x" * 1000}) for n in range(50)])
        stop.set()
        thread.join()
        assert (tmp_path / "events.db").stat().st_size > 10_000_000
        assert (tmp_path / "events.db-wal").stat().st_size < 8_000_000
    assert reads
    assert not (tmp_path / "events.db-wal").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["--appendonly", "no"], "appendonly no, appendfsync everysec"),
        (["--appendonly", "yes", "--appendfsync", "everysec"], "runs with appendfsync everysec"),
        (["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "allkeys-lru"], "policy allkeys-lru"),
    ],
)
def test_a_redis_that_may_lose_events_is_refused(
    start_redis: Callable[..., Any], settings: list[str], said: str
) -> None:
    with pytest.raises(StoreError, match=f"may lose events: .*{said}; set appendonly yes, appendfsync always"):
        open_event_log(start_redis(*settings).url)


def test_a_redis_that_hides_its_settings_gets_a_warning(
    start_redis: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis("--appendonly", "no", "--rename-command", "CONFIG", "")
    with caplog.at_level(logging.WARNING), open_event_log(server.url) as log:
        log.append([EVENT])
    assert "does not tell its settings; it may lose events without appendfsync always" in caplog.text


def test_a_redis_that_is_full_stores_nothing_of_a_group(start_redis: Callable[..., Any]) -> None:
    server = start_redis("--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "3mb")
    stored = []

    def fill() -> None:
        for batch in range(10_000):
            stored.extend(log.append([Record(f"{batch}-{n}", "events", {"text": "x" * 500}, n) for n in range(50)]))

    with open_event_log(server.url) as log:
        with pytest.raises(StoreError, match="maxmemory"):
            fill()
        assert stored
        assert list(log.read_all()) == stored
        assert log.end() == stored[-1].offset
        log.trim(stored[-1].offset)
        assert len(log.append([EVENT, Record("e2", "items", {})])) == 2


def test_a_redis_log_that_is_newer_or_half_restored_is_refused(redis_url: str) -> None:
    import redis

    for key, said in (("schema", "has schema 9; this version reads up to 1"), ("restoring", "is being restored")):
        url = f"{redis_url}?stream=refused-{key}"
        open_event_log(url).close()
        base = redis.Redis.from_url(redis_url)
        base.set(f"{{refused-{key}}}:{key}", 9)
        base.close()
        with pytest.raises(StoreError, match=said):
            open_event_log(url)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    pytest.importorskip("redis")
    for url in ("postgresql://ann:hidden@127.0.0.1:1/base", "redis://ann:hidden@127.0.0.1:1/0"):
        with pytest.raises(StoreError, match="look at the server, then try again") as caught:
            open_event_log(url)
        assert "127.0.0.1:1/" in str(caught.value)
        assert "hidden" not in str(caught.value)


def test_a_postgresql_that_does_not_wait_or_is_newer_is_refused(postgres: Any) -> None:
    import psycopg

    open_event_log(postgres.url).close()
    for query in ("UPDATE temporec_log SET version = 9", "UPDATE temporec_log SET version = 1"):
        with psycopg.connect(postgres.url, autocommit=True) as base:
            base.execute(query.encode())
        if query.endswith("9"):
            with pytest.raises(StoreError, match="has schema 9; this version reads up to 1"):
                open_event_log(postgres.url)
    postgres.stop()
    postgres.start("-c fsync=off")
    try:
        with pytest.raises(StoreError, match="may lose events: the server runs with fsync = off; set it to on"):
            open_event_log(postgres.url)
    finally:
        postgres.stop()
        postgres.start()
    open_event_log(postgres.url).close()
