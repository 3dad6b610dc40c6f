"""EASE: item weights in closed form (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019)."""

from typing import ClassVar

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from scipy import sparse

from temporec import registry
from temporec.baselines.base import Baseline, BaselineConfig, last_events
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.errors import ConfigError

__all__ = ["Ease", "EaseConfig"]


class EaseConfig(BaselineConfig):
    """Regularisation, and a guard for memory.

    Args:
        l2: added to the diagonal of the item-item matrix.
        max_items: a larger catalog is refused; the fit holds about three V x V matrices of 4-byte numbers.
    """

    l2: PositiveFloat = 250.0
    max_items: PositiveInt = 20_000


@registry.register("baseline", "ease")
class Ease(Baseline):
    """The item-item matrix B with zero diagonal that minimises |X - X B|^2 + l2 |B|^2, X = distinct (user, item).

    The weight of an item is its prediction from the distinct items of the history; order and time do not matter.
    """

    kind = "baseline:ease"
    Config: ClassVar[type[BaselineConfig]] = EaseConfig
    scoring_options = frozenset({"popularity_share", "max_items"})
    config: EaseConfig

    @classmethod
    def grid(cls) -> list[BaselineConfig]:
        return [EaseConfig(l2=l2) for l2 in (250.0, 50.0, 1000.0)]

    def learn(self, dataset: Dataset) -> None:
        items = len(self.catalog)
        if items > self.config.max_items:
            raise ConfigError(
                f"ease needs about {3 * 4 * items**2 / 2**30:.0f} GiB for {items:,} items; max_items is "
                f"{self.config.max_items:,}. Use item_knn, drop rare items, or raise max_items."
            )
        log = dataset.interactions
        key = np.unique(log.user.astype(np.int64) * items + log.item - 1)
        seen = sparse.csr_array(
            (np.ones(len(key), np.float32), (key // items, key % items)), (len(log.users), items)
        )  # fmt: skip
        gram = torch.from_numpy((seen.T @ seen).toarray())
        gram.diagonal().add_(self.config.l2)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        del gram
        inverse = inverse.contiguous()  # by rows: a request reads the rows of its items
        inverse /= -inverse.diagonal().clone()
        inverse.fill_diagonal_(0.0)
        self.restore({"item_weights": inverse.numpy()})

    def weights(self, histories: Histories) -> np.ndarray:
        last = last_events(histories)
        key = np.unique(last.row * len(self.share) + last.items)
        row, item = key // len(self.share), key % len(self.share)
        offsets = np.searchsorted(row, np.arange(len(histories) + 1))
        shape = (len(histories), len(self._weights))
        seen = sparse.csr_array((np.ones(len(key), np.float32), item - 1, offsets), shape)
        result = np.zeros((len(histories), len(self.share)), dtype=np.float32)
        result[:, 1:] = seen @ self._weights
        return result

    def state(self) -> dict[str, np.ndarray]:
        return {"item_weights": self._weights}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self._weights = arrays["item_weights"]  # float32 [V, V]
