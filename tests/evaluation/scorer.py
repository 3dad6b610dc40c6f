"""A recommender whose scores are a plain function of the history, and small logs."""

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.recommend.base import Recommender

DAY = 86_400_000


class Scorer(Recommender):
    """Small whole numbers, so that ties are everywhere; the same buffer at every call."""

    kind = "test"

    def __init__(self, dataset: Dataset, levels: int = 5, exclude_seen: bool = True) -> None:
        self.remember(dataset, exclude_seen)
        self.levels = levels
        self.buffer = torch.zeros(1024, dataset.catalog.size)
        self.calls = 0

    def score(self, histories: Histories) -> Tensor:
        self.calls += 1
        numbers = torch.arange(self.catalog.size)
        for b in range(len(histories)):
            last = histories.items[histories.offsets[b] : histories.offsets[b + 1]][-3:].astype(np.int64)
            self.buffer[b] = ((numbers * 7 + int(last.sum()) * 3) % 11 % self.levels).float()
        return self.buffer[: len(histories)]

    def write(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def read(cls, folder: Path, dataset: Dataset) -> Self:
        raise NotImplementedError


def random_log(users: int = 60, items: int = 30, events: int = 900, seed: int = 0) -> pl.DataFrame:
    """A log with items of falling popularity; user ids are text, item ids numbers from 100 on."""
    rng = np.random.default_rng(seed)
    chance = 1.0 / np.arange(1, items + 1)
    return pl.DataFrame(
        {
            "user": [f"u{n:03}" for n in rng.integers(0, users, events)],
            "item": 100 + rng.choice(items, events, p=chance / chance.sum()),
            "time": np.sort(rng.integers(0, 100 * DAY, events)),
        }
    )


def random_dataset(**sizes: int) -> Dataset:
    return build_dataset(random_log(**sizes))
