"""Where a target stands in a ranking of all items; ties, NaN and items that may not be shown are stated and exact.

Ranks start at 1. Among equal scores:

- "pessimistic": the target stands behind all of them, so equal scores never help a model (the default);
- "optimistic": before all of them;
- "average": in the middle, rounded up.

A target that cannot be shown has the rank `NEVER`: its score is -inf or NaN, it is excluded, or it is item 0
(an item that the training catalog does not have). Other items with -inf or NaN are never before a target.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from temporec.data.catalog import PAD

__all__ = ["NEVER", "Ties", "distinct_targets", "rank_targets", "ranks_from_scores"]

Ties = Literal["pessimistic", "optimistic", "average"]
NEVER = 2**31 - 1
_NUMPY_FLOATS = (torch.float32, torch.float64)


def ranks_from_scores(
    scores: Tensor, targets: Tensor, ties: Ties = "pessimistic", excluded: Tensor | None = None
) -> Tensor:
    """Ranks int64 [B] of one target per row.

    Args:
        scores: float [B, V], one column per item number.
        targets: int64 [B], columns of `scores`; 0 = unknown item, rank `NEVER`.
        ties: see the module.
        excluded: bool [B, V], items that are left out of the ranking.
    """
    offsets = np.arange(len(targets) + 1, dtype=np.int64)
    return torch.from_numpy(rank_targets(scores, targets.cpu().numpy(), offsets, ties, excluded))


def rank_targets(
    scores: Tensor,
    targets: np.ndarray,
    offsets: np.ndarray,
    ties: Ties = "pessimistic",
    excluded: Tensor | None = None,
) -> np.ndarray:
    """Ranks int64 [M] of any number of targets per row: `targets[offsets[b]:offsets[b + 1]]` belong to row b.

    Targets of one row with equal scores take consecutive ranks, as they do in a list; a target named twice in a row
    keeps one rank (see `distinct_targets`).
    """
    if excluded is not None:
        scores = scores.masked_fill(excluded, -torch.inf)
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    before, equal, shown = _compare(scores, row, targets)
    place, tied = _tied_targets(row, targets, before, shown)
    others = equal - tied
    behind = {"pessimistic": others, "optimistic": 0 * others, "average": (others + 1) // 2}[ties]
    return np.where(shown, before + 1 + place + behind, NEVER)


def distinct_targets(targets: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same targets without repetitions inside a row, in their order; unknown items (0) are all kept."""
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    key = row * (int(targets.max(initial=0)) + 1) + targets
    first = np.zeros(len(targets), dtype=bool)
    first[np.unique(key, return_index=True)[1]] = True
    first |= targets == PAD
    counts = np.bincount(row[first], minlength=len(offsets) - 1)
    return targets[first], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _compare(scores: Tensor, row: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per target: items with a higher score, items with an equal one (itself included), and whether it can be shown.

    One row at a time stays in the cache and needs no copy: 20 times as fast as comparing all rows at once.
    """
    scores = scores.detach()
    table = (scores if scores.dtype in _NUMPY_FLOATS else scores.float()).cpu().numpy()
    before, equal = np.zeros((2, len(targets)), dtype=np.int64)
    own = table[row, targets] if len(targets) else np.zeros(0, dtype=table.dtype)
    shown = (targets != PAD) & (own > -np.inf)  # False for NaN
    for i in np.flatnonzero(shown):
        line = table[row[i]]
        before[i] = np.count_nonzero(line > own[i])
        equal[i] = np.count_nonzero(line == own[i])
    return before, equal, shown


def _tied_targets(
    row: np.ndarray, targets: np.ndarray, before: np.ndarray, shown: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Per target: how many tied targets of its row stand before it, and how many there are (itself included).

    Two items of a row have the same number of items before them if and only if their scores are equal.
    """
    place, tied = np.zeros(len(row), dtype=np.int64), np.ones(len(row), dtype=np.int64)
    if not (row[1:] == row[:-1]).any():
        return place, tied
    order = np.flatnonzero(shown)
    order = order[np.lexsort((targets[order], before[order], row[order]))]
    same_group = (row[order][1:] == row[order][:-1]) & (before[order][1:] == before[order][:-1])
    new_target = np.append(True, ~same_group | (targets[order][1:] != targets[order][:-1]))[: len(order)]
    new_group = np.append(True, ~same_group)[: len(order)]
    group = np.cumsum(new_group) - 1
    count = np.cumsum(new_target) - 1
    place[order] = count - count[new_group][group]
    tied[order] = np.bincount(group, weights=new_target).astype(np.int64)[group]
    return place, tied
