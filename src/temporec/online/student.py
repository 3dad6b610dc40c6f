"""The learning side: histories, weights and replay buffer as they stand at one offset of the log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from temporec.data.dataset import Dataset
from temporec.data.vocabulary import Id
from temporec.online.catalog_growth import refit_texts, start_new_items
from temporec.online.continue_training import LearnConfig, Learned
from temporec.online.replay import ReplayConfig
from temporec.online.shadow import Known, Questions, questions
from temporec.online.stream import hashes_of, items_frame
from temporec.online.versions import load_student, merged, piece_of, save_student, twin
from temporec.recommend.live_log import LiveLog, LogEvent
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions
from temporec.store.versions import Home

__all__ = ["Student"]

Taken = list[tuple[LogEvent, int]]  # events that were new, and the number of their user


class Student:
    """A version that goes on learning.

    Attributes:
        recommender: answers with the weights that would be published now.
        offset: the last record of the log that was taken.
    """

    def __init__(self, home: Home, name: str, config: LearnConfig, replay: ReplayConfig, options: RunOptions) -> None:
        self.name = name
        self.recommender, self.training, self.replay, self.offset = load_student(home, name, config, replay, options)
        self._remember(self.recommender.dataset)

    def _remember(self, dataset: Dataset) -> None:
        """Histories are from now on those of a data set, and what comes."""
        self.recommender.remember(dataset)
        self.log = LiveLog(self.recommender.log, self.recommender.users)
        self._kinds = {kind: number for number, kind in enumerate(dataset.interactions.kinds)}
        self._events: list[LogEvent] = []
        self._gone: set[Id] = set()

    def put_items(self, rows: Sequence[dict[str, Any]]) -> int:
        """Let the catalog grow by rows of items; how many are new."""
        frame = items_frame(rows, self.recommender.catalog.frame.schema)
        new = self.recommender.admit(frame) if len(frame) else 0
        if new:
            self.training.grow(self.recommender.model)
        return new

    def take(self, events: Sequence[LogEvent]) -> tuple[Questions | None, Taken]:
        """Take events into the histories: the questions that they were (where a history came before), and the new ones.

        Items that the catalog does not have are added to it.
        """
        vocabulary = self.recommender.catalog.vocabulary
        if unknown := [{"item": event.item} for event in events if event.item not in vocabulary]:
            self.put_items(unknown)
            vocabulary = self.recommender.catalog.vocabulary
        known: list[Known] = []
        targets, taken = [], []
        items = vocabulary.encode([event.item for event in events]).tolist()
        reach = self.recommender.max_len or 0  # 0 = all events
        for event, item in zip(events, items, strict=True):
            before = self.log.events(self.log.number(event.user))
            placed = self.log.add(event, item, self._kinds.get(event.kind or "", -1))
            if placed is None:
                continue
            taken.append((event, placed[0]))
            if len(before[0]):
                known.append(tuple(each[-reach:] for each in before))  # type: ignore[arg-type]
                targets.append(item)
        self._events += [event for event, _ in taken]
        return (questions(known, targets, self.recommender) if targets else None), taken

    def learn(self, taken: Taken, rate: float) -> Learned | None:
        """One round of steps on new events; the recommender answers with the new weights afterwards."""
        counts: dict[int, int] = {}
        owners: dict[int, Id] = {}
        for event, number in taken:
            counts[number] = counts.get(number, 0) + 1
            owners[number] = event.user
        pieces = [
            piece_of(self.recommender, owners[number], self.log.events(number), count)
            for number, count in counts.items()
        ]
        if not pieces:
            return None
        start_new_items(self.training, self.recommender, pieces)
        learned = self.training.learn(pieces, self.replay, rate, self.recommender.log.has_time)
        self.recommender.model.load_state_dict(self.training.published())
        self.recommender.refresh()
        return learned

    def forget(self, hashes: set[str]) -> int:
        """Drop users by the hash of their id, also from the replay buffer; how many events of them there were."""
        if not hashes:
            return 0
        users = [user for user in self.log.ids() if hashes & hashes_of(user)]
        self.replay.forget({str(user) for user in users})
        self._gone |= set(users)
        names = {str(user) for user in users}
        self._events = [event for event in self._events if str(event.user) not in names]
        return sum(self.log.forget(user) for user in users)

    def write(self, folder: Path) -> None:
        """Save as a version; the events that were taken are then events of its data set."""
        recommender = self.recommender
        recommender.cold = refit_texts(recommender.cold, recommender.model.item_table())
        kept = merged(recommender.dataset, [], self._gone)
        self._remember(merged(kept, self._events, []))
        recommender.refresh()
        save_student(folder, recommender, self.training, self.replay)

    def frozen(self) -> NeuralRecommender:
        """A copy that goes on answering as now."""
        own = self.recommender
        return NeuralRecommender(twin(own), own.dataset, own.exclude_seen, own.inputs, own.cold)

    @property
    def new_events(self) -> int:
        """Events that were taken since the last version."""
        return len(self._events)

    def sizes(self) -> dict[str, int]:
        """For reports."""
        return {"items": len(self.recommender.catalog), "replay": len(self.replay), "steps": self.training.steps}
