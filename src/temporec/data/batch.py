"""What a model eats: right-padded tensors with their shapes beside them."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Histories", "SequenceBatch", "pad_rows"]


@dataclass(frozen=True, slots=True)
class SequenceBatch:
    """Right-padded event sequences; positions `>= lengths` hold zeros and must not matter.

    `dt[b, t]` is the gap before event t in seconds (0 at t = 0 and where the log has no time).
    """

    items: Tensor  # [B, T] int64 item numbers, PAD = 0
    times: Tensor  # [B, T] int64 milliseconds since epoch
    dt: Tensor  # [B, T] float32 seconds since the event before
    lengths: Tensor  # [B] int64
    targets: Tensor | None = None  # [B, T] int64 item to predict after each event, 0 = none
    gap: Tensor | None = None  # [B, T] float32 seconds from event t to its target, or to the request time `at`
    kinds: Tensor | None = None  # [B, T] int64 event kind + 1, 0 = none
    values: Tensor | None = None  # [B, T] float32

    def to(self, device: torch.device) -> "SequenceBatch":
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = None if value is None else value.to(device, non_blocking=True)
        return replace(self, **moved)

    @property
    def mask(self) -> Tensor:
        """Valid positions, bool [B, T]."""
        return torch.arange(self.items.shape[1], device=self.items.device)[None, :] < self.lengths[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """B histories back to back (CSR): history b is `items[offsets[b]:offsets[b + 1]]`, oldest event first.

    This is what every recommender scores: the events that are known at the moment of the request, and nothing else.
    """

    items: np.ndarray  # int32 [M]
    times: np.ndarray  # int64 [M] milliseconds since epoch
    offsets: np.ndarray  # int64 [B + 1]
    at: np.ndarray | None = None  # int64 [B] request time in milliseconds, None = unknown
    users: np.ndarray | None = None  # int32 [B] user numbers, -1 = anonymous
    has_time: bool = True
    kinds: np.ndarray | None = None  # int16 [M]
    values: np.ndarray | None = None  # float32 [M]
    extra: Tensor | None = None  # [E, D] input vectors of events that are no items: numbers from the table's size on

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        lengths: np.ndarray = self.offsets[1:] - self.offsets[:-1]  # np.diff takes three times as long
        return lengths

    def rows(self, rows: np.ndarray) -> "Histories":
        """Some of the histories, in the given order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        flat = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Histories(
            self.items[flat], self.times[flat], offsets, None if self.at is None else self.at[rows],
            None if self.users is None else self.users[rows], self.has_time,
            None if self.kinds is None else self.kinds[flat], None if self.values is None else self.values[flat],
            self.extra,
        )  # fmt: skip

    def first(self, counts: np.ndarray) -> "Histories":
        """Only the first so many events of every history."""
        kept = np.arange(len(self.items)) - np.repeat(self.offsets[:-1], self.lengths) < np.repeat(counts, self.lengths)
        return replace(
            self,
            items=self.items[kept],
            times=self.times[kept],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            kinds=None if self.kinds is None else self.kinds[kept],
            values=None if self.values is None else self.values[kept],
        )

    def until(self, at: np.ndarray | None) -> "Histories":
        """Only the events up to some moments [B] in milliseconds; all for None, and where there are no times."""
        if at is None or not self.has_time:
            return self
        rows = np.repeat(np.arange(len(self)), self.lengths)
        return self.first(np.bincount(rows[self.times <= at[rows]], minlength=len(self)))

    def followed_by(self, later: "Histories") -> "Histories":
        """One history and the events of another one behind it."""
        return Histories(
            np.concatenate([self.items, later.items]), np.concatenate([self.times, later.times]),
            np.asarray([0, len(self.items) + len(later.items)]), self.at, None, self.has_time,
            _joined(self.kinds, later.kinds), _joined(self.values, later.values), later.extra,
        )  # fmt: skip

    def starts(self, last: int | None = None) -> np.ndarray:
        """Where the last so many events of every history begin, as rows of `items`; None = all events."""
        first = self.offsets[:-1]
        return first if last is None else np.maximum(first, self.offsets[1:] - last)

    def batch(self, starts: np.ndarray) -> SequenceBatch:
        """The events from `starts` on as one right-padded batch; empty histories have length 0.

        They stay parts of their histories: `dt[:, 0]` is the gap to the event before, where there is one.
        """
        batch = pad_rows(self.items, self.times, starts, self.offsets[1:], has_time=self.has_time)
        if self.has_time and (later := np.flatnonzero(starts > self.offsets[:-1])).size:
            later = later[starts[later] < self.offsets[1:][later]]
            seconds = (self.times[starts[later]] - self.times[starts[later] - 1]) / 1000.0
            batch.dt[torch.from_numpy(later), 0] = torch.from_numpy(seconds.astype(np.float32))
        last = np.maximum(batch.lengths.numpy() - 1, 0)
        gap = torch.zeros_like(batch.dt)
        if self.at is not None and self.has_time:
            final = batch.times.numpy()[np.arange(len(self)), last]
            gap[torch.arange(len(self)), torch.from_numpy(last)] = self._seconds_to_request(final)
        return replace(batch, gap=gap)

    def gap(self) -> Tensor | None:
        """Seconds from the last event to the request, float32 [B], of histories that are not empty; None = no times."""
        if self.at is None or not self.has_time:
            return None
        return self._seconds_to_request(self.times[self.offsets[1:] - 1])

    def _seconds_to_request(self, last: np.ndarray) -> Tensor:
        return torch.from_numpy((np.maximum(self.at - last, 0) / 1000.0).astype(np.float32))


def _joined(first: np.ndarray | None, later: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or later is None else np.concatenate([first, later])


def pad_rows(
    items: np.ndarray, times: np.ndarray, starts: np.ndarray, ends: np.ndarray, *, has_time: bool = True
) -> SequenceBatch:
    """Gather the windows [starts[b], ends[b]) into one right-padded batch (no targets)."""
    lengths = ends - starts
    width = max(1, int(lengths.max(initial=1)))
    steps = np.arange(width)
    valid = steps[None, :] < lengths[:, None]
    index = np.where(valid, starts[:, None] + steps[None, :], 0)
    if len(items) == 0:
        items, times = np.zeros(1, np.int32), np.zeros(1, np.int64)
    x = np.where(valid, items[index], 0).astype(np.int64)
    t = np.where(valid, times[index], 0)
    dt = np.zeros(x.shape, dtype=np.float32)
    if has_time:
        dt[:, 1:] = np.where(valid[:, 1:], (t[:, 1:] - t[:, :-1]) / 1000.0, 0.0)
    return SequenceBatch(
        torch.from_numpy(x), torch.from_numpy(t), torch.from_numpy(dt), torch.from_numpy(lengths.astype(np.int64))
    )
