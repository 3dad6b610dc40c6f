"""The event log, read in rounds: a short transaction each, and nothing is held open between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from temporec.data.vocabulary import Id
from temporec.recommend.live_log import LogEvent
from temporec.store.events import EventLog
from temporec.store.records import user_hash

__all__ = ["Round", "hashes_of", "items_frame", "read_round"]


@dataclass(slots=True)
class Round:
    """What one reading gave, parted by topic; `end` is the offset of its last record."""

    end: int
    records: int
    events: list[LogEvent] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    forget: set[str] = field(default_factory=set)


def read_round(log: EventLog, after: int, limit: int) -> Round | None:
    """The next records, at most `limit`; a round ends with the first user who is to be forgotten. None = no more."""
    records = log.read(after, limit)
    if not records:
        return None
    for place, record in enumerate(records):
        if record.topic == "forget":
            records = records[: place + 1]
            break
    made = Round(records[-1].offset, len(records))
    for record in records:
        match record.topic:
            case "events":
                made.events.append(LogEvent.of(record.body, record.offset))
            case "items" if record.body.get("action") == "put":
                made.items.append({key: value for key, value in record.body.items() if key != "action"})
            case "feedback":
                made.feedback.append({"user": record.user, **record.body})
            case "forget":
                made.forget.add(str(record.body["user_hash"]))
    return made


def hashes_of(user: Id) -> set[str]:
    """What a record of topic `forget` may say for a user: an id may come as 7 or as "7"."""
    text = str(user)
    return {user_hash(text)} | ({user_hash(int(text))} if text.lstrip("-").isdecimal() else set())


def items_frame(rows: Sequence[dict[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    """Rows of items as a table with those columns that the catalog has, in its types; the newest row of an item."""
    columns = [name for name in schema if any(name in row for row in rows)]
    newest = {str(row["item"]): row for row in rows}
    return pl.DataFrame(
        [[row.get(name) for name in columns] for row in newest.values()],
        schema={name: schema[name] for name in columns},
        orient="row",
        strict=False,
    )
