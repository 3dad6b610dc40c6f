"""Counts by hand, and vectors in which items of the same histories stand together."""

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from temporec.data.cooccurrence import cooccurrence_vectors, meetings
from temporec.data.dataset import build_dataset
from temporec.data.interactions import Interactions

ITEMS = pl.DataFrame({"item": range(1, 9)})
HISTORIES = st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=9), min_size=1, max_size=5)


def log_of(histories: list[list[int]]) -> Interactions:
    rows = [(user, item, t) for user, items in enumerate(histories) for t, item in enumerate(items)]
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), ITEMS).interactions


@given(HISTORIES, st.integers(1, 4), st.booleans())
def test_meetings_are_the_count_by_hand(histories: list[list[int]], reach: int, decay: bool) -> None:
    true = np.zeros((9, 9))
    for items in histories:
        for i, a in enumerate(items):
            for d, b in enumerate(items[i + 1 : i + 1 + reach], start=1):
                true[a, b] += 1 / d if decay else 1
                true[b, a] += 1 / d if decay else 1
    np.testing.assert_allclose(meetings(log_of(histories), 9, reach, decay).toarray(), true)


def test_items_of_the_same_histories_stand_together() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.choice(range(1, 5), 6).tolist() for _ in range(40)]
    groups += [rng.choice(range(5, 8), 6).tolist() for _ in range(40)]
    vectors = cooccurrence_vectors(log_of(groups), 9, dim=16)
    assert vectors.shape == (8, 16)
    assert vectors.dtype == np.float32
    inside, across = vectors[0] @ vectors[1:4].T, vectors[0] @ vectors[4:7].T
    assert inside.min() > across.max()
    assert not vectors[7].any()  # met nothing
    np.testing.assert_allclose(np.square(vectors[:7]).sum(axis=1).mean(), 1.0, rtol=1e-5)


@given(HISTORIES)
def test_vectors_are_finite_and_the_same_twice(histories: list[list[int]]) -> None:
    log = log_of(histories)
    vectors = cooccurrence_vectors(log, 9, dim=4)
    assert np.isfinite(vectors).all()
    np.testing.assert_array_equal(vectors, cooccurrence_vectors(log, 9, dim=4))
