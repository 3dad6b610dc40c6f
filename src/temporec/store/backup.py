"""A backup of an event log: one file of JSON lines that any kind of log can be filled from.

The first line says format and last offset, each further line is one record, the last line holds their number and the
hash of all that stands before it.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from temporec.durable import fsync
from temporec.errors import StoreError
from temporec.store.events import EventLog
from temporec.store.records import Record, Row, record_of, rows_of

__all__ = ["check_backup", "read_backup", "write_backup"]

FORMAT = 1
ATTEMPTS = 10


def write_backup(log: EventLog, path: Path) -> int:
    """Copy all records up to now; begun again where a user was forgotten or records were trimmed meanwhile.

    Raises:
        StoreError: the file cannot be written, or users are forgotten all the time.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)  # as the log: it holds what users did
        for _ in range(ATTEMPTS):
            begin, end = _begin(log), log.end()
            with part.open("wb") as file:
                count = 0
                for line in _lines(log, end):
                    count += file.write(line) > 0
                file.flush()
                os.fsync(file.fileno())
            if _begin(log) == begin and not log.read(end, 1, topics=["forget"]):
                part.replace(path)
                fsync(path.parent)
                return count - 2
        raise StoreError(f"users were forgotten during each of {ATTEMPTS} attempts of a backup; try at a quieter time")
    except OSError as error:
        raise StoreError(f"cannot write the backup {path}: {error.strerror}; look for free space and rights") from None
    finally:
        with suppress(OSError):
            part.unlink()


def _begin(log: EventLog) -> list[Record]:
    """The first record of those that `trim` takes away."""
    return log.read(limit=1, topics=["events", "feedback"])


def _lines(log: EventLog, end: int) -> Iterator[bytes]:
    digest, count = hashlib.sha256(), -1
    for value in _values(log, end):
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        digest.update(line)
        count += 1
        yield line
    yield json.dumps({"records": count, "sha256": digest.hexdigest()}).encode() + b"\n"


def _values(log: EventLog, end: int) -> Iterator[object]:
    yield {"temporec": "events", "format": FORMAT, "end": end}
    for record in log.read_all():
        if record.offset > end:
            return
        (row,) = rows_of([record])
        yield [record.offset, record.stored, *row]


def check_backup(path: Path) -> int:
    """The last offset of a backup that is complete and undamaged.

    Raises:
        StoreError: it is not.
    """
    digest, last, count = hashlib.sha256(), b"", -2
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline())
            file.seek(0)
            for line in file:
                digest.update(last)
                last = line
                count += 1
        if first["format"] > FORMAT:
            raise StoreError(
                f"{path} has format {first['format']}; this version reads up to {FORMAT}. Update Temporec."
            )
        if json.loads(last) != {"records": count, "sha256": digest.hexdigest()}:
            raise ValueError
        return int(first["end"])
    except OSError as error:
        raise StoreError(f"cannot read the backup {path}: {error.strerror}; give the file of a backup") from None
    except (ValueError, KeyError, TypeError):
        raise StoreError(f"{path} is no complete backup of an event log, or it is damaged; take another one") from None


def read_backup(path: Path) -> Iterator[Record]:
    """The records of a backup that was checked."""
    with path.open("rb") as file:
        next(file)
        for line in file:
            if line.startswith(b"["):
                offset, stored, *row = json.loads(line)
                yield record_of(offset, stored, Row(*row))
