"""Similar items for substitution: against a count by hand, and nothing from outside the training log."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from temporec.data.dataset import build_dataset
from temporec.data.interactions import Interactions
from temporec.recommend.neighbours import co_occurring, nearest, neighbour_table

HISTORIES = st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=9), min_size=1, max_size=5)
ITEMS = pl.DataFrame({"item": range(1, 9)})


def log_of(histories: list[list[int]]) -> Interactions:
    rows = [(user, item, t) for user, items in enumerate(histories) for t, item in enumerate(items)]
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), ITEMS).interactions


def closeness(histories: list[list[int]], reach: int) -> np.ndarray:
    """Pair by pair, squared."""
    table = np.zeros((9, 9))
    for items in histories:
        for i, a in enumerate(items):
            for b in items[i + 1 : i + 1 + reach]:
                table[a, b] += 1
                table[b, a] += 1
    counts = np.bincount([item for items in histories for item in items], minlength=9)
    return table**2 / np.maximum(counts[:, None] * counts[None, :], 1)


@given(HISTORIES, st.integers(1, 3), st.integers(1, 4))
def test_co_occurrence_is_the_count_by_hand(histories: list[list[int]], k: int, reach: int) -> None:
    found, true = co_occurring(log_of(histories), 9, k, reach), closeness(histories, reach)
    assert found.shape == (9, k)
    np.fill_diagonal(true, 0)
    for item in range(1, 9):
        best = sorted(np.flatnonzero(true[item]), key=lambda other: (-true[item, other], other))
        assert found[item].tolist() == [*best, *[0] * k][:k]
    assert not found[0].any()


def test_text_neighbours_are_those_of_a_full_sort() -> None:
    vectors = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    vectors[3] = 0
    offered = np.arange(700) % 3 != 0
    found = nearest(vectors, offered, 4)
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    for item in range(0, 700, 7):
        scores = np.where(offered, units @ units[item], -np.inf)
        scores[item] = -np.inf
        order = np.argsort(-scores)[:4]
        assert found[item + 1].tolist() == ([0] * 4 if item == 3 else (order + 1).tolist())


def test_by_text_where_there_is_any_and_only_from_the_log() -> None:
    log = log_of([[1, 2, 3, 1, 2, 3], [4, 5, 4, 5]])
    vectors = np.zeros((8, 3), dtype=np.float32)
    vectors[[0, 3, 6]] = [1, 0, 0]  # items 1, 4 and 7 are alike; 7 has no event
    table = neighbour_table(log, 9, vectors, 2)
    assert table[1].tolist() == [4, 0]
    assert set(table[2]) == {1, 3}  # no text: by the log
    assert table[5].tolist() == [4, 0]
    assert not set(table.ravel()) & {6, 7, 8}
