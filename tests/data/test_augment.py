"""Augmentation: what it keeps true, event by event, and that it is off by default and a function of the generator."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from temporec.data.augment import AugmentConfig, augment_batch, augment_windows, crop_windows
from temporec.data.batch import Histories, SequenceBatch
from temporec.data.dataset import build_dataset
from temporec.data.sequences import Sequences
from temporec.errors import ConfigError
from temporec.runtime import random_state

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=6)
SEED = st.integers(0, 2**32 - 1)
NEIGHBOURS = np.concatenate([[[0, 0]], np.arange(1, 60)[:, None] + [100, 200]])  # 7 -> 107 or 207


def windows(lengths: list[int]) -> Histories:
    """Items 1, 2, 3, ... through all windows, at the times 10, 20, 30, ..."""
    items = np.arange(1, sum(lengths) + 1, dtype=np.int32)
    offsets = np.cumsum([0, *lengths])
    return Histories(items, items.astype(np.int64) * 10, offsets, kinds=items.astype(np.int16), values=items / 2)


def lists(histories: Histories) -> list[list[int]]:
    return [histories.items[a:b].tolist() for a, b in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)]


def batch(lengths: list[int]) -> SequenceBatch:
    log = windows(lengths)
    made = log.batch(log.starts(20))
    kinds = torch.from_numpy(np.where(made.mask, made.items, 0))
    return replace(made, targets=(made.items + 1) * made.mask, kinds=kinds, values=made.items.float() / 2)


@given(LENGTHS)
def test_off_by_default(lengths: list[int]) -> None:
    rng, config = random_state(0), AugmentConfig()
    assert not config.is_on
    assert lists(augment_windows(windows(lengths), config, rng)) == lists(windows(lengths))
    same = batch(lengths)
    assert augment_batch(same, config, rng) is same


@given(LENGTHS, SEED, st.sampled_from(["crop", "prefix"]))
def test_crop_and_prefix_keep_a_true_stretch(lengths: list[int], seed: int, what: str) -> None:
    config = AugmentConfig.of({what: 1.0, "least_share": 0.4})
    for before, after in zip(
        lists(windows(lengths)), lists(augment_windows(windows(lengths), config, random_state(seed))), strict=True
    ):
        assert len(after) >= min(len(before), max(2, 0.4 * len(before)))
        begin = before.index(after[0]) if after else 0
        assert after == before[begin : begin + len(after)]
        assert what == "crop" or begin == 0


@given(LENGTHS, SEED)
def test_mask_takes_events_out_and_keeps_the_order(lengths: list[int], seed: int) -> None:
    found = augment_windows(windows(lengths), AugmentConfig(mask=0.6), random_state(seed))
    for before, after in zip(lists(windows(lengths)), lists(found), strict=True):
        assert after == sorted(set(after) & set(before))
        assert after[-2:] == before[-2:]
    assert (found.times == found.items * 10).all()


@given(LENGTHS, SEED)
def test_reorder_moves_a_short_span_and_no_time(lengths: list[int], seed: int) -> None:
    config = AugmentConfig(reorder=1.0, span=3)
    found = augment_windows(windows(lengths), config, random_state(seed))
    for before, after in zip(lists(windows(lengths)), lists(found), strict=True):
        assert sorted(after) == before
        moved = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        assert not moved or moved[-1] - moved[0] < 3
    assert (np.diff(found.times) == 10).all()
    assert found.kinds is not None
    assert found.values is not None
    assert (found.kinds == found.items).all()
    assert (found.values == found.items / 2).all()


@given(LENGTHS, SEED)
def test_substitute_takes_neighbours(lengths: list[int], seed: int) -> None:
    found = augment_windows(windows(lengths), AugmentConfig(substitute=0.5), random_state(seed), NEIGHBOURS)
    for before, after in zip(windows(lengths).items, found.items, strict=True):
        assert after in {before, before + 100, before + 200}


def test_an_item_without_neighbours_stays() -> None:
    found = augment_windows(windows([9]), AugmentConfig(substitute=1.0), random_state(0), np.zeros((10, 2), np.int32))
    assert lists(found) == lists(windows([9]))
    with pytest.raises(ConfigError, match="table of similar items"):
        augment_windows(windows([3]), AugmentConfig(substitute=0.5), random_state(0))


@given(LENGTHS, SEED)
def test_in_a_batch_no_input_shows_its_target_and_targets_stay_true(lengths: list[int], seed: int) -> None:
    before = batch(lengths)
    config = AugmentConfig(mask=0.3, reorder=1.0, substitute=0.3, span=4)
    after = augment_batch(before, config, random_state(seed), NEIGHBOURS)
    assert before.targets is not None
    assert after.targets is not None
    kept = after.targets != 0
    assert torch.equal(after.targets[kept], before.targets[kept])
    for row, targets in zip(after.items % 100, after.targets, strict=True):
        for t, target in enumerate(targets.tolist()):
            assert target == 0 or target not in row[: t + 1]
    assert torch.equal(after.times, before.times)
    assert torch.equal(after.lengths, before.lengths)
    assert not after.items[~after.mask].any()
    assert after.kinds is not None
    assert after.values is not None
    assert torch.equal(after.kinds, after.items % 100)
    assert torch.equal(after.values, (after.items % 100) / 2)


def test_mask_and_substitute_in_a_batch_keep_every_target() -> None:
    before = batch([9, 3, 0, 7])
    after = augment_batch(before, AugmentConfig(mask=0.5, substitute=0.5), random_state(1), NEIGHBOURS)
    assert before.targets is not None
    assert after.targets is not None
    assert torch.equal(after.targets, before.targets)
    assert (after.items[after.mask] == 0).any()
    assert (after.items > 100).any()


def test_cropped_windows_of_a_log_have_true_targets() -> None:
    frame = pl.DataFrame({"user": [0] * 9 + [1] * 5, "item": range(1, 15), "time": range(14)})
    sequences = Sequences(build_dataset(frame).interactions, max_len=20)
    rng = random_state(0)
    *windows, new = sequences.windows(0, 0)
    starts, ends = crop_windows(*windows, AugmentConfig(crop=1.0, least_share=0.2), rng)
    found = sequences.gather(starts, ends, new, rng)
    assert found.targets is not None
    assert torch.equal(found.targets[found.mask], found.items[found.mask] + 1)
    assert found.lengths.tolist() != [8, 4]


def test_probabilities_and_seed() -> None:
    many = windows([10] * 400)
    config = AugmentConfig(crop=0.2, prefix=0.1, mask=0.1, reorder=0.3, substitute=0.1)
    table = np.concatenate([[[0]], np.arange(1, 4001)[:, None] + 5000])
    one, two, other = (augment_windows(many, config, random_state(seed), table) for seed in (0, 0, 1))
    assert np.array_equal(one.items, two.items)
    assert not np.array_equal(one.items, other.items)
    assert (one.items > 5000).mean() == pytest.approx(0.1, abs=0.02)
    masked = augment_windows(many, AugmentConfig(mask=0.25), random_state(0))
    assert len(masked.items) == pytest.approx(400 * (2 + 8 * 0.75), rel=0.03)
