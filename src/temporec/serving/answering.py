"""Which version answers whom."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from temporec.data.vocabulary import Id
from temporec.errors import TemporecError, UnknownNameError
from temporec.recommend.live import Live
from temporec.recommend.live_log import LogEvent
from temporec.serving.logs import log
from temporec.store.records import Record

__all__ = ["Answering", "NotInMemoryError", "Version", "log_events", "take_events"]


class NotInMemoryError(UnknownNameError):
    """A version is asked by name, and is not held beside those that answer."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version by name, live; it was built from the log up to the offset `seen`.

    `cold`: users whose states are not computed yet, the busiest last; the engine does that when it is idle.
    """

    name: str
    live: Live
    seen: int
    cold: list[Id] = field(default_factory=list)


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
        """One of the versions in memory.

        Raises:
            NotInMemoryError: it is not held, or not any more.
        """
        found = [version for version in self.versions if version.name == name]
        if not found:
            raise NotInMemoryError(f"version {name!r:.80} is not in memory: {', '.join(v.name for v in self.versions)}")
        return found[0]

    def of(self, user: Id | None) -> Version:
        """The version that answers a user, always the same one."""
        if self.control is None or user is None:
            return self.current
        digest = hashlib.sha256(json.dumps(user).encode()).digest()
        return self.control if int.from_bytes(digest[:8]) < self.share * 2**64 else self.current

    def chosen(self, name: str | None, user: Id | None) -> Version:
        """The version of a name; without a name, the one that answers the user."""
        return self.of(user) if name is None else self.named(name)


def log_events(records: Sequence[Record]) -> list[LogEvent]:
    """The events among some stored records."""
    return [LogEvent.of(record.body, record.offset) for record in records if record.topic == "events"]


def take_events(version: Version, events: list[LogEvent]) -> None:
    """Take durable events; one that a version cannot take is left out of its states, and logged."""
    try:
        version.live.take(events)
    except TemporecError:
        for event in events:
            try:
                version.live.take([event])
            except TemporecError:
                log("an event is not in the states", version=version.name, offset=event.sequence)
