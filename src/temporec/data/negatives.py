"""Items that were not chosen, drawn by popularity^alpha or uniformly."""

import numpy as np
import torch
from torch import Tensor

from temporec.data.catalog import PAD
from temporec.errors import DataError

__all__ = ["NegativeSampler"]


class NegativeSampler:
    """Draws item numbers with replacement, with probability proportional to counts^alpha.

    Args:
        counts: [V] events per item number, row 0 = PAD (never drawn, whatever stands there).
        alpha: 1 = by popularity, 0 = uniform over all items (those without an event too), 0.75 as in word2vec
            (Mikolov et al. 2013). With alpha > 0 an item without events is never drawn.
        allowed: bool [V], or float [V] where -inf takes an item out (the `bias` of a loss); None = all items.

    Attributes:
        log_q: float32 [V] log of the probability of each item to be drawn at one draw; -inf = never drawn.
    """

    log_q: Tensor

    def __init__(self, counts: np.ndarray, alpha: float = 1.0, allowed: np.ndarray | Tensor | None = None) -> None:
        counts = np.asarray(counts, dtype=np.float64)
        if alpha < 0 or (counts < 0).any() or not np.isfinite(counts).all():
            raise DataError(f"negative sampling needs alpha >= 0 and finite counts >= 0, got alpha {alpha}")
        weights = counts**alpha  # 0^0 = 1: uniform
        weights[PAD] = 0.0
        if allowed is not None:
            mask = np.asarray(allowed)
            weights[~mask if mask.dtype == bool else np.isneginf(mask)] = 0.0
        if not weights.sum() > 0:
            raise DataError("no item is left to draw negatives from; check the counts and the allowed items")
        self._cumulative = np.cumsum(weights)
        self._last = int(np.flatnonzero(weights)[-1])
        with np.errstate(divide="ignore"):
            log_q = np.log(weights / weights.sum())
        self.log_q = torch.from_numpy(log_q.astype(np.float32))

    def sample(self, k: int, generator: torch.Generator | None = None) -> Tensor:
        """Item numbers int64 [k], independent draws; the same for the same generator state."""
        uniform = torch.rand(k, generator=generator, dtype=torch.float64).numpy() * self._cumulative[-1]
        drawn = np.searchsorted(self._cumulative, uniform, side="right")
        return torch.from_numpy(np.minimum(drawn, self._last))
