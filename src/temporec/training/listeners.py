"""Who hears about a training run: nobody, a CSV file, several at once; progress bar and trackers too."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Protocol

__all__ = ["CsvLog", "EpochRecord", "Listener", "Listeners", "Silent"]


@dataclass(frozen=True)
class EpochRecord:
    """One epoch: mean training loss, NDCG@10 and top-1 accuracy on validation (None: not done), seconds, events."""

    epoch: int
    loss: float
    validation: float | None
    accuracy: float | None
    seconds: float
    events: int
    best: bool = False


class Listener(Protocol):
    """What a trainer tells. `start` may be called again for a second fit (the refit)."""

    def start(self, epochs: int, positions: int) -> None: ...

    def step(self, epoch: int, step: int, loss: float, events: int) -> None: ...

    def epoch(self, record: EpochRecord) -> None: ...

    def renew(self, done: int, total: int) -> None: ...  # texts that an encoder which learns has read anew

    def close(self) -> None: ...


class Silent:
    """Hears nothing."""

    def start(self, epochs: int, positions: int) -> None:
        return

    def step(self, epoch: int, step: int, loss: float, events: int) -> None:
        return

    def epoch(self, record: EpochRecord) -> None:
        return

    def renew(self, done: int, total: int) -> None:
        return

    def close(self) -> None:
        return


class Listeners(Silent):
    """Passes everything on to several listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = tuple(listeners)

    def start(self, epochs: int, positions: int) -> None:
        for listener in self.listeners:
            listener.start(epochs, positions)

    def step(self, epoch: int, step: int, loss: float, events: int) -> None:
        for listener in self.listeners:
            listener.step(epoch, step, loss, events)

    def epoch(self, record: EpochRecord) -> None:
        for listener in self.listeners:
            listener.epoch(record)

    def renew(self, done: int, total: int) -> None:
        for listener in self.listeners:
            listener.renew(done, total)

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()


class CsvLog(Silent):
    """A row per epoch in a CSV file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def epoch(self, record: EpochRecord) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(EpochRecord)])
            if new:
                writer.writeheader()
            writer.writerow(asdict(record))
