"""The durable event log: one protocol over SQLite, PostgreSQL and Redis Streams."""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from temporec.errors import ConfigError, EventConflictError, MissingExtraError, TemporecError
from temporec.store.records import Record, Topic, user_hash

__all__ = ["EventLog", "conflict", "forget_record", "now", "open_event_log", "placed"]


class EventLog(ABC):
    """Records in the order in which they were stored; many threads and processes may share one log.

    Every method raises `StoreError` where the log cannot be read or written; nothing is then half-written.
    """

    def append(self, records: Sequence[Record]) -> list[Record]:
        """Store all of the records or none; when this returns, they survive a crash.

        A known id with the same topic, user and body is no new record: it comes back with its old offset.

        Raises:
            EventConflictError: a known id comes with another content.
            DataError: a body is no JSON object.
        """
        (stored,) = self.append_groups([records])
        if isinstance(stored, TemporecError):
            raise stored
        return stored

    @abstractmethod
    def append_groups(self, groups: Sequence[Sequence[Record]]) -> list[list[Record] | TemporecError]:
        """Many times `append` with one wait for the disk; each group succeeds or fails for itself."""

    @abstractmethod
    def read(self, after: int = 0, limit: int = 1000, topics: Collection[Topic] | None = None) -> list[Record]:
        """The first `limit` records with a larger offset than `after`, of some topics or of all."""

    def read_all(self, after: int = 0, topics: Collection[Topic] | None = None) -> Iterator[Record]:
        """All records after an offset, read page by page."""
        while page := self.read(after, topics=topics):
            yield from page
            after = page[-1].offset

    @abstractmethod
    def read_user(self, user: str | int) -> list[Record]:
        """All records of one user."""

    @abstractmethod
    def forget(self, user: str | int) -> int:
        """Delete the records of a user, store a record of topic `forget` with the user's hash; how many went."""

    @abstractmethod
    def begin(self) -> int:
        """The smallest offset that is still there; one past the end in an empty log."""

    @abstractmethod
    def end(self) -> int:
        """The last offset that was given out; 0 in a new log."""

    @abstractmethod
    def trim(self, before: int, keep: Collection[Topic] = ()) -> int:
        """Drop all records with a smaller offset but those of some topics; how many went.

        Whoever calls this makes sure that no snapshot or version still needs them. Their ids are unknown afterwards.
        """

    @abstractmethod
    def load(self, records: Iterator[Record], end: int) -> int:
        """Fill an empty log with records that keep their offsets; how many came."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections."""

    def offset_at(self, time: int) -> int:
        """The smallest offset of the records stored at or after a moment in milliseconds; one past the end if none."""
        low, high = self.begin(), self.end() + 1
        while low < high:
            middle = (low + high) // 2
            found = self.read(middle - 1, limit=1)
            if found and found[0].stored < time:
                low = found[0].offset + 1
            else:
                high = middle
        return low

    def backup(self, path: str | Path) -> int:
        """Write a consistent copy to a file while the log is in use; how many records it holds."""
        from temporec.store.backup import write_backup

        return write_backup(self, Path(path))

    @staticmethod
    def restore(path: str | Path, url: str | Path, least: int = 0) -> int:
        """Fill the new or empty log at `url`, of any kind, from a backup; how many records came.

        New records get offsets behind `least` too: up to there, snapshots and versions have seen what the backup lacks.
        """
        from temporec.store.backup import check_backup, read_backup

        end = check_backup(Path(path))
        with open_event_log(url) as log:
            return log.load(read_backup(Path(path)), max(end, least))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_event_log(url: str | Path) -> EventLog:
    """The log at a path, `sqlite:///PATH`, `postgresql://...` or `redis://HOST:PORT/DB?stream=NAME`; new if absent.

    Raises:
        StoreError: it is damaged, from a newer version, not reachable, or its server may lose what it acknowledged.
        MissingExtraError: the extra `brokers` is not installed.
    """
    text = str(url)
    scheme = text.partition("://")[0] if "://" in text else ""
    try:
        if scheme in ("", "sqlite"):
            from temporec.store.sqlite import SqliteLog

            return SqliteLog(Path(unquote(urlsplit(text).path.removeprefix("/")) if scheme else text))
        if scheme in ("postgresql", "postgres"):
            from temporec.store.postgresql import PostgresLog

            return PostgresLog(text)
        if scheme in ("redis", "rediss"):
            from temporec.store.redis_streams import RedisLog

            return RedisLog(text)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"a log at {scheme}:// needs {error.name}, which is not installed. Run: pip install 'temporec[brokers]'"
        ) from None
    raise ConfigError(f"no event log is known for {scheme}://; give a path, sqlite:///, postgresql:// or redis://")


def forget_record(user: str | int) -> Record:
    """What takes the place of a forgotten user's records."""
    return Record(f"forget-{uuid4().hex}", "forget", {"user_hash": user_hash(user)})


def conflict(record_id: str, offset: int) -> EventConflictError:
    """The error of a known id with another content."""
    return EventConflictError(
        f"the id {record_id!r} is stored already, with another content (offset {offset}); "
        "send a repetition unchanged, and a new event with a new id"
    )


def placed(records: Sequence[Record], offsets: Sequence[int]) -> list[Record]:
    """The records with their places in the log."""
    return [replace(record, offset=offset) for record, offset in zip(records, offsets, strict=True)]


def now() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
