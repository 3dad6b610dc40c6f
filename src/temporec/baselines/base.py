"""What the baselines share: fit, state as plain arrays, scores that are log-probabilities."""

import copy
import json
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse
from torch import Tensor

from temporec.config import Config
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.errors import CheckpointError, ConfigError
from temporec.recommend.base import Recommender

__all__ = ["Baseline", "BaselineConfig", "LastEvents", "last_events"]


class BaselineConfig(Config):
    """Options that every baseline has.

    Args:
        popularity_share: share of plain popularity in the probabilities; it orders items about which nothing is known.
    """

    popularity_share: float = Field(default=0.001, gt=0.0, lt=1.0)


class Baseline(Recommender):
    """A recommender without a neural network. Scores are natural logarithms of probabilities.

    Where a method gives weights and not probabilities, they are brought to a sum of 1 per history (negative weights
    count as 0) and mixed with popularity; this keeps their order. Scores depend on the given events and on what was
    fitted, never on who asks. An empty history gets `popularity`.

    A subclass has `Config`, `learn`, `weights` (or `known_scores`), `state`, `restore` and `grid`.
    """

    Config: ClassVar[type[BaselineConfig]] = BaselineConfig
    scoring_options: ClassVar[frozenset[str]] = frozenset({"popularity_share"})  # these need no new fit
    config: BaselineConfig
    share: np.ndarray  # float32 [V + 1], each item's share of the training events; a little above 0 everywhere

    def __init__(self, config: BaselineConfig | None = None) -> None:
        self.config = config or self.Config()
        if not isinstance(self.config, self.Config):
            raise ConfigError(f"{self.kind} takes a {self.Config.__name__}; got a {type(self.config).__name__}")

    def fit(self, dataset: Dataset, exclude_seen: bool | None = None) -> Self:
        """Learn from all events of a data set, and remember its catalog and histories."""
        Recommender.remember(self, dataset, exclude_seen)  # plain counts, not what an earlier fit left
        self.share = np.exp(self.popularity.numpy())
        self.share[0] = 0.0
        self.share /= self.share.sum()
        self.learn(dataset)
        return self

    @abstractmethod
    def learn(self, dataset: Dataset) -> None:
        """Compute what `score` needs."""

    @classmethod
    def grid(cls) -> list[BaselineConfig]:
        """Configs to choose from on validation; the first is the default, and wins a tie."""
        return [cls.Config()]

    def with_config(self, config: BaselineConfig) -> Self | None:
        """This fitted baseline under another config, or None where that needs a new fit."""
        old, new = self.config.to_dict(), config.to_dict()
        if any(old[name] != new[name] for name in old if name not in self.scoring_options):
            return None
        other = copy.copy(self)
        other.config = config
        return other

    def score(self, histories: Histories) -> Tensor:
        """Log-probability of every item as the next one, float32 [B, V + 1]; column 0 is -inf. A new tensor."""
        scores = self.known_scores(histories)
        empty = histories.lengths == 0
        if empty.any():
            scores[torch.from_numpy(empty)] = self.popularity
        scores[:, 0] = -torch.inf
        return scores

    def known_scores(self, histories: Histories) -> Tensor:
        """Scores float32 [B, V + 1]; rows of empty histories and column 0 do not matter."""
        weights = self.weights(histories)
        np.maximum(weights, 0.0, out=weights)
        weights[:, 0] = 0.0
        total = weights.sum(axis=1, keepdims=True)
        mixed = self.config.popularity_share
        weights *= np.divide(1.0 - mixed, total, out=np.zeros_like(total), where=total > 0)
        weights += np.where(total > 0, np.float32(mixed), np.float32(1.0)) * self.share
        return torch.from_numpy(weights).log_()

    def weights(self, histories: Histories) -> np.ndarray:
        """Non-negative weights float32 [B, V + 1], not normalised, in a new array."""
        raise NotImplementedError(f"{type(self).__name__} must define weights or known_scores")

    def add_items(self, items: pl.DataFrame) -> int:
        """Refuse new items: only a model with texts of items can place them."""
        raise ConfigError(f"{self.kind} knows items by their events alone; fit a model with texts of items (--items)")

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that was learned, as arrays."""

    @abstractmethod
    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """The inverse of `state`."""

    def save_state(self, folder: Path) -> None:
        """Write baseline.json and baseline.safetensors; the data set is written by `save`."""
        plain = {"kind": self.kind, "exclude_seen": self.exclude_seen, "config": self.config.to_dict()}
        (folder / "baseline.json").write_text(json.dumps(plain, indent=2), encoding="utf-8")
        arrays = {"share": self.share, **self.state()}
        plain_arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(plain_arrays, folder / "baseline.safetensors")

    def load_state(self, folder: Path) -> None:
        """The inverse of `save_state`, into a baseline that has its data set already."""
        try:
            plain = json.loads((folder / "baseline.json").read_text(encoding="utf-8"))
            self.config, self.exclude_seen = self.Config.of(plain["config"]), bool(plain["exclude_seen"])
            arrays = load_file(folder / "baseline.safetensors")
            self.share = arrays.pop("share")
            if len(self.share) != self.catalog.size:
                raise ValueError(f"it was fitted on {len(self.share) - 1} items, the catalog has {len(self.catalog)}")
            self.restore(arrays)
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise CheckpointError(f"{folder} cannot be loaded: {' '.join(str(error).split())[:300]}") from None

    def write(self, folder: Path) -> None:
        self.save_state(folder)

    @classmethod
    def read(cls, folder: Path, dataset: Dataset) -> Self:
        made = cls()
        made.remember(dataset)
        made.load_state(folder)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class LastEvents:
    """The newest events of B histories back to back, oldest first."""

    items: np.ndarray  # int32 [M]
    age: np.ndarray  # int64 [M], 0 = the newest event of its history
    offsets: np.ndarray  # int64 [B + 1]

    @property
    def row(self) -> np.ndarray:
        """Number of the history of each event, int64 [M]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def matrix(self, values: np.ndarray, size: int) -> sparse.csr_array:
        """One row per history with a value for each event, [B, size]; an item that comes twice adds up in products."""
        return sparse.csr_array((values.astype(np.float32), self.items, self.offsets), (len(self.offsets) - 1, size))


def last_events(histories: Histories, count: int | None = None) -> LastEvents:
    """The last `count` events of every history; None = all of them."""
    lengths = histories.lengths if count is None else np.minimum(histories.lengths, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    place = np.arange(offsets[-1])
    items = histories.items[np.repeat(histories.offsets[1:] - offsets[1:], lengths) + place]
    return LastEvents(items, np.repeat(offsets[1:], lengths) - 1 - place, offsets)
