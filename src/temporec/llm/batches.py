"""Encoding each thing once: what the cache does not know goes through the encoder in batches of equal size."""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from temporec.errors import DataError
from temporec.llm.cache import VectorCache

__all__ = ["BatchRunner"]

_log = logging.getLogger(__name__)

_SAVE_EVERY = 1_024  # vectors; an interrupted run loses no more


@dataclass
class BatchRunner:
    """Vectors of distinct things, from the cache or in batches.

    Args:
        name: of the encoder, for messages.
        unit: what is encoded, in the plural.
        cache: folder of the cache (None = the default one), or False for none.
        batch: things in a batch.
        progress: show a bar on standard error, where that is a terminal.
    """

    name: str
    unit: str = "texts"
    cache: Path | bool | None = None
    batch: int = 32
    progress: bool = True
    encoded: int = 0
    cached: int = 0

    def run(
        self, keys: Sequence[bytes], sizes: Sequence[int], encode: Callable[[list[int]], np.ndarray]
    ) -> dict[bytes, np.ndarray]:
        """Vectors float32 [d] by key.

        Args:
            keys: of the things, all different.
            sizes: of the things; those of like size share a batch, the largest first.
            encode: vectors [n, d] of the things at some places.
        """
        store = None if self.cache is False else VectorCache(self.cache if isinstance(self.cache, Path) else None)
        found = {} if store is None else store.find(keys)
        if len({len(vector) for vector in found.values()}) > 1:
            _log.warning("%s: the cache holds vectors of several widths; all are encoded anew", self.name)
            found = {}
        todo = sorted((i for i, key in enumerate(keys) if key not in found), key=lambda i: -sizes[i])
        self.cached += len(keys) - len(todo)
        began = time.perf_counter()
        waiting: dict[bytes, np.ndarray] = {}
        try:
            with self._bar(len(todo)) as advance:
                for begin in range(0, len(todo), self.batch):
                    places = todo[begin : begin + self.batch]
                    rows = self._checked(encode(places), len(places))
                    waiting.update(zip((keys[i] for i in places), rows, strict=True))
                    self.encoded += len(places)
                    advance(len(places))
                    if store is not None and len(waiting) >= _SAVE_EVERY:
                        store.add(waiting.items())
                        found.update(waiting)
                        waiting = {}
        finally:
            if store is not None and waiting:
                store.add(waiting.items())
        found.update(waiting)
        if todo:
            rate = len(todo) / max(time.perf_counter() - began, 1e-9)
            known = len(keys) - len(todo)
            _log.info("%s: encoded %d %s (%.0f/s), %d were known", self.name, len(todo), self.unit, rate, known)
        return found

    def _checked(self, rows: Any, count: int) -> np.ndarray:
        vectors = np.asarray(rows, dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != count or not vectors.shape[1]:
            raise DataError(f"{self.name} gave an array of shape {vectors.shape} for {count} {self.unit}; need [n, d]")
        if not np.isfinite(vectors).all():
            raise DataError(f"{self.name} gave NaN or infinite numbers; use another precision or encoder")
        return vectors

    @contextmanager
    def _bar(self, total: int) -> Iterator[Callable[[int], None]]:
        console = Console(file=sys.stderr)
        if not total or not self.progress or not console.is_terminal:
            yield lambda _: None
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn(f"{{task.completed}} of {{task.total}} {self.unit}, {{task.fields[rate]:,.0f}}/s"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        ) as bar:
            task = bar.add_task(self.name, total=total, rate=0.0)
            yield lambda done: bar.update(task, advance=done, rate=bar.tasks[0].speed or 0.0)
