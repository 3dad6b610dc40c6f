"""Event logs of all three kinds, in a folder and in real servers that are started here; skipped where one is absent."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest

from temporec.store.events import EventLog, open_event_log

KINDS = ("sqlite", "postgresql", "redis")
SAFE = ("--appendonly", "yes", "--appendfsync", "always")
NUMBERS = count(1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class RedisServer:
    """A redis-server in a folder; it can be killed and started again."""

    def __init__(self, folder: Path, settings: Sequence[str], before: Sequence[str]) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._words = [*before, "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._words += ["--save", "", *settings]
        self.start()

    def start(self) -> None:
        import redis

        self.process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL)
        base = redis.Redis.from_url(self.url)
        for _ in range(200):
            try:
                base.ping()
                break
            except (redis.ConnectionError, redis.BusyLoadingError):
                time.sleep(0.05)
        else:
            raise RuntimeError("redis-server does not answer")
        base.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def start_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RedisServer]]:
    """`start_redis(*settings)` is a new server; `before` stands before its command."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed here; on Debian: apt-get install redis-server")
    started = []

    def start(*settings: str, before: Sequence[str] = ()) -> RedisServer:
        started.append(RedisServer(tmp_path_factory.mktemp("redis"), settings or SAFE, before))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def redis_url(start_redis: Callable[..., RedisServer]) -> str:
    return start_redis().url


def program(name: str) -> Path | str | None:
    """Debian keeps the programs of the server outside PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (found[-1] if found else None)


def as_owner(*command: str | Path) -> None:
    """Run as a user other than root, whom PostgreSQL refuses."""
    words = [str(word) for word in command]
    root = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    done = subprocess.run([*root, *words], capture_output=True, text=True, cwd="/", timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


class PostgresServer:
    """A PostgreSQL server that waits for its disk; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pg_ctl = program("pg_ctl")
        port = free_port()
        self.url = f"postgresql://writer:secret@127.0.0.1:{port}/postgres"
        initdb = program("initdb")
        assert initdb is not None
        as_owner(initdb, "-D", folder / "data", "-U", "writer", "-A", "trust", "-E", "UTF8", "--no-sync")
        self._options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        self.start()

    def _do(self, *words: str | Path) -> None:
        assert self._pg_ctl is not None
        as_owner(self._pg_ctl, "-D", self._folder / "data", "-l", self._folder / "log", "-w", *words)

    def start(self, *more: str) -> None:
        self._do("-o", " ".join([self._options, *more]), "start")

    def stop(self) -> None:
        """As hard as a crash: nothing is written any more."""
        self._do("-m", "immediate", "stop")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg")
    if program("initdb") is None or program("pg_ctl") is None:
        pytest.skip("PostgreSQL is not installed here (initdb, pg_ctl); on Debian: apt-get install postgresql")
    folder = Path("/tmp") / f"temporec-store-{os.getpid()}"  # short (a socket's path) and open to the server's own user
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    try:
        server = PostgresServer(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def new_url(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str | Path]:
    """`new_url()` leads to a log of the kind that does not exist yet."""
    if kind == "sqlite":
        return lambda: tmp_path_factory.mktemp("log") / "events.db"
    if kind == "redis":
        server = request.getfixturevalue("redis_url")
        return lambda: f"{server}?stream=log{next(NUMBERS)}"
    url = request.getfixturevalue("postgres").url

    def schema() -> str:
        import psycopg

        name = f"log{next(NUMBERS)}"
        with psycopg.connect(url, autocommit=True) as base:
            base.execute(f"CREATE SCHEMA {name}".encode())
        return f"{url}?options={quote(f'-csearch_path={name}')}"

    return schema


@pytest.fixture
def url(new_url: Callable[[], str | Path]) -> str | Path:
    return new_url()


@pytest.fixture
def log(url: str | Path) -> Iterator[EventLog]:
    with open_event_log(url) as opened:
        yield opened
