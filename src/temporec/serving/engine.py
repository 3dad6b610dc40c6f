"""One thread owns the live models: what waits is done together, events first, so the next answer has seen them."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from temporec.data.vocabulary import Id
from temporec.errors import TemporecError, UnknownNameError
from temporec.recommend.live import Live
from temporec.recommend.live_log import LogEvent
from temporec.recommend.query import Query, Recommendations
from temporec.serving.logs import log
from temporec.serving.metrics import Metrics
from temporec.serving.problems import Problem
from temporec.serving.settings import ServeConfig
from temporec.store.records import Record

__all__ = ["Answer", "Answering", "Engine", "Version", "log_events"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Version:
    """A version by name, live; it was built from the log up to the offset `seen`."""

    name: str
    live: Live
    seen: int


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers whom: `current`, and `control` for a share of the users; `others` answer where asked by name."""

    current: Version
    control: Version | None = None
    share: float = 0.0
    others: tuple[Version, ...] = ()

    @property
    def versions(self) -> list[Version]:
        return [each for each in (self.current, self.control, *self.others) if each is not None]

    def named(self, name: str) -> Version:
        """One of the versions in memory."""
        found = [version for version in self.versions if version.name == name]
        if not found:
            raise UnknownNameError(f"version {name!r:.80} is not in memory: {', '.join(v.name for v in self.versions)}")
        return found[0]

    def of(self, user: Id | None) -> Version:
        """The version that answers a user, always the same one."""
        if self.control is None or user is None:
            return self.current
        digest = hashlib.sha256(json.dumps(user).encode()).digest()
        return self.control if int.from_bytes(digest[:8]) < self.share * 2**64 else self.current


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


_Result = tuple["asyncio.Future[Any] | Future[Any]", Any, BaseException | None]


class Engine:
    """Takes events, answers queries and does everything else that touches the live models, in its own thread."""

    def __init__(self, answering: Answering, config: ServeConfig, metrics: Metrics) -> None:
        self.answering, self.config, self.metrics = answering, config, metrics
        self.waiting = 0
        self._queue: SimpleQueue[_Ask | _Take | _Call | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="temporec-engine", daemon=True)
        self.show(answering)

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

    async def taken(self, stored: "Future[list[Record]]") -> list[Record]:
        """The records, once they are durable and, unless the mode is frozen, in the states of their users."""
        done = self._enter()
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

    def _enter(self) -> "asyncio.Future[Any]":
        if self.waiting >= self.config.queue:
            raise Problem(
                429, "busy", f"{self.waiting} requests wait already; wait a second and try again",
                headers={"retry-after": "1"},
            )  # fmt: skip
        self.waiting += 1
        assert self._loop is not None
        return self._loop.create_future()

    def _work(self) -> None:
        import torch

        torch.set_grad_enabled(False)  # holds for this thread
        while (first := self._queue.get()) is not None:
            jobs: list[_Ask | _Take | _Call | None] = [first]
            while len(jobs) < self.config.queue:
                try:
                    jobs.append(self._queue.get_nowait())
                except Empty:
                    break
            self._take([job for job in jobs if isinstance(job, _Take)])
            for call in [job for job in jobs if isinstance(job, _Call)]:
                self._deliver([self._called(call)])
            asks = [job for job in jobs if isinstance(job, _Ask)]
            for begin in range(0, len(asks), self.config.batch):
                self._answer(asks[begin : begin + self.config.batch])
            if None in jobs:
                return

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
                _taken(version, events)
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
                version = answering.of(ask.query.user) if ask.version is None else answering.named(ask.version)
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
            self.waiting -= isinstance(done, asyncio.Future)
            if done.done():
                continue
            if failed is None:
                done.set_result(value)
            else:
                done.set_exception(failed)


def log_events(records: Sequence[Record]) -> list[LogEvent]:
    """The events among some stored records."""
    return [
        LogEvent(b["user"], b["item"], b["time"], record.offset, b.get("kind"), b.get("value"))
        for record in records
        if record.topic == "events" and (b := record.body)
    ]


def _taken(version: Version, events: list[LogEvent]) -> None:
    """Take durable events; one that a version cannot take is left out of its states, and logged."""
    try:
        version.live.take(events)
    except TemporecError:
        for event in events:
            try:
                version.live.take([event])
            except TemporecError:
                log("an event is not in the states", version=version.name, offset=event.sequence)


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
