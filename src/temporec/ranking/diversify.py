"""Lists that do not show the same thing ten times: maximal marginal relevance (Carbonell and Goldstein, 1998)."""

import torch
from torch import Tensor

from temporec.errors import ConfigError

__all__ = ["mmr"]


def mmr(scores: Tensor, vectors: Tensor, k: int, trade_off: float) -> Tensor:
    """Pick up to k rows one after the other, each good and unlike those before it; their numbers, int64 [<= k].

    A step takes the row with the largest (1 - trade_off) * relevance - trade_off * (largest cosine to a picked row).
    Relevance is the score brought to 0..1 over the rows that may be shown; equal values go to the lower row.

    Args:
        scores: float [n]; -inf and NaN are never picked.
        vectors: float [n, d], one per row; a vector of zeros is like nothing.
        k: length of the list.
        trade_off: 0 = by score alone, 1 = the best first, then as unlike as possible.
    """
    if not 0.0 <= trade_off <= 1.0:
        raise ConfigError(f"trade_off must lie between 0 (score alone) and 1 (as unlike as possible); got {trade_off}")
    if len(scores) != len(vectors):
        raise ConfigError(f"mmr got {len(scores)} scores and {len(vectors)} vectors; it needs one vector per score")
    shown = torch.isfinite(scores)
    if not shown.any():
        return torch.zeros(0, dtype=torch.int64)
    low, high = scores[shown].min(), scores[shown].max()
    relevance = torch.where(shown, (scores - low) / (high - low).clamp_min(1e-30), 0.0)
    unit = torch.nn.functional.normalize(vectors.to(scores.dtype), dim=1)
    likeness = torch.zeros_like(relevance)
    picked: list[int] = []
    for _ in range(min(k, int(shown.sum()))):
        # Nothing is like an empty list, so the first pick is the best score at any trade-off.
        gain = (1.0 - trade_off) * relevance - trade_off * likeness if picked else relevance
        best = _first_best(gain.masked_fill(~shown, -torch.inf))
        cosine = unit @ unit[best]
        likeness = torch.maximum(likeness, cosine) if picked else cosine
        shown[best] = False
        picked.append(best)
    return torch.tensor(picked, dtype=torch.int64)


def _first_best(gain: Tensor) -> int:
    return int(torch.nonzero(gain == gain.max())[0])
