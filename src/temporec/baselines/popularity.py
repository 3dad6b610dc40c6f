"""The same list for everybody: what is popular, with old events counting less."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import PositiveFloat
from torch import Tensor

from temporec import registry
from temporec.baselines.base import Baseline, BaselineConfig
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset

__all__ = ["Popularity", "PopularityConfig"]

DAY = 86_400_000  # milliseconds


class PopularityConfig(BaselineConfig):
    """How events are counted.

    Args:
        half_life_days: an event this many days before the end of the log counts half; None = all count the same.
    """

    half_life_days: PositiveFloat | None = None


@registry.register("baseline", "popularity")
class Popularity(Baseline):
    """Counts with a half-life, taken at the end of the training log.

    The score is the log of the item's share of the decayed counts, with a small part of its share of all events.
    """

    kind = "baseline:popularity"
    Config: ClassVar[type[BaselineConfig]] = PopularityConfig
    scoring_options = frozenset[str]()
    config: PopularityConfig

    @classmethod
    def grid(cls) -> list[BaselineConfig]:
        return [PopularityConfig(half_life_days=days) for days in (None, 365.0, 90.0, 30.0, 7.0, 1.0)]

    def learn(self, dataset: Dataset) -> None:
        log, half = dataset.interactions, self.config.half_life_days
        recent = self.share
        if half is not None and log.has_time:
            days = (int(log.time.max()) - log.time) / DAY
            counts = np.bincount(log.item, np.exp2(-days / half), self.catalog.size)
            recent = counts / counts.sum()
        mixed = self.config.popularity_share
        with np.errstate(divide="ignore"):
            self.restore({"scores": np.log((1 - mixed) * recent + mixed * self.share).astype(np.float32)})

    def remember(self, dataset: Dataset, exclude_seen: bool | None = None) -> None:
        super().remember(dataset, exclude_seen)
        if hasattr(self, "_scores"):
            self.popularity = self._scores

    def known_scores(self, histories: Histories) -> Tensor:
        return self._scores.repeat(len(histories), 1)

    def state(self) -> dict[str, np.ndarray]:
        return {"scores": self._scores.numpy()}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self.popularity = self._scores = torch.from_numpy(arrays["scores"])
