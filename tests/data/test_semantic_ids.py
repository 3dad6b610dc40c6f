"""Codes of items, and the tree of the codes that exist."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from temporec.data.semantic_ids import CodeTree, SemanticIds
from temporec.errors import DataError


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)


def error(ids: SemanticIds, given: np.ndarray, levels: int) -> float:
    """Mean squared distance to what the first levels say."""
    said = sum(ids.codebooks[level][ids.codes[:, level]] for level in range(levels))
    return float(np.square(given - said).sum(axis=1).mean())


def test_each_level_says_more_about_the_items() -> None:
    given = vectors(600)
    ids = SemanticIds.fit(given, levels=3, codes=16, seed=0)
    assert ids.codes.shape == (600, 4)
    assert ids.codes[:, :3].max() < 16
    errors = [error(ids, given, levels) for levels in range(1, 4)]
    assert float(np.square(given).sum(axis=1).mean()) > 1.2 * errors[0] > 1.2**2 * errors[1] > 1.2**3 * errors[2]


def test_codes_are_unique_even_of_equal_items() -> None:
    given = np.concatenate([vectors(50), np.repeat(vectors(1, seed=1), 300, axis=0)])
    ids = SemanticIds.fit(given, levels=2, codes=8, seed=0)
    assert len(np.unique(ids.codes, axis=0)) == 350
    same = ids.codes[50:]
    assert (same[:, :-1] == same[0, :-1]).all()
    assert (np.diff(same[:, -1]) == 1).all()  # in the order of the catalog


def test_fewer_items_than_codes_are_told_apart_by_the_first_one() -> None:
    ids = SemanticIds.fit(vectors(5), levels=3, codes=256, seed=0)
    assert sorted(ids.codes[:, 0]) == [0, 1, 2, 3, 4]
    assert not ids.codes[:, 1:].any()


def test_new_items_get_codes_and_old_ones_keep_theirs() -> None:
    given = vectors(200)
    ids = SemanticIds.fit(given, levels=3, codes=16, seed=0)
    longer = ids.extended(np.concatenate([given[7:8], vectors(40, seed=2)]))
    assert np.array_equal(longer.codes[:200], ids.codes)
    assert len(np.unique(longer.codes, axis=0)) == 241
    assert np.array_equal(longer.codes[200, :-1], ids.codes[7, :-1])
    assert longer.codes[200, -1] == ids.codes[:, -1][(ids.codes[:, :-1] == ids.codes[7, :-1]).all(axis=1)].max() + 1


def test_round_trip(tmp_path: Path) -> None:
    ids = SemanticIds.fit(vectors(100), levels=2, codes=16, seed=0)
    ids.save(tmp_path)
    again = SemanticIds.load(tmp_path)
    assert np.array_equal(again.codes, ids.codes)
    assert np.array_equal(again.extended(vectors(9, seed=3)).codes, ids.extended(vectors(9, seed=3)).codes)


def test_vectors_that_say_nothing_are_refused() -> None:
    ids = SemanticIds.fit(vectors(30), levels=1, codes=4, seed=0)
    with pytest.raises(DataError, match=r"fitted on 8 finite numbers per item; got shape \(2, 3\)"):
        ids.extended(np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match="finite"):
        SemanticIds.fit(np.full((2, 3), np.nan, np.float32), levels=1, codes=4, seed=0)


@given(arrays(np.int32, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=st.integers(0, 3)))
def test_the_tree_has_each_prefix_once(codes: np.ndarray) -> None:
    codes = np.unique(codes, axis=0)
    np.random.default_rng(len(codes)).shuffle(codes)
    items = np.arange(1, len(codes) + 1) * 2
    tree = CodeTree(codes, items)
    assert sorted(tree.items) == list(items)
    for depth, level in enumerate(tree.levels):
        prefixes = {tuple(row) for row in codes[:, : depth + 1].tolist()}
        assert {tuple(row) for row in level.path.tolist()} == prefixes
        assert len(level.path) == len(prefixes)
        assert np.array_equal(level.path[tree.node[:, depth]], codes[:, : depth + 1])
        for node, parent in enumerate(level.parent):
            assert level.first[parent] <= node < level.first[parent + 1]
            if depth:
                assert np.array_equal(tree.levels[depth - 1].path[parent], level.path[node, :-1])
    assert np.array_equal(tree.levels[-1].path[np.argsort(tree.items)], codes)


def test_nodes_that_lead_to_some_items() -> None:
    codes = np.asarray([[0, 0], [0, 1], [1, 0], [2, 0], [2, 5]])
    tree = CodeTree(codes, np.arange(1, 6))
    wanted = np.zeros(6, dtype=bool)
    wanted[[2, 3]] = True
    assert [list(found) for found in tree.holding(wanted)] == [
        [True, True, False],
        [False, True, True, False, False],
    ]
