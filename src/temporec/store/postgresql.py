"""The event log in PostgreSQL (psycopg 3): two tables in the database and schema that the URL leads to."""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from temporec.errors import StoreError
from temporec.store.sql import SCHEMA, Session, SqlLog

__all__ = ["PostgresLog"]

LOCK = 0x7E3907EC  # advisory lock under which the tables are made
PATIENCE = 10  # seconds to reach the server
TABLES = f"""
CREATE TABLE IF NOT EXISTS temporec_log (last BIGINT NOT NULL, version INTEGER NOT NULL);
INSERT INTO temporec_log SELECT 0, {SCHEMA} WHERE NOT EXISTS (SELECT FROM temporec_log);
CREATE TABLE IF NOT EXISTS temporec_records (
    "offset" BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, "user" TEXT, body TEXT NOT NULL,
    stored BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS temporec_by_user ON temporec_records USING hash ("user") WHERE "user" IS NOT NULL;
"""


class PostgresLog(SqlLog):
    """A log in one database; one connection writes, one reads, and a broken one is opened again.

    Durable as far as the server is: it must run with `fsync = on` (checked); `synchronous_commit` is set to on.
    Where the connection breaks in the middle of a commit, the records may be there or not: send them again, unchanged.
    """

    listed = "SELECT json_array_elements_text(CAST(? AS json))"
    lock = " FOR UPDATE"

    def __init__(self, url: str) -> None:
        self._url = url
        self._locks = {"write": threading.Lock(), "read": threading.Lock()}
        self._open: dict[str, psycopg.Connection[Any]] = {}
        self._closed = False
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        """Make the tables where they are missing; refuse newer ones, and a server that does not wait for its disk."""
        with self._writing() as base:
            base.execute("SELECT pg_advisory_xact_lock(?)", (LOCK,))
            for statement in filter(str.strip, TABLES.split(";")):
                base.execute(statement)
            (version,) = base.execute("SELECT version FROM temporec_log").fetchone()
            (fsync,) = base.execute("SELECT current_setting('fsync')").fetchone()
            if version > SCHEMA:
                raise StoreError(f"{self} has schema {version}; this version reads up to {SCHEMA}. Update Temporec.")
            if fsync != "on":
                raise StoreError(f"{self} may lose events: the server runs with fsync = {fsync}; set it to on")

    def __str__(self) -> str:
        parts = urlsplit(self._url)
        return f"the event log at {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._connected("write") as base, base.transaction():
            yield _Session(base)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._connected("read") as base:
            yield _Session(base)

    @contextmanager
    def _connected(self, verb: str) -> Iterator[psycopg.Connection[Any]]:
        with self._locks[verb]:
            if self._closed:
                raise StoreError(f"{self} is closed; open it again")
            try:
                base = self._open.get(verb)
                if base is None or base.closed:
                    base = psycopg.connect(self._url, autocommit=True, connect_timeout=PATIENCE)
                    base.execute("SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'")
                    self._open[verb] = base
                yield base
            except psycopg.Error as error:
                said = " ".join(str(error).split())[:300]
                raise StoreError(f"cannot {verb} {self}: {said}; look at the server, then try again") from None

    def close(self) -> None:
        self._closed = True
        for verb, lock in self._locks.items():
            with lock:
                if verb in self._open:
                    self._open[verb].close()


class _Session:
    """A connection that takes question marks as placeholders."""

    def __init__(self, base: psycopg.Connection[Any]) -> None:
        self._base = base

    def execute(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Any]:
        return self._base.execute(sql.replace("?", "%s").encode(), values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._base.cursor().executemany(sql.replace("?", "%s").encode(), rows)
