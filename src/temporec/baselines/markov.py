"""What comes after what: a Markov chain over the last few events."""

from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import sparse
from torch import Tensor, from_numpy

from temporec import registry
from temporec.baselines.base import Baseline, BaselineConfig, last_events
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset

__all__ = ["Markov", "MarkovConfig"]


class MarkovConfig(BaselineConfig):
    """How far back a transition reaches.

    Args:
        lags: pairs up to this distance are counted, and so many last events vote.
        decay: weight of lag l is decay^(l - 1), both in counting and in voting.
        smoothing: popularity counts like this many transitions more in each row.
    """

    lags: PositiveInt = 5
    decay: float = Field(default=0.6, gt=0.0, le=1.0)
    smoothing: PositiveFloat = 5.0


@registry.register("baseline", "markov")
class Markov(Baseline):
    """Transition counts c(i, j) with lag decay; P(j | i) = (c(i, j) + s p(j)) / (c(i) + s), p = popularity.

    The score is log of the average of P(. | i) over the last `lags` events, weighted by their lag.
    """

    kind = "baseline:markov"
    Config: ClassVar[type[BaselineConfig]] = MarkovConfig
    scoring_options = frozenset({"popularity_share", "smoothing"})
    config: MarkovConfig

    @classmethod
    def grid(cls) -> list[BaselineConfig]:
        shapes = [(5, 0.6), (1, 1.0), (3, 0.8), (10, 0.7), (10, 0.85)]
        return [
            MarkovConfig(lags=lags, decay=decay, smoothing=smoothing)
            for lags, decay in shapes
            for smoothing in (5.0, 30.0, 100.0)
        ]

    def learn(self, dataset: Dataset) -> None:
        log, size = dataset.interactions, self.catalog.size
        counts = sparse.csr_array((size, size), dtype=np.float32)
        for lag in range(1, self.config.lags + 1):
            before, after = slice(0, max(0, len(log) - lag)), slice(lag, None)
            same = log.user[before] == log.user[after]
            pairs = (log.item[before][same], log.item[after][same])
            weight = np.full(len(pairs[0]), self.config.decay ** (lag - 1), dtype=np.float32)
            counts = counts + sparse.coo_array((weight, pairs), (size, size)).tocsr()
        self._set(counts)

    def _set(self, counts: sparse.csr_array) -> None:
        counts.sort_indices()
        self._counts = counts
        self._totals = np.asarray(counts.sum(axis=1), dtype=np.float32).ravel()

    def known_scores(self, histories: Histories) -> Tensor:
        smoothing = self.config.smoothing
        last = last_events(histories, self.config.lags)
        weight = self.config.decay**last.age
        sums = np.bincount(last.row, weight, len(histories))
        weight = weight / sums[last.row] / (self._totals[last.items] + smoothing)
        scores = (last.matrix(weight, len(self.share)) @ self._counts).toarray()
        rest = smoothing * np.bincount(last.row, weight, len(histories))
        scores += rest.astype(np.float32)[:, None] * self.share
        scores[histories.lengths == 0] = self.share
        return from_numpy(scores).log_()

    def state(self) -> dict[str, np.ndarray]:
        counts = self._counts
        return {
            "counts": counts.data,
            "columns": counts.indices.astype(np.int32),
            "offsets": counts.indptr.astype(np.int64),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        size = len(self.share)
        self._set(sparse.csr_array((arrays["counts"], arrays["columns"], arrays["offsets"]), (size, size)))
