"""Training windows by index, and batches of a token budget. Nothing is copied until a batch is gathered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from temporec.data.batch import SequenceBatch, pad_rows
from temporec.data.interactions import Interactions
from temporec.data.split import Target
from temporec.errors import EmptyLogError
from temporec.runtime import random_state

__all__ = ["Sequences"]


@dataclass(frozen=True)
class Sequences:
    """Windows over a log: `max_len` inputs and the target after each; a user's events fill one or more windows.

    With more than `max_len + 1` events, the borders between a user's windows move from epoch to epoch, so that every
    event is a target in every epoch, with varying context. The order of batches is a function of (seed, epoch).
    """

    log: Interactions
    max_len: int = 50
    tokens: int = 1024
    target: Target = "next_event"
    batch: int | None = None  # windows per batch; None = as many as fit into `tokens`

    def __post_init__(self) -> None:
        if not (np.diff(self.log.offsets) >= 2).any():
            raise EmptyLogError("no history has two events, so there is no next item to learn; use a longer log")

    @property
    def positions(self) -> int:
        """Targets per epoch (next_event)."""
        return int(np.maximum(np.diff(self.log.offsets) - 1, 0).sum())

    def windows(self, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends (exclusive) of the input windows of an epoch, row numbers of the log, int64 [W]."""
        first, last = self.log.offsets[:-1], self.log.offsets[1:] - 1  # the last event is a target only
        count = last - first
        long = count > self.max_len
        short = (count >= 1) & ~long
        starts, ends = [first[short]], [last[short]]
        if long.any():
            rng = random_state(seed, epoch, 1)
            head = rng.integers(1, self.max_len + 1, size=int(long.sum()))  # length of the first, cut window
            pieces = 1 + -(-(count[long] - head) // self.max_len)
            row = np.repeat(np.arange(len(pieces)), pieces)
            piece = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
            end = np.minimum(first[long][row] + head[row] + piece * self.max_len, last[long][row])
            starts.append(np.maximum(end - self.max_len, first[long][row]))
            ends.append(end)
        return np.concatenate(starts), np.concatenate(ends)

    def batches(self, seed: int, epoch: int, skip: int = 0) -> Iterator[SequenceBatch]:
        """All windows of an epoch once, bucketed by length inside shuffled pools, shuffled batch by batch."""
        starts, ends = self.windows(seed, epoch)
        for rows in self._plan(ends - starts, random_state(seed, epoch))[skip:]:
            yield self.gather(starts[rows], ends[rows], random_state(seed, epoch, 2, int(rows[0])))

    def count(self, seed: int, epoch: int) -> int:
        """Batches in an epoch."""
        starts, ends = self.windows(seed, epoch)
        return len(self._plan(ends - starts, random_state(seed, epoch)))

    def _plan(self, lengths: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        order = rng.permutation(len(lengths))
        mean = max(1.0, float(lengths.mean()))
        pool = max(1, int(32 * self.tokens / mean))
        plan: list[np.ndarray] = []
        for begin in range(0, len(order), pool):
            rows = order[begin : begin + pool]
            rows = rows[np.argsort(-lengths[rows], kind="stable")]
            at = 0
            while at < len(rows):
                size = self.batch or max(1, self.tokens // int(lengths[rows[at]]))
                plan.append(rows[at : at + size])
                at += size
        return [plan[i] for i in rng.permutation(len(plan))]

    def gather(self, starts: np.ndarray, ends: np.ndarray, rng: np.random.Generator) -> SequenceBatch:
        """One batch with targets and the gap to each target."""
        log = self.log
        batch = pad_rows(log.item, log.time, starts, ends, has_time=log.has_time)
        mask = batch.mask.numpy()
        rows = np.where(mask, starts[:, None] + np.arange(mask.shape[1])[None, :], 0)
        if self.target == "next_event":
            after = np.minimum(rows + 1, len(log) - 1)
        else:
            after, has = self._next_basket(rows, rng)
            mask = mask & has
        targets = np.where(mask, log.item[after], 0).astype(np.int64)
        seconds = (
            np.where(mask, (log.time[after] - log.time[rows]) / 1000.0, 0.0) if log.has_time else np.zeros(mask.shape)
        )
        valid = batch.mask
        return replace(
            batch,
            targets=torch.from_numpy(targets),
            gap=torch.from_numpy(seconds.astype(np.float32)),
            kinds=None if log.kind is None else torch.from_numpy(log.kind[rows].astype(np.int64) + 1) * valid,
            values=None if log.value is None else torch.from_numpy(log.value[rows].astype(np.float32)) * valid,
        )

    def _next_basket(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random event of the basket after each event's own basket, and whether there is one."""
        log = self.log
        user = log.user[rows]
        end = log.offsets[1:][user]
        begin = rows + 1
        ends_of_basket = self._basket_ends
        begin = ends_of_basket[rows]
        has = begin < end
        stop = ends_of_basket[np.minimum(begin, len(log) - 1)]
        draw = begin + (rng.random(rows.shape) * np.maximum(stop - begin, 1)).astype(np.int64)
        return np.where(has, draw, 0), has

    @cached_property
    def _basket_ends(self) -> np.ndarray:
        """For each event, the row after the last event of the same user and time, int64 [N]."""
        log = self.log
        new = np.ones(len(log), dtype=bool)
        new[1:] = (log.user[1:] != log.user[:-1]) | (log.time[1:] != log.time[:-1])
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], len(log))
        return np.repeat(ends, ends - starts)
