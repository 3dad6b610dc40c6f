"""What the order of a log says about its items: who stands near whom, as counts and as vectors."""

import numpy as np
from scipy import sparse

from temporec.data.interactions import Interactions
from temporec.runtime import random_state

__all__ = ["cooccurrence_vectors", "meetings"]

_EVENTS = 5_000_000  # of a longer log, the histories of so many events are drawn
_SMOOTHING = 0.75  # exponent of the context's frequency (Levy et al. 2015)


def meetings(log: Interactions, size: int, reach: int, decay: bool = False) -> sparse.csr_matrix:
    """How often two items stand within `reach` events of each other in a history, symmetric float64 [V + 1, V + 1].

    With `decay` a pair that is d events apart counts 1 / d.
    """
    met = sparse.csr_matrix((size, size), dtype=np.float64)
    for gap in range(1, min(reach, len(log) - 1) + 1):
        same = log.user[gap:] == log.user[:-gap]
        pair = (log.item[:-gap][same], log.item[gap:][same])
        weight = 1.0 / gap if decay else 1.0
        met = met + sparse.csr_matrix((np.full(len(pair[0]), weight), pair), (size, size))
    return met + met.T


def cooccurrence_vectors(log: Interactions, size: int, dim: int = 256, reach: int = 5, seed: int = 0) -> np.ndarray:
    """Vectors float32 [V, dim]: positive pointwise mutual information of neighbouring items, factorised.

    Levy and Goldberg 2014 (what skip-gram with negative sampling factorises), with their context smoothing of 2015 and
    the symmetric square root of the singular values; randomized SVD (Halko et al. 2011). Centred, and scaled to a mean
    squared length of 1; an item that met no other one is the zero vector.
    """
    from sklearn.utils.extmath import randomized_svd

    if len(log) > _EVENTS:
        users = random_state(seed, 8).permutation(len(log.users))
        kept = np.zeros(len(log.users), dtype=bool)
        kept[users[np.cumsum(np.diff(log.offsets)[users]) <= _EVENTS]] = True
        log = log.take(kept[log.user])
    met = meetings(log, size, reach, decay=True)
    met.setdiag(0.0)
    met.eliminate_zeros()
    vectors = np.zeros((size - 1, dim), dtype=np.float32)
    total = np.asarray(met.sum(axis=1)).ravel()
    context = total**_SMOOTHING
    pairs = met.tocoo()
    row, column = pairs.coords
    information = np.log(pairs.data * context.sum() / (total[row] * context[column]).clip(1e-300))
    information = np.maximum(information, 0.0).astype(np.float32)
    matrix = sparse.csr_matrix((information, (row, column)), (size, size))[1:, 1:]
    matrix.eliminate_zeros()
    rank = min(dim, size - 2)
    if rank < 1 or not matrix.nnz:
        return vectors
    left, values, _ = randomized_svd(matrix, rank, n_iter=4, random_state=seed)
    vectors[:, :rank] = left * np.sqrt(values)
    known = np.any(vectors != 0, axis=1)
    vectors[known] -= vectors[known].mean(axis=0)
    length = float(np.square(vectors, dtype=np.float64).sum(axis=1)[known].mean())
    return vectors / np.float32(length**0.5 if length > 1e-12 else 1.0)
