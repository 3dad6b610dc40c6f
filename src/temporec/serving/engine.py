"""One thread owns the live models: what waits is done in its order, answers last, so that they have seen all of it."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from temporec.data.vocabulary import Id
from temporec.errors import TemporecError
from temporec.recommend.live_log import LogEvent
from temporec.recommend.query import Query, Recommendations
from temporec.serving.answering import Answering, Version, log_events, take_events
from temporec.serving.logs import log
from temporec.serving.metrics import Metrics
from temporec.serving.problems import Problem
from temporec.serving.settings import ServeConfig
from temporec.store.records import Record

__all__ = ["Answer", "Engine"]

T = TypeVar("T")

_WARM = 8  # users at once, so that who comes meanwhile waits for a few milliseconds
_QUIET = 0.02  # seconds without a job, before and between them


class Answer(NamedTuple):
    """Recommendations and the version that made them."""

    found: Recommendations
    version: str


class _Ask(NamedTuple):
    query: Query
    version: str | None
    done: "asyncio.Future[Answer]"


class _Take(NamedTuple):
    stored: "Future[list[Record]]"
    done: "asyncio.Future[list[Record]]"


class _Call(NamedTuple):
    call: Callable[[Answering], Any]
    done: "asyncio.Future[Any] | Future[Any]"


_Job = _Ask | _Take | _Call
_Result = tuple["asyncio.Future[Any] | Future[Any]", Any, BaseException | None]


class Engine:
    """Takes events, answers queries and does everything else that touches the live models, in its own thread."""

    def __init__(self, answering: Answering, config: ServeConfig, metrics: Metrics) -> None:
        self.answering, self.config, self.metrics = answering, config, metrics
        self.waiting = 0
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="temporec-engine", daemon=True)
        self.show(answering)

    @property
    def is_alive(self) -> bool:
        """Whether the thread works; without it nothing is answered."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to work for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """Finish what waits and end."""
        self._queue.put(None)
        self._thread.join()

    async def recommend(self, query: Query, version: str | None = None) -> Answer:
        """The answer of one version; queries that wait at the same time are scored together."""
        done: asyncio.Future[Answer] = self._enter()
        self._queue.put(_Ask(query, version, done))
        return await done

    async def run(self, call: Callable[[Answering], T]) -> T:
        """Anything else with the live models, in its turn."""
        done = self._enter()
        self._queue.put(_Call(call, done))
        result: T = await done
        return result

    async def taken(self, submit: "Callable[[], Future[list[Record]]]") -> list[Record]:
        """The records that `submit` stores, durable and, unless the mode is frozen, in the states of their users."""
        done = self._enter()
        try:
            stored = submit()
        except TemporecError:
            done.cancel()
            raise
        # The writer's thread puts them here itself, so the engine meets them in the order of the log.
        stored.add_done_callback(lambda future: self._queue.put(_Take(future, done)))
        records: list[Record] = await done
        return records

    def submit(self, call: Callable[[Answering], T]) -> "Future[T]":
        """As `run`, from any thread; never refused."""
        done: Future[T] = Future()
        self._queue.put(_Call(call, done))
        return done

    def show(self, answering: Answering) -> None:
        """Let other versions answer from now on; called in the engine's thread, or before it starts."""
        self.answering = answering
        self.catalog = answering.current.live.catalog  # items that events may be about: in the model and in the log
        control = None if answering.control is None else answering.control.name
        self.metrics.answering({"current": answering.current.name, "control": control})
        self.metrics.known.update(version.name for version in answering.versions)

    def _enter(self) -> "asyncio.Future[Any]":
        if self.waiting >= self.config.queue:
            raise Problem(
                429, "busy", f"{self.waiting} requests wait already; wait a second and try again",
                headers={"retry-after": "1"},
            )  # fmt: skip
        self.waiting += 1
        assert self._loop is not None
        done: asyncio.Future[Any] = self._loop.create_future()
        done.add_done_callback(self._leave)
        return done

    def _leave(self, _: object) -> None:
        self.waiting -= 1

    def _work(self) -> None:
        import torch

        torch.set_grad_enabled(False)  # holds for this thread
        while (first := self._next()) is not None:
            jobs: list[_Job | None] = [first]
            while len(jobs) < self.config.queue:
                try:
                    jobs.append(self._queue.get_nowait())
                except Empty:
                    break
            wanted = [job for job in jobs if job is not None]
            try:
                self._do(wanted)
            except Exception as error:  # no failure may end this thread
                log("the engine failed", level=logging.ERROR, failed=error)
                self._deliver([(job.done, None, error) for job in wanted])
            if None in jobs:
                return

    def _do(self, jobs: list[_Job]) -> None:
        """Events and calls in the order in which they came, events that stand together in one go; then all queries."""
        for kind, group in groupby((job for job in jobs if not isinstance(job, _Ask)), type):
            together = list(group)
            if kind is _Take:
                self._take([job for job in together if isinstance(job, _Take)])
            for call in [job for job in together if isinstance(job, _Call)]:
                self._deliver([self._called(call)])
        asks = [job for job in jobs if isinstance(job, _Ask) and not job.done.cancelled()]
        for begin in range(0, len(asks), self.config.batch):
            self._answer(asks[begin : begin + self.config.batch])

    def _next(self) -> _Job | None:
        """The next job; while there is none, states of users who have not asked yet."""
        while cold := self.answering.current.cold:
            try:
                return self._queue.get(timeout=_QUIET)
            except Empty:
                users = cold[-_WARM:]
                del cold[-_WARM:]
                self._warm(users)
        return self._queue.get()

    def _warm(self, users: list[Id]) -> None:
        try:
            self.answering.current.live.warm(users)
        except Exception as error:  # their states are computed when they ask, or fail then for them alone
            log("states cannot be computed beforehand", level=logging.ERROR, failed=error)

    def _take(self, takes: list[_Take]) -> None:
        results: list[_Result] = []
        events: list[LogEvent] = []
        for take in takes:
            if (failed := take.stored.exception()) is not None:
                results.append((take.done, None, failed))
                continue
            records = take.stored.result()
            results.append((take.done, records, None))
            events += log_events(records)
        if events and self.config.mode != "frozen":
            for version in self.answering.versions:
                take_events(version, events)
            self.metrics.offset.set(self.answering.current.live.offset)
        if results:
            self._deliver(results)

    def _called(self, job: _Call) -> _Result:
        try:
            return job.done, job.call(self.answering), None
        except Exception as error:
            return job.done, None, error

    def _answer(self, asks: list[_Ask]) -> None:
        results: list[_Result] = []
        groups: dict[str, list[_Ask]] = {}
        answering = self.answering
        for ask in asks:
            try:
                version = answering.chosen(ask.version, ask.query.user)
            except TemporecError as error:
                results.append((ask.done, None, error))
            else:
                groups.setdefault(version.name, []).append(ask)
        for name, group in groups.items():
            results += _answered(answering.named(name), group)
        self.metrics.batches.observe(len(asks))
        self._deliver(results)

    def _deliver(self, results: list[_Result]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._resolve, results)

    def _resolve(self, results: list[_Result]) -> None:
        for done, value, failed in results:
            if done.done():
                continue
            if failed is None:
                done.set_result(value)
            else:
                done.set_exception(failed)


def _answered(version: Version, asks: list[_Ask]) -> list[_Result]:
    try:
        answers = version.live.recommend_batch([ask.query for ask in asks])
    except Exception as error:
        return [(ask.done, None, error) for ask in asks]
    return [
        (ask.done, None, answer)
        if isinstance(answer, TemporecError)
        else (ask.done, Answer(answer, version.name), None)
        for ask, answer in zip(asks, answers, strict=True)
    ]
