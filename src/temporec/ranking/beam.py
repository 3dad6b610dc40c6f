"""Items by their codes: log-probabilities of all items, or of the best ones that a beam finds."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from temporec.data.semantic_ids import CodeTree

__all__ = ["Logits", "beam_search", "item_log_probabilities"]

Logits = Callable[[int, np.ndarray], Tensor]
"""Logits [n, B] of some nodes int64 [n] of a level (0 = first), one column per history."""


def item_log_probabilities(tree: CodeTree, logits: Logits) -> Tensor:
    """Exact log-probabilities [n, B] of all leaves: at each node, a softmax over the children that exist.

    Those of the leaves sum to 1. An only child costs nothing.
    """
    total = np.zeros((1, 1), dtype=np.float32)
    for depth, level in enumerate(tree.levels):
        children = np.diff(level.first)
        several = np.flatnonzero(children[level.parent] > 1)
        total = total[level.parent]
        if len(several):
            own = _log_softmax(logits(depth, several).numpy(), children[children > 1])
            if total.shape[1] != own.shape[1]:
                total = np.repeat(total, own.shape[1], axis=1)
            total[several] += own
    return torch.from_numpy(total)


def beam_search(tree: CodeTree, logits: Logits, allowed: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The best items for one history: (item numbers [n], log-probabilities [n]), best first, n <= width.

    On each level the `width` most probable prefixes are kept that lead to an allowed item; with a width of the number
    of items the result is exact. Probabilities are those of `item_log_probabilities`, allowed or not.

    Args:
        allowed: bool [V + 1].
    """
    leads = tree.holding(allowed)
    nodes, total = np.zeros(1, np.int64), np.zeros(1, np.float32)
    for depth, level in enumerate(tree.levels):
        counts = level.first[nodes + 1] - level.first[nodes]
        children = np.repeat(level.first[nodes] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        own = _log_softmax(logits(depth, children).numpy()[:, :1], counts)[:, 0]
        total = np.repeat(total, counts) + own
        kept = np.flatnonzero(leads[depth][children])
        kept = kept[np.argsort(-total[kept], kind="stable")[:width]]
        nodes, total = children[kept], total[kept]
    return tree.items[nodes], total


def _log_softmax(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Log-softmax [n, B] within each of some runs of rows, given by their lengths."""
    if not len(values):
        return values
    starts = np.cumsum(counts) - counts
    values = values - np.repeat(np.maximum.reduceat(values, starts), counts, axis=0)
    sums = np.log(np.add.reduceat(np.exp(values), starts))
    return np.asarray(values - np.repeat(sums, counts, axis=0))
