"""A progress bar for people: loss, events per second, time left."""

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from temporec.training.listeners import EpochRecord, Silent

__all__ = ["ProgressBar"]


class ProgressBar(Silent):
    """A bar per epoch on standard error, and a line per finished epoch.

    Args:
        label: what is being trained, shown in front.
        console: where to write; a console on standard error by default.
    """

    def __init__(self, label: str, console: Console | None = None) -> None:
        self.label = label
        self.console = console or Console(file=sys.stderr)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._epochs = self._positions = self._epoch = 0

    def start(self, epochs: int, positions: int) -> None:
        self.close()
        self._epochs, self._positions, self._epoch = epochs, positions, -1
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TextColumn("{task.fields[rate]:>9,.0f} events/s"),
            TextColumn("epoch done in"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task(self.label, total=positions, loss=0.0, rate=0.0)
        self._bar.start()

    def step(self, epoch: int, step: int, loss: float, events: int) -> None:
        if self._bar is None:
            return
        if epoch != self._epoch:
            self._epoch = epoch
            self._bar.reset(self._task, total=self._positions, description=self._title, loss=loss, rate=0.0)
        rate = self._bar.tasks[0].speed or 0.0
        self._bar.update(self._task, advance=events, loss=loss, rate=rate)

    @property
    def _title(self) -> str:
        return f"{self.label} epoch {self._epoch + 1} of at most {self._epochs}"

    def renew(self, done: int, total: int) -> None:
        if self._bar is not None:
            title = self._title if done == total else f"{self.label} reads texts anew: {done:,} of {total:,}"
            self._bar.update(self._task, description=title)

    def epoch(self, record: EpochRecord) -> None:
        value = (
            ""
            if record.validation is None
            else f"  validation NDCG@10 {record.validation:.4f} accuracy {record.accuracy:.4f}"
        )
        best = "  best so far" if record.best else ""
        rate = record.events / max(record.seconds, 1e-9)
        self.console.print(
            f"{self.label} epoch {record.epoch}: loss {record.loss:.4f}{value}  {record.seconds:.1f} s"
            f"  {rate:,.0f} events/s{best}",
            highlight=False,
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
