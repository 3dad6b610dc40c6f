"""How good a ranking is, from the ranks of the right answers; one value per case, so that intervals can be formed.

Every function takes `ranks` [M] (1-based, see `ranks.py`), `offsets` [B + 1] (case b owns
`ranks[offsets[b]:offsets[b + 1]]`; None = one target per case) and `k`, and returns float64 [B]. A case without
targets has no value: NaN. With n targets of which h stand within the first k:

    hit_rate  1 if h > 0 else 0            precision  h / k            (k, also if fewer items exist)
    recall    h / n  (n, also if n > k)    f1         2 h / (k + n)    (harmonic mean of precision and recall)
    accuracy  1 if the first item is a target (top-1)
    mrr       1 / best rank, 0 beyond k                                       (Voorhees 1999)
    ndcg      sum of 1 / log2(1 + rank) over hits, divided by its best value,
              the sum over ranks 1..min(k, n)                                 (Järvelin and Kekäläinen 2002)
    map       sum over hits of (targets up to that rank) / rank, divided by min(k, n)

With one target per case recall = hit rate, and map = mrr.
"""

from collections.abc import Callable, Iterable

import numpy as np

from temporec.errors import UnknownNameError

__all__ = [
    "METRICS",
    "Metric",
    "accuracy",
    "average_precision",
    "evaluate_ranks",
    "f1",
    "hit_rate",
    "mrr",
    "ndcg",
    "parse_metric",
    "precision",
    "recall",
]

Metric = Callable[[np.ndarray, np.ndarray | None, int], np.ndarray]


def hit_rate(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 10) -> np.ndarray:
    """1 where at least one target stands within the first k."""
    return _per_case(ranks <= k, offsets, lambda hits, n: (hits > 0).astype(np.float64))


def recall(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 10) -> np.ndarray:
    """Share of the targets within the first k; the denominator is the number of targets."""
    return _per_case(ranks <= k, offsets, lambda hits, n: hits / n)


def precision(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 10) -> np.ndarray:
    """Share of the first k that are targets; the denominator is k."""
    return _per_case(ranks <= k, offsets, lambda hits, n: hits / k)


def f1(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 10) -> np.ndarray:
    """Harmonic mean of precision and recall, 2 h / (k + n)."""
    return _per_case(ranks <= k, offsets, lambda hits, n: 2 * hits / (k + n))


def accuracy(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 1) -> np.ndarray:
    """1 where the first item is a target (k = 1); the same as the hit rate at k."""
    return hit_rate(ranks, offsets, k)


def mrr(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 10) -> np.ndarray:
    """Reciprocal of the best target's rank, 0 beyond k."""
    if offsets is None:
        return np.where(ranks <= k, 1.0 / ranks, 0.0)
    best = np.zeros(len(offsets) - 1)
    np.maximum.at(best, _cases(offsets), np.where(ranks <= k, 1.0 / ranks, 0.0))
    return np.where(np.diff(offsets) > 0, best, np.nan)


def ndcg(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 10) -> np.ndarray:
    """Discounted cumulative gain with binary relevance, over the gain of the best order of min(k, n) targets."""
    gain = np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)
    best = np.cumsum(1.0 / np.log2(np.arange(2, k + 2)))
    return _per_case(gain, offsets, lambda total, n: total / best[np.minimum(n, k).astype(np.int64) - 1])


def average_precision(ranks: np.ndarray, offsets: np.ndarray | None = None, k: int = 10) -> np.ndarray:
    """Sum of the precision at each target within k, over min(k, n); its mean over cases is MAP."""
    if offsets is None:
        return mrr(ranks, None, k)
    case = _cases(offsets)
    order = np.lexsort((ranks, case))
    up_to = np.empty(len(ranks), dtype=np.float64)
    up_to[order] = np.arange(len(ranks)) - offsets[case] + 1  # targets of the case up to this rank
    return _per_case(np.where(ranks <= k, up_to / ranks, 0.0), offsets, lambda total, n: total / np.minimum(n, k))


METRICS: dict[str, Metric] = {
    "hit_rate": hit_rate,
    "recall": recall,
    "precision": precision,
    "f1": f1,
    "accuracy": accuracy,
    "ndcg": ndcg,
    "mrr": mrr,
    "map": average_precision,
}
_SHORT = {"hr": "hit_rate", "hit": "hit_rate", "hits": "hit_rate", "acc": "accuracy"}


def parse_metric(text: str) -> tuple[str, int]:
    """Name and k of a metric: "ndcg@10" -> ("ndcg", 10). Without "@", k is 1 for accuracy and 10 for all others."""
    name, sign, cut = text.strip().lower().partition("@")
    name = _SHORT.get(name, name)
    if name not in METRICS:
        raise UnknownNameError(f"no metric named {text!r}; known: {', '.join(METRICS)}, each with @k as in ndcg@10")
    if not sign:
        return name, 1 if name == "accuracy" else 10
    if not cut.isascii() or not cut.isdecimal() or int(cut) < 1:
        raise UnknownNameError(f"metric {text!r} needs a whole number of at least 1 after the @, as in {name}@10")
    return name, int(cut)


def evaluate_ranks(names: Iterable[str], ranks: np.ndarray, offsets: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Values per case of several metrics, under names in full: {"hit_rate@10": [B], "ndcg@10": [B]}."""
    parsed = [parse_metric(name) for name in names]
    return {f"{name}@{k}": METRICS[name](ranks, offsets, k) for name, k in parsed}


def _cases(offsets: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _per_case(
    values: np.ndarray, offsets: np.ndarray | None, finish: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Sum the values of each case and let `finish(sums, numbers of targets)` turn them into the metric."""
    if offsets is None:
        return np.asarray(finish(values.astype(np.float64), np.ones(len(values))), dtype=np.float64)
    count = np.diff(offsets).astype(np.float64)
    sums = np.bincount(_cases(offsets), weights=values, minlength=len(count))
    return np.where(count > 0, finish(sums, np.maximum(count, 1.0)), np.nan)
