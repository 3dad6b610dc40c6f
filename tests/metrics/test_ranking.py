"""Ranking metrics against loops over a list of hits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporec.errors import UnknownNameError
from temporec.metrics.ranking import METRICS, evaluate_ranks, parse_metric
from temporec.metrics.ranks import NEVER

RANKS = st.lists(st.integers(1, 12) | st.just(NEVER), max_size=6).map(
    lambda ranks: [r for i, r in enumerate(ranks) if r == NEVER or r not in ranks[:i]]
)


def naive(name: str, ranks: list[int], k: int) -> float:
    """The metric of one case, place by place down the list."""
    n = len(ranks)
    if not n:
        return math.nan
    hits = [place in ranks for place in range(1, k + 1)]
    match name:
        case "hit_rate" | "accuracy":
            return float(any(hits))
        case "recall":
            return sum(hits) / n
        case "precision":
            return sum(hits) / k
        case "f1":
            p, r = sum(hits) / k, sum(hits) / n
            return 2 * p * r / (p + r) if p + r else 0.0
        case "mrr":
            return next((1 / place for place, hit in enumerate(hits, 1) if hit), 0.0)
        case "ndcg":
            gain = sum(1 / math.log2(place + 1) for place, hit in enumerate(hits, 1) if hit)
            return gain / sum(1 / math.log2(place + 1) for place in range(1, min(k, n) + 1))
        case _:
            gain = sum(sum(hits[:place]) / place for place, hit in enumerate(hits, 1) if hit)
            return gain / min(k, n)


@pytest.mark.parametrize("name", METRICS)
@given(rows=st.lists(RANKS, min_size=1, max_size=6), k=st.integers(1, 8))
def test_slow_twin(name: str, rows: list[list[int]], k: int) -> None:
    flat = np.asarray([rank for row in rows for rank in row], dtype=np.int64)
    offsets = np.cumsum([0, *[len(row) for row in rows]])
    values = METRICS[name](flat, offsets, k)
    assert values.dtype == np.float64
    assert values == pytest.approx([naive(name, row, k) for row in rows], nan_ok=True)


@pytest.mark.parametrize("name", METRICS)
@given(ranks=st.lists(st.integers(1, 30) | st.just(NEVER), min_size=1, max_size=8), k=st.integers(1, 12))
def test_one_target_per_case(name: str, ranks: list[int], k: int) -> None:
    """Without offsets: the same as offsets of one target each, between 0 and 1, and never better at a worse rank."""
    given_ranks = np.asarray(ranks)
    values = METRICS[name](given_ranks, None, k)
    assert values == pytest.approx(METRICS[name](given_ranks, np.arange(len(ranks) + 1), k))
    assert ((values >= 0) & (values <= 1)).all()
    assert (np.diff(values[np.argsort(given_ranks)]) <= 1e-12).all()


def test_scikit_learn_agrees_on_ndcg() -> None:
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    relevant = rng.random((40, 15)) < 0.2
    relevant[:, 0] = True
    scores = rng.permuted(np.tile(np.arange(15.0), (40, 1)), axis=1)
    places = (-scores).argsort(axis=1).argsort(axis=1) + 1
    offsets = np.concatenate([[0], np.cumsum(relevant.sum(axis=1))])
    for k in (1, 5, 15):
        mean = float(METRICS["ndcg"](places[relevant], offsets, k).mean())
        assert mean == pytest.approx(ndcg_score(relevant, scores, k=k))


def test_evaluate_ranks_gives_full_names() -> None:
    found = evaluate_ranks(["HR@10", "ndcg", "accuracy"], np.asarray([1, 11]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "hit_rate@10": [1.0, 0.0],
        "ndcg@10": [1.0, 0.0],
        "accuracy@1": [1.0, 0.0],
    }


@pytest.mark.parametrize(
    ("text", "parsed"), [("ndcg@10", ("ndcg", 10)), ("Recall@5", ("recall", 5)), ("acc", ("accuracy", 1))]
)
def test_parse_metric(text: str, parsed: tuple[str, int]) -> None:
    assert parse_metric(text) == parsed


@pytest.mark.parametrize("text", ["ndgc@10", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@ten", "", "ndcg@²"])
def test_parse_metric_refuses(text: str) -> None:
    with pytest.raises(UnknownNameError, match=r"known:|whole number"):
        parse_metric(text)
