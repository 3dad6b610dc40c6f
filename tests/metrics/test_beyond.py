"""Coverage, novelty, popularity and diversity against their definitions, item by item and pair by pair."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from temporec.metrics.beyond import (
    cooccurrence_vectors,
    coverage,
    gini,
    intra_list_diversity,
    mean_popularity,
    novelty,
)

ITEMS = 9
LISTS = st.lists(st.lists(st.integers(1, ITEMS), max_size=4, unique=True), min_size=1, max_size=6)


def padded(lists: list[list[int]]) -> np.ndarray:
    return np.asarray([[*items, *[0] * (4 - len(items))] for items in lists], dtype=np.int32)


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@given(LISTS, st.integers(0, 2**32 - 1))
def test_slow_twins(lists: list[list[int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.concatenate([[0], rng.integers(0, 5, ITEMS)])
    vectors = rng.normal(size=(ITEMS + 1, 3))
    vectors[1] = 0.0
    table = padded(lists)
    shown = [item for items in lists for item in items]
    total = int(counts.sum()) + ITEMS
    exposure = [shown.count(item) for item in range(1, ITEMS + 1)]

    def cosine(a: int, b: int) -> float:
        lengths = float(np.linalg.norm(vectors[a]) * np.linalg.norm(vectors[b]))
        return float(vectors[a] @ vectors[b]) / lengths if lengths else 0.0

    assert coverage(table, ITEMS) == len(set(shown)) / ITEMS
    rare = [mean([-math.log2((counts[i] + 1) / total) for i in items]) for items in lists]
    assert novelty(table, counts) == pytest.approx(rare, nan_ok=True)
    assert mean_popularity(table, counts) == pytest.approx(
        [mean([float(counts[i]) for i in items]) for items in lists], nan_ok=True
    )
    unlike = [mean([1 - cosine(a, b) for a, b in combinations(items, 2)]) for items in lists]
    for given_vectors in (vectors, sparse.csr_matrix(vectors)):
        assert intra_list_diversity(table, given_vectors) == pytest.approx(unlike, nan_ok=True, abs=1e-9)
    if shown:
        gaps = sum(abs(a - b) for a in exposure for b in exposure)
        assert gini(table, ITEMS) == pytest.approx(gaps / (2 * ITEMS * len(shown)))
    else:
        assert math.isnan(gini(table, ITEMS))


def test_ends_of_gini() -> None:
    assert gini(np.asarray([[1, 2], [3, 4]]), 4) == 0.0
    assert gini(np.full((5, 1), 3), 100) == pytest.approx(0.99)


def test_cooccurrence_is_the_share_of_common_users() -> None:
    """Items 1 and 2 share one user; 1 has two users, 2 has one. Buying twice does not count twice."""
    user, item = np.asarray([0, 0, 0, 1, 2]), np.asarray([1, 1, 2, 1, 3])
    vectors = cooccurrence_vectors(user, item, 4)
    assert intra_list_diversity(np.asarray([[1, 2], [1, 3]]), vectors) == pytest.approx([1 - 1 / math.sqrt(2), 1.0])


def test_many_lists_in_blocks() -> None:
    rng = np.random.default_rng(0)
    lists = np.stack([rng.choice(np.arange(1, 50), 5, replace=False) for _ in range(1300)])
    vectors = rng.normal(size=(50, 4))
    whole = intra_list_diversity(lists, vectors)
    assert whole[[0, 600, 1299]] == pytest.approx(intra_list_diversity(lists[[0, 600, 1299]], vectors))
