"""One record of the event log, checked at birth, and its form as text."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from temporec.errors import DataError

__all__ = ["TOPICS", "Record", "Row", "Topic", "record_of", "rows_of", "rows_or_error", "user_hash", "user_key"]

Topic = Literal["events", "items", "feedback", "forget"]
TOPICS: tuple[Topic, ...] = get_args(Topic)
ID_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened; `offset` is its place in the log and grows, with gaps, from 1 on.

    Raises:
        DataError: the id, the topic or the user is not usable.
    """

    id: str  # unique over the whole log: the same record sent twice is stored once
    topic: Topic
    body: dict[str, Any]
    user: str | int | None = None  # whose record it is: what `read_user` finds and `forget` deletes
    offset: int = 0
    stored: int = field(default=0, compare=False)  # when the log took it: milliseconds since 1970, UTC

    def __post_init__(self) -> None:
        given: Any = self.id
        if not (isinstance(given, str) and 0 < len(given) <= ID_LENGTH and given.isprintable()):
            raise DataError(f"the id {given!r:.80} is no text of 1 to {ID_LENGTH} printable characters; give another")
        if self.topic not in TOPICS:
            raise DataError(f"record {self.id!r} has the topic {self.topic!r:.80}; allowed: {', '.join(TOPICS)}")
        if self.user is not None and (isinstance(self.user, bool) or not isinstance(self.user, str | int)):
            raise DataError(f"record {self.id!r} has the user {self.user!r:.80}; a user is a text or a whole number")


class Row(NamedTuple):
    """A record as the logs keep it: JSON in ASCII, keys sorted, so that equal contents are equal texts."""

    id: str
    topic: str
    user: str | None
    body: str


def user_key(user: str | int) -> str:
    """The id of a user as JSON: "7" and 7 are different users."""
    return json.dumps(user)


def user_hash(user: str | int) -> str:
    """What is left of a forgotten user: SHA-256 of the id as JSON."""
    return hashlib.sha256(user_key(user).encode()).hexdigest()


def rows_of(records: Sequence[Record]) -> list[Row]:
    """The rows of some records.

    Raises:
        DataError: a body is no JSON object (NaN, infinity and nesting without end are none either).
    """
    rows = []
    for record in records:
        try:
            body = json.dumps(record.body, allow_nan=False, sort_keys=True, separators=(",", ":"))
            user = None if record.user is None else user_key(record.user)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"the body of record {record.id!r} is no JSON ({error!s:.200}); mend it") from None
        rows.append(Row(record.id, record.topic, user, body))
    return rows


def rows_or_error(records: Sequence[Record]) -> list[Row] | DataError:
    """The rows of some records, or why there are none."""
    try:
        return rows_of(records)
    except DataError as error:
        return error


def record_of(offset: int, stored: int, row: Row) -> Record:
    """The inverse of `rows_of`."""
    user = None if row.user is None else json.loads(row.user)
    topic: Any = row.topic
    return Record(row.id, topic, json.loads(row.body), user, offset, stored)
