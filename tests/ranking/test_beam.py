"""Log-probabilities over a tree of codes, and the beam against the exact answer."""

import numpy as np
import pytest
import torch
from torch import Tensor

from temporec.data.semantic_ids import CodeTree
from temporec.ranking.beam import Logits, beam_search, item_log_probabilities

ITEMS = 80


@pytest.fixture(scope="module")
def tree() -> CodeTree:
    codes = np.unique(np.random.default_rng(0).integers(0, 5, (300, 3)), axis=0)
    return CodeTree(np.random.default_rng(1).permutation(codes)[:ITEMS], np.arange(1, ITEMS + 1))


@pytest.fixture(scope="module")
def logits(tree: CodeTree) -> Logits:
    """Of three histories; large enough that a softmax without care would overflow."""
    draw = torch.Generator().manual_seed(2)
    table = [60.0 + 40.0 * torch.randn(len(level.path), 3, generator=draw) for level in tree.levels]

    def look_up(level: int, nodes: np.ndarray) -> Tensor:
        return table[level][torch.from_numpy(nodes)]

    return look_up


@pytest.fixture(scope="module")
def exact(tree: CodeTree, logits: Logits) -> Tensor:
    return item_log_probabilities(tree, logits)


def slow_log_probability(tree: CodeTree, logits: Logits, leaf: int, history: int) -> float:
    """Along the path of one item, a softmax over the children of each of its prefixes."""
    total, node = 0.0, leaf
    for depth in reversed(range(len(tree.levels))):
        level = tree.levels[depth]
        siblings = np.flatnonzero(level.parent == level.parent[node])
        values = logits(depth, siblings)[:, history].double()
        total += float(values[int(np.flatnonzero(siblings == node)[0])] - torch.logsumexp(values, 0))
        node = int(level.parent[node])
    return total


def test_log_probabilities_are_those_of_the_slow_way(tree: CodeTree, logits: Logits, exact: Tensor) -> None:
    slow = [[slow_log_probability(tree, logits, leaf, history) for history in range(3)] for leaf in range(ITEMS)]
    torch.testing.assert_close(exact.double(), torch.tensor(slow, dtype=torch.float64), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(torch.logsumexp(exact, 0), torch.zeros(3), rtol=0, atol=1e-4)


@pytest.mark.parametrize("history", range(3))
def test_a_wide_beam_is_exact(tree: CodeTree, logits: Logits, exact: Tensor, history: int) -> None:
    def one(level: int, nodes: np.ndarray) -> Tensor:
        return logits(level, nodes)[:, history : history + 1]

    allowed = np.random.default_rng(history).random(ITEMS + 1) < 0.5
    items, values = beam_search(tree, one, allowed, ITEMS)
    assert sorted(items) == sorted(item for item in tree.items if allowed[item])
    own = {int(item): float(value) for item, value in zip(tree.items, exact[:, history], strict=True)}
    np.testing.assert_allclose(values, [own[int(item)] for item in items], rtol=1e-5, atol=1e-4)
    assert (np.diff(values) <= 0).all()


@pytest.mark.parametrize("width", [1, 4, 20])
def test_a_narrow_beam_gives_items_that_exist_and_may_be_shown(
    tree: CodeTree, logits: Logits, exact: Tensor, width: int
) -> None:
    allowed = np.arange(ITEMS + 1) % 3 > 0
    items, values = beam_search(tree, logits, allowed, width)
    assert len(set(items.tolist())) == len(items) == width
    assert allowed[items].all()
    own = {int(item): float(value) for item, value in zip(tree.items, exact[:, 0], strict=True)}
    np.testing.assert_allclose(values, [own[int(item)] for item in items], rtol=1e-5, atol=1e-4)


def test_nothing_allowed_gives_nothing(tree: CodeTree, logits: Logits) -> None:
    items, values = beam_search(tree, logits, np.zeros(ITEMS + 1, dtype=bool), 5)
    assert len(items) == len(values) == 0
