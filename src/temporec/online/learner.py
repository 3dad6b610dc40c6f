"""The process that follows the event log: predict, then learn; write versions; promote them, or go back."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from temporec.config import Config
from temporec.online.continue_training import LearnConfig
from temporec.online.drift import Drift, DriftConfig
from temporec.online.gate import Gate, GateConfig, Ruling, Trial
from temporec.online.replay import ReplayConfig
from temporec.online.shadow import Questions, figures
from temporec.online.stream import Round, read_round
from temporec.online.student import Student
from temporec.recommend.base import Recommender
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions
from temporec.store.events import EventLog
from temporec.store.reports import Reports
from temporec.store.versions import Home, Pointer

__all__ = ["Learner", "LearnerConfig", "Report", "only_one"]

_NAP = 0.25  # seconds between two looks at how much waits


class LearnerConfig(Config):
    """How a log is followed.

    Args:
        round: records that are read and learned at once.
        every: events after which a version is written, while none is in the shadow.
        pause: seconds before a round that is not full: single events are learned together. New weights answer only with
            the next version anyway.
        share: of the time in which it works, while it keeps up: the pause is longer after a long round, so that the
            service beside the learner has the machine meanwhile.
        keep: versions that are kept, beside those in use.
    """

    training: LearnConfig = LearnConfig()
    replay: ReplayConfig = ReplayConfig()
    drift: DriftConfig = DriftConfig()
    gate: GateConfig = GateConfig()
    run: RunOptions = RunOptions()
    round: PositiveInt = 500
    every: PositiveInt = 2_000
    pause: NonNegativeFloat = 2.0
    share: float = Field(default=0.2, gt=0.0, le=1.0)
    keep: PositiveInt = 5


@dataclass(frozen=True, slots=True)
class Report:
    """What one round did."""

    time: int  # milliseconds since 1970, UTC
    offset: int
    events: int
    predicted: int  # events of users with a history
    ndcg: float | None  # prequential NDCG@10 and hit rate@10 of the learner's newest weights
    hit_rate: float | None
    loss: float | None
    rate: float  # by what drift multiplies the learning rate
    drift: bool
    version: str  # that answers
    news: tuple[str, ...] = ()  # versions written, promoted, dropped, rolled back

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Learner:
    """Follows one log for one home. All that it knows can be rebuilt from the versions and the log.

    The learner goes on from the newest version that was written after the current one became current, else from the
    current one, and reads the log from that version's offset. A version that it writes (the challenger) keeps its
    weights and is judged beside the current one (the champion) on the events that follow.
    """

    def __init__(self, home: Home, log: EventLog, config: LearnerConfig | None = None) -> None:
        self.home, self.log, self.config = home, log, config or LearnerConfig()
        home.check_log(log)
        self._start(home.pointer())

    def _start(self, pointer: Pointer) -> None:
        """Take up the work where the folders say that it stands."""
        self.pointer, config = pointer, self.config
        newest = self.home.newest_after(pointer)
        self.challenger_name = None if newest is None else newest.name
        name = self.challenger_name or pointer.current
        self.student = Student(self.home, name, config.training, config.replay, config.run)
        created = next(info.created for info in self.home.versions() if info.name == name)
        self._fitted = self.student.log.fitted = self.log.offset_at(created) - 1
        self.drift = Drift(config.drift)
        self._recent: list[float] = []  # NDCG@10 of each event since the last version
        self.champion = _neural(self.home, pointer.current)
        self.challenger = self.student.frozen() if self.challenger_name else None
        self.gate = Gate(config.gate)
        self._extend()
        self._open_trial()

    def _extend(self) -> None:
        """Items that have come can be answered by all, as in the service, where a text places them."""
        frame = self.student.recommender.catalog.frame
        for answering in (self.champion, self.challenger):
            if answering is not None and answering.catalog.size <= len(frame):
                answering.admit(frame)

    def _open_trial(self) -> None:
        """Compare the clicks of current and control, from the moment on at which they began to share the users."""
        pointer = self.pointer
        self.trial = None
        if pointer.control is not None and pointer.share > 0:
            self.trial = Trial(pointer.current, pointer.control, self.config.gate)
            first = self.log.offset_at(pointer.since)
            for record in self.log.read_all(first - 1, topics={"feedback"}):
                if record.offset > self.student.offset:
                    break
                self.trial.take({"user": record.user, **record.body})

    def step(self) -> Report | None:
        """One round; None where the log has nothing new."""
        round_ = read_round(self.log, self.student.offset, self.config.round)
        if round_ is None:
            return None
        news = self._follow_pointer()
        if news:  # another version may have another offset
            return self._report(Round(self.student.offset, 0), None, None, False, news)
        student = self.student
        if round_.items:
            student.put_items(round_.items)
        asked, taken = student.take(round_.events)
        self._extend()
        found = self._judge(asked)
        changed = False if found is None else self.drift.update(1.0 - found[1])
        learned = student.learn(taken, self.drift.rate)
        student.forget(round_.forget)
        student.offset = round_.end
        for feedback in round_.feedback:
            if self.trial is not None:
                self.trial.take(feedback)
        news = self._decide()
        return self._report(round_, found, None if learned is None else learned.loss, changed, news)

    def finish(self) -> str | None:
        """Write what was learned since the last version, unless a version waits for its verdict; its name."""
        return self._write() if self.challenger is None and self.student.new_events else None

    def follow(self, *, once: bool = False, stopped: Callable[[], bool] = lambda: False) -> Iterator[Report]:
        """Round after round, until `stopped` (or, with `once`, until the end of the log)."""
        reports = Reports(self.home)
        while not stopped():
            began = time.monotonic()
            report = self.step()
            if report is not None:
                reports.add(report.to_dict())
                yield report
            elif once:
                return
            if not once:
                worked = time.monotonic() - began
                until = time.monotonic() + max(self.config.pause, worked * (1.0 / self.config.share - 1.0))
                self._rest(until, stopped)

    def _rest(self, until: float, stopped: Callable[[], bool]) -> None:
        """Wait for a moment, unless a full round waits already."""
        while (left := until - time.monotonic()) > 0 and not stopped():
            if self.log.end() - self.student.offset >= self.config.round:
                return
            time.sleep(min(left, _NAP))

    def _follow_pointer(self) -> list[str]:
        """Somebody else may have changed the current version."""
        pointer = self.home.pointer()
        if pointer.serial == self.pointer.serial:
            return []
        self._start(pointer)
        return [f"{pointer.current} is current; going on from offset {self.student.offset}"]

    def _judge(self, asked: Questions | None) -> tuple[np.ndarray, np.ndarray] | None:
        """Figures of the learner; those of champion and challenger go to the gate."""
        if asked is None:
            return None
        if self.challenger is not None:
            pair = [figures(each, asked)[0].tolist() for each in (self.champion, self.challenger)]
            self.gate.add(*pair)
        found = figures(self.student.recommender, asked)
        self._recent += found[0].tolist()
        return found

    def _decide(self) -> list[str]:
        """Let gate and trial rule, and write the next challenger where it is time."""
        news = self._rule_on_trial() or self._rule_on_challenger()
        if self.challenger is None and self.student.new_events >= self.config.every:
            news.append(f"{self._write()} written at offset {self.student.offset}")
        return news

    def _rule_on_trial(self) -> list[str]:
        if self.trial is None:
            return []
        ruling, current = self.trial.rule(), self.pointer.current
        if ruling.verdict == "wait":
            return []
        if ruling.verdict == "worse":
            self._start(self.home.rollback())
            return [f"{current} rolled back to {self.pointer.current}: {ruling.sentence}"]
        self.pointer, self.trial = self.home.activate(current), None
        return [f"{current} has passed its trial: {ruling.sentence}"]

    def _rule_on_challenger(self) -> list[str]:
        if self.challenger is None or self.challenger_name is None:
            return []
        ruling, name = self.gate.rule(), self.challenger_name
        if ruling.verdict == "wait":
            return []
        challenger, self.challenger, self.challenger_name = self.challenger, None, None
        self.gate = Gate(self.config.gate)
        if not ruling.promotes:
            return [f"{name} dropped: {ruling.sentence}"]
        self._promote(name, challenger, ruling)
        return [f"{name} promoted: {ruling.sentence}"]

    def _promote(self, name: str, challenger: NeuralRecommender, ruling: Ruling) -> None:
        share, old = self.config.gate.share, self.pointer.current
        self.pointer = self.home.activate(name, control=old if share else None, share=share)
        self.champion = challenger
        self._open_trial()
        self.home.prune(self.config.keep)

    def _write(self) -> str:
        known = {} if not self._recent else {"ndcg@10": float(np.mean(self._recent))}
        metrics, self._recent = {**known, **self.student.sizes()}, []
        name = self.home.add(
            self.student.write, parent=self.pointer.current, log_offset=self.student.offset, metrics=metrics
        )
        self.student.log.fitted = self._fitted
        self.challenger_name, self.challenger, self.gate = name, self.student.frozen(), Gate(self.config.gate)
        self.home.prune(self.config.keep)
        return name

    def _report(
        self,
        round_: Round,
        found: tuple[np.ndarray, np.ndarray] | None,
        loss: float | None,
        drift: bool,
        news: list[str],
    ) -> Report:
        ndcg, hit_rate = (None, None) if found is None else (float(each.mean()) for each in found)
        return Report(
            time.time_ns() // 1_000_000, self.student.offset, len(round_.events),
            0 if found is None else len(found[0]), ndcg, hit_rate, loss, self.drift.rate, drift, self.pointer.current,
            tuple(news),
        )  # fmt: skip


def only_one(home: Home) -> AbstractContextManager[None]:
    """While this is held, no other process learns for the same home."""
    return home.alone("learn", f"another process learns for {home.path} already; one is enough, so stop one")


def _neural(home: Home, name: str) -> NeuralRecommender:
    loaded = Recommender.load(home.folder(name))
    assert isinstance(loaded, NeuralRecommender)
    return loaded
