"""Similar items of every item, for augmentation by substitution: by text where there is any, else by the log."""

import numpy as np
import torch

from temporec.data.cooccurrence import meetings
from temporec.data.interactions import Interactions
from temporec.ranking.topk import top_k

__all__ = ["co_occurring", "nearest", "neighbour_table"]

_CHUNK = 512  # rows of the similarity matrix that are held at once


def neighbour_table(log: Interactions, size: int, vectors: np.ndarray | None, k: int) -> np.ndarray:
    """Similar items int32 [V + 1, k], best first, 0 = none; only items of the (training) log are offered.

    Args:
        log: the training log.
        size: items + 1.
        vectors: text vectors float32 [V, d], or None; items without a neighbour by text have those of the log.
        k: neighbours per item.
    """
    table = co_occurring(log, size, k)
    if vectors is not None:
        by_text = nearest(vectors, np.bincount(log.item, minlength=size)[1:] > 0, k)
        table = np.where(by_text[:, :1] > 0, by_text, table)
    return table


def nearest(vectors: np.ndarray, offered: np.ndarray, k: int) -> np.ndarray:
    """Items with the largest positive cosine, int32 [V + 1, k]; exact, V^2 d multiplications.

    Args:
        vectors: float32 [V, d]; a row of zeros has no neighbours.
        offered: bool [V], which items may be a neighbour.
    """
    units = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1)
    hidden = torch.from_numpy(~offered)
    table = np.zeros((len(vectors) + 1, k), dtype=np.int32)
    for begin in range(0, len(units), _CHUNK):
        scores = units[begin : begin + _CHUNK] @ units.T
        scores.masked_fill_(hidden[None, :], -torch.inf)
        scores.diagonal(begin).fill_(-torch.inf)
        values, items = top_k(scores, k)
        found = torch.where(values > 0, items + 1, 0).numpy()
        table[begin + 1 : begin + 1 + len(found), : found.shape[1]] = found
    return table


def co_occurring(log: Interactions, size: int, k: int, reach: int = 5) -> np.ndarray:
    """Items met within `reach` events of each other, by count / sqrt(count_i count_j), int32 [V + 1, k]."""
    found = meetings(log, size, reach).tocoo()
    row, column = found.coords
    counts = np.bincount(log.item, minlength=size)
    closeness = found.data**2 / (counts[row] * counts[column])  # squared, so that ties are exact
    order = np.lexsort((column, -closeness, row))
    order = order[row[order] != column[order]]
    row, column = row[order], column[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    table = np.zeros((size, k), dtype=np.int32)
    table[row[place < k], place[place < k]] = column[place < k]
    return table
