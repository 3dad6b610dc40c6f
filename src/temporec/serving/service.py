"""One service: its home, log, models and figures, opened and closed in order."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from temporec.data.vocabulary import Id, Vocabulary
from temporec.errors import ConfigError, TemporecError
from temporec.recommend.snapshot import save_snapshot
from temporec.serving.answering import Answering
from temporec.serving.engine import Engine
from temporec.serving.ids import spelt
from temporec.serving.logs import RequestLog
from temporec.serving.logs import log as say
from temporec.serving.metrics import Metrics
from temporec.serving.security import RateLimit, Tokens
from temporec.serving.settings import ServeConfig
from temporec.serving.swap import Swap
from temporec.serving.versions import build, snapshot_of
from temporec.store.events import EventLog, open_event_log
from temporec.store.group_commit import GroupCommit
from temporec.store.records import Record
from temporec.store.versions import Home

__all__ = ["Service"]


@dataclass(eq=False)
class Service:
    """Everything that the routes need."""

    home: Home
    config: ServeConfig
    log: EventLog
    engine: Engine
    swap: Swap
    tokens: Tokens
    metrics: Metrics
    lock: ExitStack
    requests: RequestLog
    limit: RateLimit
    writer: GroupCommit | None = None
    started: float = field(default_factory=time.time)
    ready: bool = False

    @classmethod
    def open(cls, folder: str | Path, config: ServeConfig) -> "Service":
        """Load the current version and bring it up to the end of the log.

        Raises:
            ConfigError: the service would be open to other machines without tokens.
            StoreError: another service runs on this home.
        """
        home = Home.open(folder)
        tokens = Tokens(home.path / "tokens.json")
        if tokens.is_open and not config.is_loopback:
            raise ConfigError(
                f"host {config.host} can be reached from other machines, and the service has no tokens; first run: "
                f"temporec tokens add {home.path} NAME --role read (or write, or admin)"
            )
        lock = ExitStack()
        lock.enter_context(
            home.alone("serve", f"another service runs on {home.path}; stop it first, or serve another folder")
        )
        log = open_event_log(config.log or home.events_path)
        pointer = home.pointer()
        current = build(home, pointer.current, log, config)
        control = None if pointer.control is None else build(home, pointer.control, log, config)
        metrics = Metrics()
        engine = Engine(Answering(current, control, pointer.share), config, metrics)
        swap = Swap(home, log, engine, config, metrics)
        limit = RateLimit(config.rate, config.burst)
        return cls(home, config, log, engine, swap, tokens, metrics, lock, RequestLog(sys.stderr.buffer), limit)

    def start(self) -> None:
        """Begin to answer, in the running event loop."""
        self.writer = GroupCommit(self.log)
        self.engine.start()
        self.swap.start()
        self.ready = True

    def close(self) -> None:
        """Write what waits, finish what is asked, save the live histories, let go of the home."""
        self.ready = False
        self.swap.close()
        if self.writer is not None:
            self.writer.close()
        self.engine.close()
        if self.config.mode != "frozen":
            current = self.engine.answering.current
            try:
                save_snapshot(current.live, snapshot_of(self.home, current.name))
            except (TemporecError, OSError) as error:
                say("the live histories are not saved, so the next start reads the log", why=str(error))
        self.log.close()
        self.lock.close()
        self.requests.close()
        say("stopped", offset=self.engine.answering.current.live.offset)

    async def store(self, records: Sequence[Record]) -> list[Record]:
        """Make records durable and take their events; only then does this return."""
        writer = self.writer
        assert writer is not None
        return await self.engine.taken(lambda: writer.submit(records))

    @property
    def users(self) -> Vocabulary:
        """Users of the checkpoint, for the spelling of ids."""
        return self.engine.answering.current.live.recommender.users

    def user(self, value: Id) -> Id:
        return spelt(value, self.users)

    def item(self, value: Id) -> Id:
        return spelt(value, self.engine.catalog.vocabulary)
