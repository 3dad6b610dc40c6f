"""What a list says beyond "was the answer in it": coverage, novelty, popularity bias, diversity inside a list.

`lists` is int [B, k]: item numbers of the B lists, best first, 0 where a list is shorter. `counts` is [V + 1]: training
events of each item. A value per list is float64 [B], NaN for a list with too few items. Over n listed items:

    coverage              distinct items in all lists / V
    novelty               mean of -log2 p(item), p = (events of the item + 1) / (all events + V)  (self-information)
    mean_popularity       mean of the items' training events (average recommendation popularity, ARP)
    gini                  Gini index of how often each of the V items is listed: 0 = all alike, near 1 = few items
    intra_list_diversity  mean of 1 - cosine over the pairs of items in a list
"""

import numpy as np
from scipy import sparse

__all__ = ["cooccurrence_vectors", "coverage", "gini", "intra_list_diversity", "mean_popularity", "novelty"]

_ROWS = 512  # lists whose sums of vectors are held at once


def coverage(lists: np.ndarray, items: int) -> float:
    """Share of the catalog of `items` items that stands in at least one list."""
    shown = np.unique(lists)
    return float((shown > 0).sum() / items) if items else np.nan


def novelty(lists: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean self-information of each list in bits; rare items are news, popular ones are not."""
    counts = np.asarray(counts, dtype=np.float64)
    total = counts[1:].sum() + len(counts) - 1
    return _row_means(lists, np.log2(total) - np.log2(counts + 1.0))


def mean_popularity(lists: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean number of training events of the items of each list."""
    return _row_means(lists, np.asarray(counts, dtype=np.float64))


def gini(lists: np.ndarray, items: int) -> float:
    """Gini index of the exposure of all `items` items; items that no list shows count with 0."""
    exposure = np.sort(np.bincount(lists[lists > 0].ravel(), minlength=items + 1)[1:]).astype(np.float64)
    total = exposure.sum()
    if not total:
        return np.nan
    place = np.arange(1, items + 1)
    return float(((2 * place - items - 1) * exposure).sum() / (items * total))


def intra_list_diversity(lists: np.ndarray, vectors: np.ndarray | sparse.csr_matrix) -> np.ndarray:
    """Mean of 1 - cosine over the pairs of each list; a zero vector has cosine 0 with everything.

    With unit vectors u the sum of the cosines of all ordered pairs is |sum u|^2 - sum |u|^2, so that no pair is formed.

    Args:
        lists: see the module.
        vectors: [V + 1, D], dense or sparse, row 0 (PAD) is not looked at.
    """
    n = (lists > 0).sum(axis=1).astype(np.float64)
    units, squares = _unit_rows(vectors)
    cosines = np.empty(len(lists))
    for begin in range(0, len(lists), _ROWS):
        part = lists[begin : begin + _ROWS]
        row, place = np.nonzero(part)
        numbers = part[row, place]
        picked = sparse.csr_matrix((np.ones(len(row)), (row, numbers)), shape=(len(part), units.shape[0]))
        summed = picked @ units
        total = summed.multiply(summed).sum(axis=1) if sparse.issparse(summed) else (summed**2).sum(axis=1)
        own = np.bincount(row, weights=squares[numbers], minlength=len(part))
        cosines[begin : begin + _ROWS] = np.asarray(total).ravel() - own
    return np.where(n > 1, 1.0 - cosines / np.maximum(n * (n - 1), 1.0), np.nan)


def cooccurrence_vectors(user: np.ndarray, item: np.ndarray, size: int) -> sparse.csr_matrix:
    """Each item as the set of its users, csr [size, users]: the cosine is the share of users that two items share."""
    users = int(user.max(initial=-1)) + 1
    table = sparse.csr_matrix((np.ones(len(item)), (item, user)), shape=(size, users))
    table.data[:] = 1.0
    return table


def _row_means(lists: np.ndarray, values: np.ndarray) -> np.ndarray:
    n = (lists > 0).sum(axis=1)
    sums = np.where(lists > 0, values[lists], 0.0).sum(axis=1)
    return np.where(n > 0, sums / np.maximum(n, 1), np.nan)


def _unit_rows(vectors: np.ndarray | sparse.csr_matrix) -> tuple[np.ndarray | sparse.csr_matrix, np.ndarray]:
    """Rows of length 1 (or 0), and their squared lengths; sums of sparse rows stay sparse."""
    if isinstance(vectors, np.ndarray):
        dense = np.nan_to_num(vectors.astype(np.float64))
        norms = np.sqrt((dense**2).sum(axis=1))
        return dense / np.where(norms > 0, norms, 1.0)[:, None], norms > 0
    norms = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
    return sparse.diags(np.where(norms > 0, 1.0 / np.maximum(norms, 1e-300), 0.0)) @ vectors, norms > 0
