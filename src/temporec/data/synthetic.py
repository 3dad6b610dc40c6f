"""Logs and series with a known best score: what can be learned must be learned, and noise must not be.

    markov_log  the next item depends on the last `order` items        best hit rate: `MarkovProcess.best_hit_rate`
    lag_log     the answer is decided by the event `lag` events before best hit rate of the last event: 1
    time_log    the next item depends on an item and a time gap        best hit rate: 1 with times, 1/2 without
    random_log  nothing to learn, Zipf popularity, any size            for tests of scale
    sine_series a sine and Gaussian noise                              best errors: `SineSeries`

Users are 0, 1, ... and items 1, 2, ...; times start at 2024-01-01 UTC.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.errors import DataError
from temporec.runtime import random_state

__all__ = [
    "MarkovProcess",
    "SineSeries",
    "lag_log",
    "markov_log",
    "random_log",
    "sine_series",
    "time_log",
]

START = 1_704_067_200_000  # 2024-01-01 in milliseconds
HOUR = 3_600_000
_MOST_CELLS = 50_000_000


@dataclass(frozen=True)
class MarkovProcess:
    """The next item is drawn from a distribution of its own for every sequence of `order` items.

    The distributions are Dirichlet: `concentration` 1e-3 makes them nearly deterministic, 1e2 nearly uniform.
    """

    items: int = 50
    order: int = 1
    concentration: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.items < 1 or self.order < 1 or not self.concentration > 0:
            raise DataError("a Markov process needs items >= 1, order >= 1 and concentration > 0")
        if self.items ** (self.order + 1) > _MOST_CELLS:
            raise DataError(
                f"{self.items} items at order {self.order} are too many; items^(order + 1) <= {_MOST_CELLS:,}"
            )

    @cached_property
    def table(self) -> np.ndarray:
        """Probability of each next item (columns: item - 1) after each context, float64 [items^order, items]."""
        rng = random_state(self.seed, 1)
        return rng.dirichlet(np.full(self.items, self.concentration), size=self.items**self.order)

    def contexts(self, recent: np.ndarray) -> np.ndarray:
        """Rows of `table` for the last `order` items, oldest first, int [B, order]."""
        powers = self.items ** np.arange(self.order - 1, -1, -1)
        return np.asarray((recent.astype(np.int64) - 1) @ powers)

    def sample(self, users: int, length: int) -> Dataset:
        """A log in which every user has `length` events, one an hour; the first `order` items are uniform."""
        rng = random_state(self.seed, 2)
        items = rng.integers(1, self.items + 1, size=(users, length))
        bounds = np.cumsum(self.table, axis=1)
        for t in range(self.order, length):
            row = bounds[self.contexts(items[:, t - self.order : t])]
            drawn = (row <= rng.random(users)[:, None] * row[:, -1:]).sum(axis=1)
            items[:, t] = np.minimum(drawn, self.items - 1) + 1
        return _dataset(items, _hourly(users, length), self.items)

    def best_hit_rate(self, histories: Histories, k: int = 1) -> float:
        """What no model can beat on average: the mean probability of the k likeliest next items after each history.

        Item numbers must be those of `sample` (item i has the number i); histories shorter than `order` do not count.
        """
        long = np.flatnonzero(histories.lengths >= self.order)
        if not len(long):
            raise DataError(f"no history has {self.order} events")
        last = histories.offsets[1:][long][:, None] + np.arange(-self.order, 0)
        rows = self.table[self.contexts(histories.items[last])]
        return float(np.sort(rows, axis=1)[:, ::-1][:, :k].sum(axis=1).mean())


def markov_log(
    users: int = 500, length: int = 20, items: int = 50, order: int = 1, concentration: float = 1e-2, seed: int = 0
) -> Dataset:
    """A log of a `MarkovProcess`."""
    return MarkovProcess(items, order, concentration, seed).sample(users, length)


def lag_log(lag: int, users: int = 500, items: int = 40, blocks: int = 3, seed: int = 0) -> Dataset:
    """A long-memory log: blocks of a marker, lag - 1 fillers and the marker's own answer.

    A quarter of the items are markers, a quarter answers (marker i has the answer i + items // 4), the rest fillers;
    markers and fillers are uniform. Every user has `blocks` blocks after some fillers, and ends with an answer, so
    that with leave-last-out the best test hit rate at 1 is 1; without memory over `lag` events it is 4 / items.
    """
    quarter = items // 4
    if lag < 1 or quarter < 2 or blocks < 2:
        raise DataError(f"a lag log needs lag >= 1, items >= 8 and blocks >= 2; got {lag}, {items}, {blocks}")
    rng = random_state(seed)
    phase = int(rng.integers(0, lag + 1))
    length = blocks * (lag + 1) + phase
    log = rng.integers(2 * quarter + 1, items + 1, size=(users, length))
    markers = rng.integers(1, quarter + 1, size=(users, blocks))
    start = phase + np.arange(blocks) * (lag + 1)
    log[:, start] = markers
    log[:, start + lag] = markers + quarter
    return _dataset(log, _hourly(users, length), items)


def time_log(
    users: int = 500,
    length: int = 20,
    items: int = 30,
    decided_by: Literal["last_gap", "target_gap"] = "last_gap",
    seed: int = 0,
) -> Dataset:
    """Gaps of an hour or a week (+-10 %), each half the time; the gap chooses between two successors of an item.

    Args:
        decided_by: "last_gap": the gap before the last event, part of the history, decides; "target_gap": the gap
            between the last event and the target, known only where the request time `at` is given.
    """
    if items < 3:
        raise DataError("a time log needs at least 3 items")
    rng = random_state(seed)
    short = rng.permutation(items)
    long = np.roll(short, int(rng.integers(1, items)))  # differs from `short` everywhere
    is_long = rng.random((users, length)) < 0.5  # the gap before event t
    log = np.empty((users, length), dtype=np.int64)
    log[:, 0] = rng.integers(0, items, users)
    for t in range(1, length):
        gap = is_long[:, t - 1 if decided_by == "last_gap" else t]
        log[:, t] = np.where(gap, long[log[:, t - 1]], short[log[:, t - 1]])
    jitter = rng.uniform(0.9, 1.1, size=(users, length))
    gaps = np.where(is_long, 168 * HOUR, HOUR) * jitter
    gaps[:, 0] = 0.0 if decided_by == "target_gap" else gaps[:, 0]
    return _dataset(log + 1, START + np.cumsum(gaps.astype(np.int64), axis=1), items)


def random_log(events: int, users: int, items: int, exponent: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Independent events as a raw frame (user int32, item int32, time int64 in milliseconds over a year), unsorted.

    The item of rank r has a popularity proportional to 1 / r^exponent, users are uniform. 25 million events take
    seconds.
    """
    rng = random_state(seed)
    weights = np.arange(1, items + 1, dtype=np.float64) ** -exponent
    buckets = max(1 << 22, 8 * items)  # a table of quantiles instead of a search for every event
    quantiles = (np.arange(buckets) + 0.5) / buckets * weights.sum()
    ranks = np.minimum(np.searchsorted(np.cumsum(weights), quantiles), items - 1).astype(np.int32)
    names = rng.permutation(items).astype(np.int32) + 1
    item = names[ranks[rng.integers(0, buckets, events, dtype=np.int32)]]
    user = rng.integers(0, users, events, dtype=np.int32)
    return pl.DataFrame({"user": user, "item": item, "time": START + rng.integers(0, 365 * 24 * HOUR, events)})


@dataclass(frozen=True, slots=True, eq=False)
class SineSeries:
    """values = clean + noise. No forecast has smaller expected errors than `clean` itself."""

    values: np.ndarray  # float64 [n]
    clean: np.ndarray  # float64 [n]
    noise: float  # standard deviation

    @property
    def best_rmse(self) -> float:
        """Root mean squared error of the clean series: the noise's standard deviation."""
        return self.noise

    @property
    def best_mae(self) -> float:
        """Mean absolute error of the clean series: noise times sqrt(2 / pi)."""
        return self.noise * float(np.sqrt(2 / np.pi))


def sine_series(length: int, period: float = 24.0, noise: float = 0.1, seed: int = 0) -> SineSeries:
    """A sine of amplitude 1 with independent Gaussian noise."""
    clean = np.sin(2 * np.pi * np.arange(length) / period)
    return SineSeries(clean + random_state(seed).normal(0.0, noise, length), clean, noise)


def _hourly(users: int, length: int) -> np.ndarray:
    return np.broadcast_to(START + np.arange(length, dtype=np.int64) * HOUR, (users, length))


def _dataset(items: np.ndarray, times: np.ndarray, size: int) -> Dataset:
    """A data set from tables [users, length]; all items 1..size are in the catalog, as their own number."""
    users = np.repeat(np.arange(len(items)), items.shape[1])
    frame = pl.DataFrame({"user": users, "item": items.ravel(), "time": np.ascontiguousarray(times).ravel()})
    return build_dataset(frame, pl.DataFrame({"item": np.arange(1, size + 1)}))
