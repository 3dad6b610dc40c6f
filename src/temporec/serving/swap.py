"""Watches which version is current; builds and warms a new one beside the old, then flips between two answers."""

import threading
import time
from collections.abc import Callable
from importlib import import_module

from temporec.errors import StoreError, TemporecError
from temporec.serving.answering import Answering, Version
from temporec.serving.engine import Engine
from temporec.serving.logs import log as say
from temporec.serving.metrics import Metrics
from temporec.serving.settings import ServeConfig
from temporec.serving.versions import build, catch_up, catch_up_items, forget_in_snapshots, snapshot
from temporec.store.events import EventLog
from temporec.store.versions import Home, Pointer

__all__ = ["Swap"]

_SETTLED = 2.0  # seconds after the start, which the first answers have for themselves
_PATIENCE = 60.0  # seconds that the engine may take to get to the flip
_STOP = 8.0  # seconds that a version which is being built gets at the end: systemd and compose kill after 30
_OTHERS = 2  # versions in memory that do not answer by themselves: two are compared side by side
_AGAIN = (30.0, 3_600.0)  # seconds until a snapshot that failed is tried again: at first, at most


class Swap:
    """The thread that follows the pointer of a home.

    A new version is built in this thread and catches up with the log here; the last events, which came meanwhile, are
    taken in the engine's thread in the flip itself. So one version answers one request, and no request waits for it.
    """

    def __init__(self, home: Home, log: EventLog, engine: Engine, config: ServeConfig, metrics: Metrics) -> None:
        self.home, self.log, self.engine = home, log, engine
        self.config, self.metrics = config, metrics
        self.pointer: Pointer = home.pointer()
        self.saved = engine.answering.current.live.offset
        self.failed: tuple[int, str] | None = None  # serial and reason of a pointer that cannot be followed
        self._changed = threading.Condition()
        self._building = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._forgot = 0  # offset up to which the log was looked through for forgotten users
        self._pause = 0.0  # seconds until snapshots that could not be written are tried again
        self._next_save = 0.0  # when that is
        self._thread = threading.Thread(target=self._watch, name="temporec-swap", daemon=True)

    def start(self) -> None:
        """Follow the pointer from now on; in the mode `frozen` it is not followed."""
        if self.config.mode != "frozen":
            self._thread.start()

    def close(self) -> None:
        """End; a version that is being built is finished first, if that takes a few seconds only."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_STOP)

    def wait_for(self, serial: int, seconds: float) -> bool:
        """Whether the pointer of that serial, or a later one, answers within some seconds.

        Raises:
            StoreError: its version cannot be built; the one before goes on answering.
        """
        self._wake.set()
        with self._changed:
            self._changed.wait_for(lambda: self._reached(serial) or self._refused(serial), seconds)
        if self._refused(serial) and self.failed is not None:
            raise StoreError(f"{self.failed[1]}; version {self.pointer.current} goes on answering: activate another")
        return self._reached(serial)

    def load_other(self, name: str) -> None:
        """Hold a version in memory beside those that answer, to compare with; it takes the place of the oldest such."""
        with self._building:
            if name in {version.name for version in self.engine.answering.versions}:
                return  # another request was faster
            made = build(self.home, name, self.log, self.config)

            def hold(answering: Answering) -> None:
                self._finish(made)
                others = (*answering.others, made)[-_OTHERS:]
                self.engine.show(Answering(answering.current, answering.control, answering.share, others))

            self.engine.submit(hold).result(_PATIENCE)

    def _reached(self, serial: int) -> bool:
        return self.pointer.serial >= serial

    def _refused(self, serial: int) -> bool:
        return self.failed is not None and self.failed[0] >= serial

    def _watch(self) -> None:
        self._wake.wait(_SETTLED)
        import_module("temporec.data.text_views")  # new items and words need it; the first of them shall not wait
        while not self._stop.is_set():
            self._wake.wait(self.config.check_every)
            self._wake.clear()
            if self._stop.is_set():
                return
            try:
                self._look()
            except Exception as error:
                say("the pointer cannot be read", failed=error)
            if time.monotonic() >= self._next_save:
                self._save()

    def _look(self) -> None:
        pointer = self.home.pointer()
        if pointer.serial != self.pointer.serial and not (self.failed and self.failed[0] == pointer.serial):
            self._follow(pointer)

    def _save(self) -> None:
        """Write snapshots where it is time, and take forgotten users out of them; after a failure, later again."""
        try:
            self._save_events()
            self._save_forgetting()
        except Exception as error:
            self._pause = min(max(2 * self._pause, _AGAIN[0]), _AGAIN[1])
            self._next_save = time.monotonic() + self._pause
            reason = str(error) if isinstance(error, TemporecError) else type(error).__name__
            say("the live histories cannot be saved", why=reason, again_in=self._pause, failed=error)
        else:
            self._pause = 0.0

    def _save_events(self) -> None:
        current = self.engine.answering.current
        if current.live.offset - self.saved >= self.config.snapshot_every:
            with self._building:
                self.saved = snapshot(self.home, current.name, self.log, self.config)
            say("the live histories are saved", version=current.name, offset=self.saved)

    def _save_forgetting(self) -> None:
        end = self.log.end()
        if end > self._forgot:
            if self.log.read(self._forgot, 1, topics={"forget"}):
                with self._building:
                    forget_in_snapshots(self.home, self.log)
            self._forgot = end

    def _follow(self, pointer: Pointer) -> None:
        try:
            with self._building:
                self._flip(pointer)
        except Exception as error:
            reason = str(error) if isinstance(error, TemporecError) else type(error).__name__
            self.metrics.swaps.labels("failed").inc()
            say("a version cannot answer", version=pointer.current, why=reason, failed=error)
            with self._changed:
                self.failed = (pointer.serial, f"version {pointer.current} cannot answer: {reason}")
                self._changed.notify_all()
        else:
            self.metrics.swaps.labels("done").inc()
            say("another version answers", version=pointer.current, control=pointer.control, share=pointer.share)
            with self._changed:
                self.pointer, self.failed = pointer, None
                self._changed.notify_all()

    def _flip(self, pointer: Pointer) -> None:
        there = {version.name: version for version in self.engine.answering.versions}
        made: dict[str, Version] = {}
        for name in (pointer.current, pointer.control):
            if name is not None and name not in there and name not in made:
                made[name] = build(self.home, name, self.log, self.config)
        known: Callable[[str], Version] = lambda name: made.get(name) or there[name]  # noqa: E731
        control = None if pointer.control is None else known(pointer.control)
        new = Answering(known(pointer.current), control, pointer.share)

        def flip(_: Answering) -> None:
            for version in made.values():
                self._finish(version)
            self.engine.show(new)

        self.engine.submit(flip).result(_PATIENCE)

    def _finish(self, version: Version) -> None:
        """Take what came since the version was built, in the engine's thread."""
        old = self.engine.answering.current.live
        absent = old.catalog.vocabulary.decode(sorted(old.absent))
        version.live.remove_items([item for item in absent if item in version.live.catalog.vocabulary])
        catch_up_items(version.live, self.log, version.seen)
        catch_up(version.live, self.log, version.seen)
