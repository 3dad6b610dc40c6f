"""Which items' texts a step reads, what their gradients count, and what stays as it was."""

import pytest
import torch
from torch import Tensor, nn

from temporec.data.batch import SequenceBatch
from temporec.data.trainable_texts import TrainableTexts, TuneConfig
from temporec.embeddings.live import LiveVectors

ITEMS, SILENT, UNRANKED = 30, 7, 9
RANKED = torch.arange(1, ITEMS + 1) != UNRANKED


class Letters(TrainableTexts):
    """A number per text, times a weight that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = (torch.arange(1, ITEMS + 1) != SILENT).long()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, places: Tensor) -> Tensor:
        return (1.0 + places[:, None]) * self.weight

    def weights(self) -> dict[str, Tensor]:
        return {}


def live(most: int, ranked: Tensor | None = RANKED) -> LiveVectors:
    config = TuneConfig.of({"tune": "last", "tune_items": most})
    return LiveVectors(Letters(), (torch.full((2,), 0.5), 2.0), 1, config, ranked)


def batch(*items: int) -> SequenceBatch:
    rows = torch.tensor([items])
    return SequenceBatch(rows, rows, rows.float(), torch.tensor([len(items)]), torch.roll(rows, -1) + 1)


def drawn(most: int, *items: int) -> dict[int, float]:
    numbers, weights = live(most).draw(batch(*items))
    return dict(zip(numbers.tolist(), weights.tolist(), strict=True))


def test_half_of_the_texts_are_of_the_batch() -> None:
    inside = {2, 3, 4, 5, 8, 10, 11, 12}  # inputs and targets; the silent and the unranked item are never read
    found = drawn(6, 2, 4, 11, SILENT, UNRANKED, 3)
    assert len(found) == 6
    assert sum(number in inside for number in found) == 3
    assert not {0, SILENT, UNRANKED} & set(found)
    assert {weight for number, weight in found.items() if number in inside} == {1.0}
    rest = [weight for number, weight in found.items() if number not in inside]
    assert rest == pytest.approx([((ITEMS - 2 - 8) / 3) / (8 / 3)] * 3)


def test_where_one_side_is_small_the_other_fills_up() -> None:
    found = drawn(20, 1)  # its target is the item itself, rolled, plus 1
    assert len(found) == 20
    assert {1, 2} <= set(found)
    assert set(drawn(ITEMS, 1, 2)) == set(range(1, ITEMS + 1)) - {SILENT, UNRANKED}
    assert set(drawn(ITEMS, 1, 2).values()) == {1.0}


def test_values_are_those_of_a_refresh_and_other_columns_stay() -> None:
    made, old = live(6), torch.full((ITEMS + 1, 4), -1.0)
    new = old.clone()
    assert list(made.refresh(new)) == [(ITEMS - 1, ITEMS - 1)]
    step = made(old, batch(1, 4, 8))
    rows = torch.nonzero((step != old).any(dim=1))[:, 0]
    assert len(rows) == 6
    assert torch.equal(step[rows], new[rows])
    assert torch.equal(new[:, [0, 3]], old[:, [0, 3]])
    assert torch.equal(new[[0, SILENT]], old[[0, SILENT]])
    assert new[4, 1:3].tolist() == [7.0, 7.0]


def test_on_average_the_gradient_points_where_that_of_all_items_does() -> None:
    """Whatever counts against items outside of the batch is felt, in proportion."""
    torch.manual_seed(0)
    pull = torch.randn(ITEMS + 1, 4)
    whole = live(ITEMS)
    (whole(torch.zeros(ITEMS + 1, 4), batch(1, 4, 8)) * pull).sum().backward()
    some = live(4)
    for _ in range(4000):
        (some(torch.zeros(ITEMS + 1, 4), batch(1, 4, 8)) * pull).sum().backward()
    wanted, found = (each.texts.get_parameter("weight").grad for each in (whole, some))
    assert wanted is not None
    assert found is not None
    shown = 4 - 2  # of the batch's six items, two are read
    torch.testing.assert_close(found / 4000 * 6 / shown, wanted, rtol=0.1, atol=15.0)


def test_a_batch_without_texts_changes_nothing() -> None:
    made, old = live(4, torch.zeros(ITEMS, dtype=torch.bool)), torch.ones(ITEMS + 1, 4)
    assert made(old, batch(1, 4)) is old
