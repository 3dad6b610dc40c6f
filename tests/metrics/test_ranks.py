"""Ranks against a loop that sorts by hand: ties, NaN, -inf, unknown and excluded items, several targets."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from temporec.metrics.ranks import NEVER, Ties, distinct_targets, rank_targets, ranks_from_scores

TIES: tuple[Ties, ...] = ("pessimistic", "optimistic", "average")
SCORE = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 1.0, math.inf, math.nan])


def place_in_list(scores: list[float], targets: list[int], target: int, ties: Ties) -> int:
    """The slow twin: build the sorted list with the ties as stated, and look the target up."""
    own = scores[target]
    if target == 0 or math.isnan(own) or own == -math.inf:
        return NEVER
    before = sum(1 for other in scores if other > own)
    tied = [item for item, other in enumerate(scores) if other == own]
    tied_targets = sorted(item for item in tied if item in targets and item)
    others = len(tied) - len(tied_targets)
    first = {"pessimistic": others, "optimistic": 0, "average": math.ceil(others / 2)}[ties]
    return before + first + tied_targets.index(target) + 1


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[float]], list[list[int]]]:
    items = draw(st.integers(1, 7))
    rows = draw(st.integers(1, 5))
    scores = [draw(st.lists(SCORE, min_size=items, max_size=items)) for _ in range(rows)]
    targets = [draw(st.lists(st.integers(0, items - 1), max_size=5)) for _ in range(rows)]
    return scores, targets


@given(cases(), st.sampled_from(TIES), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_slow_twin(case: tuple[list[list[float]], list[list[int]]], ties: Ties, dtype: torch.dtype) -> None:
    scores, targets = case
    flat = np.asarray([target for row in targets for target in row], dtype=np.int32)
    offsets = np.cumsum([0, *[len(row) for row in targets]])
    expected = [place_in_list(s, row, target, ties) for s, row in zip(scores, targets, strict=True) for target in row]
    assert rank_targets(torch.tensor(scores, dtype=dtype), flat, offsets, ties).tolist() == expected


@given(cases(), st.sampled_from(TIES))
def test_one_target_per_row(case: tuple[list[list[float]], list[list[int]]], ties: Ties) -> None:
    scores = case[0]
    targets = torch.arange(len(scores)) % len(scores[0])
    expected = [place_in_list(s, [int(t)], int(t), ties) for s, t in zip(scores, targets, strict=True)]
    assert ranks_from_scores(torch.tensor(scores), targets, ties).tolist() == expected


def test_ties_by_example() -> None:
    """Score 1 three times: items 1, 2, 3; item 4 is better."""
    scores, target = torch.tensor([[0.0, 1.0, 1.0, 1.0, 2.0]]), torch.tensor([2])
    assert [ranks_from_scores(scores, target, ties).item() for ties in TIES] == [4, 2, 3]


def test_constant_scores_never_help() -> None:
    scores = torch.zeros(3, 11)
    assert ranks_from_scores(scores, torch.tensor([1, 5, 10])).tolist() == [11, 11, 11]
    assert ranks_from_scores(torch.full((3, 11), math.nan), torch.tensor([1, 5, 10])).tolist() == [NEVER] * 3


def test_excluded_items_are_left_out_and_scores_stay() -> None:
    scores = torch.tensor([[0.0, 3.0, 2.0, 1.0], [0.0, 3.0, 2.0, 1.0]])
    excluded = torch.tensor([[False, True, False, False], [False, False, False, True]])
    kept = scores.clone()
    assert ranks_from_scores(scores, torch.tensor([3, 3]), excluded=excluded).tolist() == [2, NEVER]
    assert torch.equal(scores, kept)


def test_tied_targets_of_one_row_share_no_rank() -> None:
    scores, offsets = torch.tensor([[-math.inf, 1.0, 1.0, 1.0]]), np.asarray([0, 2])
    assert rank_targets(scores, np.asarray([1, 3]), offsets, "pessimistic").tolist() == [2, 3]
    assert rank_targets(scores, np.asarray([3, 3]), offsets, "pessimistic").tolist() == [3, 3]


def test_no_targets_at_all() -> None:
    assert rank_targets(torch.zeros(2, 3), np.zeros(0, np.int32), np.asarray([0, 0, 0])).tolist() == []


@given(st.lists(st.lists(st.integers(0, 4), max_size=5), min_size=1, max_size=5))
def test_distinct_targets(rows: list[list[int]]) -> None:
    flat = np.asarray([target for row in rows for target in row], dtype=np.int32)
    targets, offsets = distinct_targets(flat, np.cumsum([0, *[len(row) for row in rows]]))
    for b, row in enumerate(rows):
        expected = [target for i, target in enumerate(row) if target == 0 or target not in row[:i]]
        assert targets[offsets[b] : offsets[b + 1]].tolist() == expected
