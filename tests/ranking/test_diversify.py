"""mmr against a slow twin that follows the formula word by word."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from temporec.errors import ConfigError
from temporec.ranking.diversify import mmr


def slow(scores: list[float], vectors: list[list[float]], k: int, trade_off: float) -> list[int]:
    shown = [i for i, score in enumerate(scores) if math.isfinite(score)]
    if not shown:
        return []
    low, high = min(scores[i] for i in shown), max(scores[i] for i in shown)

    def cosine(a: list[float], b: list[float]) -> float:
        norm = math.hypot(*a) * math.hypot(*b)
        return sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm else 0.0

    def gain(i: int, picked: list[int]) -> float:
        relevance = (scores[i] - low) / (high - low) if high > low else 0.0
        if not picked:
            return relevance
        return (1 - trade_off) * relevance - trade_off * max(cosine(vectors[i], vectors[j]) for j in picked)

    picked: list[int] = []
    while len(picked) < min(k, len(shown)):
        rest = [i for i in shown if i not in picked]
        picked.append(max(rest, key=lambda i: round(gain(i, picked), 9)))
    return picked


@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]))
def test_equals_the_slow_twin(seed: int, k: int, trade_off: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    scores = torch.rand(9, generator=draw, dtype=torch.float64)
    scores[torch.rand(9, generator=draw) < 0.2] = -torch.inf
    vectors = torch.randn(9, 4, generator=draw, dtype=torch.float64)
    assert mmr(scores, vectors, k, trade_off).tolist() == slow(scores.tolist(), vectors.tolist(), k, trade_off)


def test_ends_of_the_scale() -> None:
    scores = torch.tensor([0.9, 0.8, 0.1])
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0]])
    assert mmr(scores, vectors, 3, 0.0).tolist() == [0, 1, 2]
    assert mmr(scores, vectors, 2, 1.0).tolist() == [0, 2]


def test_nothing_to_show_and_equal_scores() -> None:
    assert mmr(torch.full((3,), -torch.inf), torch.ones(3, 2), 2, 0.5).tolist() == []
    assert mmr(torch.tensor([float("nan"), 1.0, 1.0]), torch.zeros(3, 2), 5, 0.5).tolist() == [1, 2]


def test_scores_are_left_alone() -> None:
    scores = torch.tensor([1.0, 2.0])
    mmr(scores, torch.eye(2), 2, 0.5)
    assert scores.tolist() == [1.0, 2.0]


def test_wrong_arguments() -> None:
    with pytest.raises(ConfigError, match=r"between 0 .* got 1\.5"):
        mmr(torch.ones(2), torch.ones(2, 2), 1, 1.5)
    with pytest.raises(ConfigError, match="2 scores and 3 vectors"):
        mmr(torch.ones(2), torch.ones(3, 2), 1, 0.5)
