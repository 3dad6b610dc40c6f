"""One thread that writes for many callers: whoever waits at the same time shares one wait for the disk."""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from temporec.errors import StoreBusyError, StoreError
from temporec.store.events import EventLog
from temporec.store.records import Record

__all__ = ["GroupCommit"]

Waiting = tuple[Sequence[Record], "Future[list[Record]]"]


class GroupCommit:
    """`submit` from any thread; at most `waiting` groups wait, and at most `together` are committed at once."""

    def __init__(self, log: EventLog, waiting: int = 1024, together: int = 256) -> None:
        self.log, self.together = log, together
        self._queue: queue.Queue[Waiting | None] = queue.Queue(waiting)
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="temporec-group-commit", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many groups wait now, about."""
        return self._queue.qsize()

    def submit(self, records: Sequence[Record]) -> "Future[list[Record]]":
        """What `EventLog.append` gives or raises, later.

        Raises:
            StoreBusyError: too many groups wait already; try again later.
            StoreError: this writer is closed.
        """
        future: Future[list[Record]] = Future()
        with self._closing:
            if self._closed:
                raise StoreError("the event log is being closed; send the events again after the restart")
            try:
                self._queue.put_nowait((records, future))
            except queue.Full:
                raise StoreBusyError(f"{self._queue.maxsize} groups of events wait already; try again later") from None
        return future

    def close(self) -> None:
        """Take nothing more, write what waits, and end; the log stays open."""
        with self._closing:
            first, self._closed = not self._closed, True
        if first:
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while len(batch) < self.together and not last:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                last = following is None
                if following is not None:
                    batch.append(following)
            self._commit([waiting for waiting in batch if waiting[1].set_running_or_notify_cancel()])
            if last:
                return

    def _commit(self, batch: list[Waiting]) -> None:
        answers: Sequence[list[Record] | Exception]
        try:
            answers = self.log.append_groups([records for records, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
