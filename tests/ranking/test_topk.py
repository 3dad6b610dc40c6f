"""top_k against sorting in plain Python."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from temporec.ranking.topk import top_k

# Few distinct values, so that ties are common, at the end of the list too.
scores = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0, float("inf"), float("-inf"), float("nan")])
tables = st.integers(1, 12).flatmap(
    lambda width: st.lists(st.lists(scores, min_size=width, max_size=width), min_size=1)
)


def slow(row: list[float], k: int) -> list[tuple[float, int]]:
    clean = [(-math.inf if math.isnan(value) else value, i) for i, value in enumerate(row)]
    return sorted(clean, key=lambda pair: (-pair[0], pair[1]))[:k]


@given(tables, st.integers(1, 14))
def test_equals_sorting_by_score_then_number(table: list[list[float]], k: int) -> None:
    values, items = top_k(torch.tensor(table), k)
    for row, got_values, got_items in zip(table, values.tolist(), items.tolist(), strict=True):
        assert list(zip(got_values, got_items, strict=True)) == slow(row, k)


@pytest.mark.parametrize("k", [1, 5, 999, 1000, 5000])
def test_long_rows_with_ties_at_the_cut(k: int) -> None:
    table = torch.randint(0, 40, (3, 1000), generator=torch.Generator().manual_seed(0)).float()
    before = table.clone()
    values, items = top_k(table, k)
    assert values.shape == items.shape == (3, min(k, 1000))
    for row, got in zip(table.tolist(), items.tolist(), strict=True):
        assert got == [i for _, i in slow(row, k)]
    assert torch.equal(table, before)


@pytest.mark.parametrize("kind", ["random", "tied", "hidden", "nan"])
@pytest.mark.parametrize("width", [6000, 12_102])
def test_many_long_rows_are_searched_by_blocks(kind: str, width: int) -> None:
    draw = torch.Generator().manual_seed(1)
    table = torch.randn(20, width, generator=draw)
    if kind == "tied":
        table = (table * 3).round()
    elif kind == "hidden":  # fewer items than the list is long
        table = table.masked_fill(torch.rand(20, width, generator=draw) < 0.9995, -torch.inf)
    elif kind == "nan":
        table[torch.rand(20, width, generator=draw) < 0.01] = torch.nan
    values, items = top_k(table, 10)
    for row, got_values, got in zip(table.tolist(), values.tolist(), items.tolist(), strict=True):
        assert list(zip(got_values, got, strict=True)) == slow(row, 10)
    alone = [top_k(row[None, :], 10)[1][0] for row in table]
    assert torch.equal(torch.stack(alone), items)


def test_empty_batch() -> None:
    values, items = top_k(torch.zeros(0, 5), 2)
    assert values.shape == items.shape == (0, 2)
