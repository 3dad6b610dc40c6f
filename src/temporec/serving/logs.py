"""Structured logs: one JSON object per line on standard error, without bodies, ids of users, tokens or addresses."""

import logging
import sys
import threading
import traceback
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO

import orjson

__all__ = ["RequestLog", "log", "start_logging"]

_LOGGER = logging.getLogger("temporec.serving")


class _JsonLines(logging.Formatter):
    """One record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields["error"] = type(error).__name__
            fields["trace"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        return orjson.dumps(fields, default=str).decode()


def start_logging() -> None:
    """Send the logs of the service, and the warnings of its libraries, to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOGGER.setLevel(logging.INFO)


class RequestLog:
    """Lines about requests, written five times a second by a thread of its own: no request waits for a slow reader."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._lines = out, list[bytes]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="temporec-log", daemon=True)
        self._thread.start()

    def add(self, **fields: Any) -> None:
        """One line."""
        self._lines.append(orjson.dumps({"time": datetime.now(UTC), "level": "info", "event": "request", **fields}))

    def close(self) -> None:
        """Write what is left."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self._write()
        self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            with suppress(OSError):
                self._out.write(b"\n".join(lines) + b"\n")
                self._out.flush()


def log(event: str, *, level: int = logging.INFO, failed: BaseException | None = None, **fields: Any) -> None:
    """Log one event with its fields; of a failure its kind and the lines of code, never its values."""
    if _LOGGER.isEnabledFor(level):
        _LOGGER.log(level, event, extra={"fields": fields}, exc_info=failed)
