"""What the logs in SQL databases share: one table of records, and one row that holds the last offset.

Whoever writes locks that row (in SQLite, the file), so offsets appear in their order, and no reader misses one.
"""

import json
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, ClassVar, Protocol

from temporec.errors import DataError, EventConflictError, StoreError, TemporecError
from temporec.store.events import EventLog, conflict, forget_record, now, placed
from temporec.store.records import Record, Row, Topic, record_of, rows_of, rows_or_error, user_key

__all__ = ["SCHEMA", "Session", "SqlLog"]

SCHEMA = 1
COLUMNS = 'id, topic, "user", body, "offset", stored'
INSERT = f"INSERT INTO temporec_records ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
PAGE = 1000

Stored = tuple[str, str, str | None, str, int, int]


class Session(Protocol):
    """A connection inside a transaction; placeholders are question marks."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any: ...


class SqlLog(EventLog):
    """All verbs in SQL that both databases understand."""

    listed: ClassVar[str]  # query that gives the texts of a JSON list as rows
    lock: ClassVar[str]  # suffix of a query that locks what it reads

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Session]:
        """A transaction that is durable when the block ends, and undone by any error in it."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Session]:
        """A connection to read from."""

    def append_groups(self, groups: Sequence[Sequence[Record]]) -> list[list[Record] | TemporecError]:
        made = [rows_or_error(group) for group in groups]
        if not any(isinstance(rows, list) and rows for rows in made):
            return [rows if isinstance(rows, DataError) else [] for rows in made]
        answers: list[list[Record] | TemporecError] = []
        with self._writing() as base:
            last, moment = self._last(base), now()
            for group, rows in zip(groups, made, strict=True):
                offsets = rows if isinstance(rows, DataError) else self._add(base, rows, last, moment)
                if isinstance(offsets, TemporecError):
                    answers.append(offsets)
                    continue
                last = max(last, *offsets) if offsets else last
                answers.append(placed(group, offsets))
            base.execute("UPDATE temporec_log SET last = ?", (last,))
        return answers

    def _last(self, base: Session) -> int:
        return int(base.execute(f"SELECT last FROM temporec_log{self.lock}").fetchone()[0])

    def _add(self, base: Session, rows: list[Row], last: int, moment: int) -> list[int] | EventConflictError:
        """The offsets of the rows; new ones are inserted, unless one of them is in conflict."""
        ids = json.dumps([row.id for row in rows])
        found = base.execute(f"SELECT {COLUMNS} FROM temporec_records WHERE id IN ({self.listed})", (ids,))
        known = {row[0]: (Row(*row[:4]), row[4]) for row in found}
        fresh: list[Stored] = []
        offsets: list[int] = []
        for row in rows:
            new = last + len(fresh) + 1
            content, offset = known.setdefault(row.id, (row, new))
            if content != row:
                return conflict(row.id, offset)
            if offset == new:
                fresh.append((*row, offset, moment))
            offsets.append(offset)
        if fresh:
            base.executemany(INSERT, fresh)
        return offsets

    def read(self, after: int = 0, limit: int = 1000, topics: Collection[Topic] | None = None) -> list[Record]:
        if topics is None:
            return self._select('WHERE "offset" > ? ORDER BY "offset" LIMIT ?', [after, limit])
        where = f'WHERE "offset" > ? AND topic IN ({self.listed}) ORDER BY "offset" LIMIT ?'
        return self._select(where, [after, json.dumps(sorted(topics)), limit])

    def read_user(self, user: str | int) -> list[Record]:
        return self._select('WHERE "user" = ? ORDER BY "offset"', [user_key(user)])

    def _select(self, where: str, values: list[Any]) -> list[Record]:
        with self._reading() as base:
            rows: list[Stored] = base.execute(f"SELECT {COLUMNS} FROM temporec_records {where}", values).fetchall()
        return [record_of(row[4], row[5], Row(*row[:4])) for row in rows]

    def forget(self, user: str | int) -> int:
        (mark,) = rows_of([forget_record(user)])
        with self._writing() as base:
            last = self._last(base) + 1
            gone = base.execute('DELETE FROM temporec_records WHERE "user" = ?', (user_key(user),)).rowcount
            base.execute(INSERT, (*mark, last, now()))
            base.execute("UPDATE temporec_log SET last = ?", (last,))
        return int(gone)

    def begin(self) -> int:
        with self._reading() as base:
            query = 'SELECT coalesce((SELECT min("offset") FROM temporec_records), last + 1) FROM temporec_log'
            return int(base.execute(query).fetchone()[0])

    def end(self) -> int:
        with self._reading() as base:
            return int(base.execute("SELECT last FROM temporec_log").fetchone()[0])

    def trim(self, before: int, keep: Collection[Topic] = ()) -> int:
        query = f'DELETE FROM temporec_records WHERE "offset" < ? AND topic NOT IN ({self.listed})'
        with self._writing() as base:
            return int(base.execute(query, (before, json.dumps(sorted(keep)))).rowcount)

    def load(self, records: Iterator[Record], end: int) -> int:
        count = 0
        with self._writing() as base:
            if last := self._last(base):
                raise StoreError(f"{self} holds records up to offset {last}; restore into a new or empty log")
            while page := list(islice(records, PAGE)):
                pairs = zip(rows_of(page), page, strict=True)
                base.executemany(INSERT, [(*row, record.offset, record.stored) for row, record in pairs])
                count += len(page)
            base.execute("UPDATE temporec_log SET last = ?", (end,))
        return count
