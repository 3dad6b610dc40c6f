"""The embedded event log: one SQLite file, nothing to install, every commit on the disk before it is acknowledged.

WAL: readers never wait for the writer. `synchronous=FULL`: each commit waits for the disk. Frames of the WAL carry
checksums, so a torn last write is left out when the file is opened next.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from temporec.errors import StoreBusyError, StoreError
from temporec.store.sql import SCHEMA, SqlLog

__all__ = ["SqliteLog"]

APPLICATION = 0x7E3907EC  # in the file's header: this is an event log of Temporec
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
REFUSED = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)
MEND = "look for free space and rights"
PATIENCE = 10.0  # seconds to wait for another process that writes
TABLES = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
CREATE TABLE temporec_log (last INTEGER NOT NULL);
INSERT INTO temporec_log VALUES (0);
CREATE TABLE temporec_records (
    "offset" INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, topic TEXT NOT NULL, "user" TEXT, body TEXT NOT NULL,
    stored INTEGER NOT NULL
);
CREATE INDEX temporec_by_user ON temporec_records ("user") WHERE "user" IS NOT NULL;
"""
SETTINGS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # macOS: through the disk's own cache too
    "PRAGMA checkpoint_fullfsync = ON",
    "PRAGMA secure_delete = ON",  # what is forgotten is overwritten
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -512",  # kB; the system caches the file anyway
)


class SqliteLog(SqlLog):
    """A log in one file (and its `-wal` and `-shm` beside it)."""

    listed = "SELECT value FROM json_each(?)"
    lock = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        with self._said("open"):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._writer = self._connect()
            try:
                self._check()
                self._reader = self._connect()
            except BaseException:
                self._writer.close()
                raise

    def __str__(self) -> str:
        return f"the event log {self.path}"

    def _connect(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        for setting in SETTINGS:
            base.execute(setting)
        return base

    def _check(self) -> None:
        """Make the tables in a new file; refuse one that is damaged, newer or something else."""
        base = self._writer
        if (mode := base.execute("PRAGMA journal_mode = WAL").fetchone()[0]) != "wal":
            raise StoreError(f"{self} is on a file system without shared memory (journal {mode}); use a local disk")
        with self._writing():
            if not base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in TABLES.split(";"):
                    base.execute(statement)
            (application,) = base.execute("PRAGMA application_id").fetchone()
            (version,) = base.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION:
            raise StoreError(f"{self.path} is an SQLite file, but no event log of Temporec; give another path")
        if version > SCHEMA:
            raise StoreError(f"{self} has schema {version}; this version of Temporec reads up to {SCHEMA}. Update it.")
        if (found := base.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StoreError(self._damaged(found))

    def _damaged(self, what: object) -> str:
        return f"{self} is damaged ({' '.join(str(what).split())}); restore it: temporec events restore"

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock, self._said("write"):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._read_lock, self._said("read"):
            yield self._reader

    @contextmanager
    def _said(self, verb: str) -> Iterator[None]:
        """The database's errors as ours."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise StoreError(f"{self} is closed; open it again") from None
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code in BUSY:
                raise StoreBusyError(f"{self} is kept busy by another process; try again") from None
            if code not in REFUSED:
                raise StoreError(self._damaged(error)) from None
            raise StoreError(f"cannot {verb} {self}: {error}; nothing was changed, {MEND}") from None
        except OSError as error:
            raise StoreError(f"cannot {verb} {self}: {error.strerror}; {MEND}") from None

    def forget(self, user: str | int) -> int:
        """As everywhere; and the WAL, which holds the old pages, is emptied where no reader is in the way."""
        gone = super().forget(user)
        with self._write_lock, self._said("write"):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return gone

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()
