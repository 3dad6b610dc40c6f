"""Training windows by index, and batches of a token budget. Nothing is copied until a batch is gathered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from temporec.data.augment import AugmentConfig, augment_batch, crop_windows
from temporec.data.batch import SequenceBatch, pad_rows
from temporec.data.interactions import Interactions
from temporec.data.split import Target
from temporec.errors import EmptyLogError
from temporec.runtime import random_state

__all__ = ["Sequences", "event_marks"]


@dataclass(frozen=True)
class Sequences:
    """Windows over a log: `max_len` inputs and the target after each; a user's events fill one or more windows.

    With more than `max_len + 1` events, the borders between a user's windows move from epoch to epoch, so that every
    event is a target in every epoch, with varying context. Batches, and what augmentation does to them, are a function
    of (seed, epoch, step).
    """

    log: Interactions
    max_len: int = 50
    tokens: int = 1024
    target: Target = "next_event"
    batch: int | None = None  # windows per batch; None = as many as fit into `tokens`
    augment: AugmentConfig | None = None
    neighbours: np.ndarray | None = None  # int [V + 1, k] similar items, 0 = none; for augment.substitute

    def __post_init__(self) -> None:
        if not (np.diff(self.log.offsets) >= 2).any():
            raise EmptyLogError("no history has two events, so there is no next item to learn; use a longer log")

    @property
    def positions(self) -> int:
        """Targets per epoch (next_event)."""
        return int(np.maximum(np.diff(self.log.offsets) - 1, 0).sum())

    def windows(self, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Input windows of an epoch before any crop, as rows of the log, int64 [W] each.

        Starts, ends (exclusive), and the first input whose target is new: a window reaches back for context, and what
        it shares with the window before it is no target again.
        """
        first, last = self.log.offsets[:-1], self.log.offsets[1:] - 1  # the last event is a target only
        count = last - first
        long = count > self.max_len
        short = (count >= 1) & ~long
        starts, ends, new = [first[short]], [last[short]], [first[short]]
        if long.any():
            rng = random_state(seed, epoch, 1)
            head = rng.integers(1, self.max_len + 1, size=int(long.sum()))  # length of the first, cut window
            pieces = 1 + -(-(count[long] - head) // self.max_len)
            row = np.repeat(np.arange(len(pieces)), pieces)
            piece = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
            end = np.minimum(first[long][row] + head[row] + piece * self.max_len, last[long][row])
            starts.append(np.maximum(end - self.max_len, first[long][row]))
            ends.append(end)
            new.append(first[long][row] + np.where(piece > 0, head[row] + (piece - 1) * self.max_len, 0))
        return np.concatenate(starts), np.concatenate(ends), np.concatenate(new)

    def batches(self, seed: int, epoch: int, skip: int = 0) -> Iterator[SequenceBatch]:
        """All windows of an epoch once, bucketed by length inside shuffled pools, shuffled batch by batch."""
        starts, ends, new = self._cropped(seed, epoch)
        for rows in self._plan(ends - starts, random_state(seed, epoch))[skip:]:
            rng = random_state(seed, epoch, 2, int(rows[0]))
            batch = self.gather(starts[rows], ends[rows], new[rows], rng)
            yield batch if self.augment is None else augment_batch(batch, self.augment, rng, self.neighbours)

    def count(self, seed: int, epoch: int) -> int:
        """Batches in an epoch."""
        starts, ends, _ = self._cropped(seed, epoch)
        return len(self._plan(ends - starts, random_state(seed, epoch)))

    def _cropped(self, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        starts, ends, new = self.windows(seed, epoch)
        if self.augment is None or not (self.augment.crop or self.augment.prefix):
            return starts, ends, new
        return *crop_windows(starts, ends, self.augment, random_state(seed, epoch, 3)), new

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

    def gather(self, starts: np.ndarray, ends: np.ndarray, new: np.ndarray, rng: np.random.Generator) -> SequenceBatch:
        """One batch with targets from `new` on and the gap to each target."""
        log = self.log
        batch = pad_rows(log.item, log.time, starts, ends, has_time=log.has_time)
        mask = batch.mask.numpy()
        rows = np.where(mask, starts[:, None] + np.arange(mask.shape[1])[None, :], 0)
        mask = mask & (rows >= new[:, None])
        if self.target == "next_event":
            after = np.minimum(rows + 1, len(log) - 1)
        else:
            after, has = self._next_basket(rows, rng)
            mask = mask & has
        targets = np.where(mask, log.item[after], 0).astype(np.int64)
        seconds = (
            np.where(mask, (log.time[after] - log.time[rows]) / 1000.0, 0.0) if log.has_time else np.zeros(mask.shape)
        )
        kinds, values = event_marks(log.kind, log.value, rows, batch.mask, self._mean_value)
        gap = torch.from_numpy(seconds.astype(np.float32))
        return replace(batch, targets=torch.from_numpy(targets), gap=gap, kinds=kinds, values=values)

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
    def _mean_value(self) -> float:
        known = np.zeros(0) if self.log.value is None else self.log.value[np.isfinite(self.log.value)]
        return float(known.mean(dtype=np.float64)) if len(known) else 0.0

    @cached_property
    def _basket_ends(self) -> np.ndarray:
        """For each event, the row after the last event of the same user and time, int64 [N]."""
        log = self.log
        new = np.ones(len(log), dtype=bool)
        new[1:] = (log.user[1:] != log.user[:-1]) | (log.time[1:] != log.time[:-1])
        starts = np.flatnonzero(new)
        ends = np.append(starts[1:], len(log))
        return np.repeat(ends, ends - starts)


def event_marks(
    kinds: np.ndarray | None, values: np.ndarray | None, rows: np.ndarray, valid: Tensor, mean: float
) -> tuple[Tensor | None, Tensor | None]:
    """Kinds and values of a batch as in `SequenceBatch`, each [B, T], from the events at `rows` [B, T].

    Args:
        kinds: int16 [N], -1 = unknown; None = the log has none.
        values: float32 [N]; None = the log has none.
        valid: bool [B, T]; other positions are zero.
        mean: stands for a missing value.
    """
    found = None if kinds is None else torch.from_numpy(kinds[rows].astype(np.int64) + 1) * valid
    if values is None:
        return found, None
    return found, torch.from_numpy(values[rows].astype(np.float32)).nan_to_num(nan=mean) * valid
