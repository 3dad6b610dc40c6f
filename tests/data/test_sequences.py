"""Windows and batches: every event a target, right padding, targets where there are some, order by seed and epoch."""

from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from temporec.data.batch import Histories, SequenceBatch, pad_rows
from temporec.data.dataset import build_dataset
from temporec.data.interactions import Interactions
from temporec.data.sequences import Sequences
from temporec.errors import EmptyLogError


@st.composite
def logs(draw: st.DrawFn) -> Interactions:
    """A few users with up to 20 events, ties in time; item = row + 1, so that an item names its event."""
    counts = draw(st.lists(st.integers(1, 20), min_size=1, max_size=5))
    assume(max(counts) >= 2)
    times = [sorted(draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))) for n in counts]
    users = [user for user, n in enumerate(counts) for _ in range(n)]
    frame = pl.DataFrame(
        {"user": users, "item": range(1, sum(counts) + 1), "time": [1000 * t for own in times for t in own]}
    )
    return build_dataset(frame.with_columns(kind=pl.lit("buy"), value=pl.col("item") / 2)).interactions


LENGTHS = st.integers(1, 8)
SEEDS = st.tuples(st.integers(0, 99), st.integers(0, 99))


@given(logs(), LENGTHS, SEEDS)
def test_every_event_is_a_target_in_every_epoch(log: Interactions, max_len: int, seed: tuple[int, int]) -> None:
    """Once, all but the first of each user."""
    sequences = Sequences(log, max_len, 16)
    seen = Counter(
        int(item) for batch in sequences.batches(*seed) if batch.targets is not None for item in batch.targets.flatten()
    )
    del seen[0]
    firsts = set((log.offsets[:-1] + 1).tolist())
    assert set(seen) == set(range(1, len(log) + 1)) - firsts
    assert max(seen.values()) == 1
    assert sequences.positions == len(seen)


@given(logs(), LENGTHS, SEEDS)
def test_windows_lie_within_one_user(log: Interactions, max_len: int, seed: tuple[int, int]) -> None:
    starts, ends, _ = Sequences(log, max_len).windows(*seed)
    assert ((ends - starts >= 1) & (ends - starts <= max_len)).all()
    assert (log.user[starts] == log.user[ends]).all()  # the target of the last position is still the same user's


@given(logs(), LENGTHS, SEEDS, st.integers(1, 30), st.none() | st.integers(1, 4))
def test_batches(log: Interactions, max_len: int, seed: tuple[int, int], tokens: int, size: int | None) -> None:
    sequences = Sequences(log, max_len, tokens, batch=size)
    batches = list(sequences.batches(*seed))
    assert sequences.count(*seed) == len(batches)
    for batch in batches:
        rows, width = batch.items.shape
        assert rows * width <= tokens or rows == 1 or size is not None
        assert size is None or rows <= size
        assert width == int(batch.lengths.max())
        check_padding(batch)
        check_targets(batch, log)
    assert sum(len(batch.items) for batch in batches) == len(sequences.windows(*seed)[0])


def check_padding(batch: SequenceBatch) -> None:
    """Valid positions first, zeros behind."""
    mask = batch.mask
    assert torch.equal(batch.items > 0, mask)
    assert torch.equal(mask.sum(dim=1), batch.lengths)
    for name in ("times", "dt", "targets", "gap", "kinds", "values"):
        column = getattr(batch, name)
        assert column.shape == batch.items.shape
        assert not column[~mask].any(), name


def check_targets(batch: SequenceBatch, log: Interactions) -> None:
    """The target is the next event, and gap, kind and value are those of the events; old targets stand in front."""
    assert batch.targets is not None
    assert batch.gap is not None
    assert batch.values is not None
    assert batch.kinds is not None
    for b, t in torch.nonzero(batch.mask).tolist():
        row = int(batch.items[b, t]) - 1
        assert log.user[row] == log.user[row + 1]
        if batch.targets[b, t] == 0:
            assert not batch.targets[b, : t + 1].any()
            assert batch.gap[b, t] == 0
        else:
            assert batch.targets[b, t] == row + 2
            assert batch.gap[b, t] == (log.time[row + 1] - log.time[row]) / 1000
        assert batch.dt[b, t] == (0 if t == 0 else (log.time[row] - log.time[row - 1]) / 1000)
        assert (batch.values[b, t], batch.kinds[b, t]) == ((row + 1) / 2, 1)


@given(logs(), LENGTHS, SEEDS)
def test_the_next_basket(log: Interactions, max_len: int, seed: tuple[int, int]) -> None:
    """A target lies in the basket right after that of its event; the last basket has none."""
    for batch in Sequences(log, max_len, 16, target="next_basket").batches(*seed):
        assert batch.targets is not None
        for b, t in torch.nonzero(batch.mask).tolist():
            row, after = int(batch.items[b, t]) - 1, int(batch.targets[b, t]) - 1
            own = range(log.offsets[log.user[row]], log.offsets[log.user[row] + 1])
            later = sorted({int(log.time[i]) for i in own if log.time[i] > log.time[row]})
            if not later or not batch.targets[b, : t + 1].any():  # nothing follows, or it was a target before
                assert after == -1
            else:
                assert log.user[after] == log.user[row]
                assert log.time[after] == later[0]


@given(logs(), SEEDS)
def test_order_is_a_function_of_seed_and_epoch(log: Interactions, seed: tuple[int, int]) -> None:
    sequences = Sequences(log, 3, 6)
    once, again = list(sequences.batches(*seed)), list(sequences.batches(*seed))
    tail = list(sequences.batches(*seed, skip=len(once) // 2))
    assert len(tail) == len(once) - len(once) // 2
    for a, b in [*zip(once, again, strict=True), *zip(once[len(once) // 2 :], tail, strict=True)]:
        assert torch.equal(a.items, b.items)


def test_epochs_differ() -> None:
    """The borders between the windows of a long history move, and so does the order of the batches."""
    frame = pl.DataFrame({"user": [1] * 50 + [2] * 7, "item": range(1, 58)})
    sequences = Sequences(build_dataset(frame).interactions, 8, 16)
    assert len({tuple(sequences.windows(0, epoch)[1].tolist()) for epoch in range(20)}) > 4
    first = [[tuple(batch.items.flatten().tolist()) for batch in sequences.batches(0, epoch)] for epoch in range(3)]
    assert first[0] != first[1] != first[2]


def test_a_log_without_two_events_of_a_user() -> None:
    with pytest.raises(EmptyLogError, match="no history has two events"):
        Sequences(build_dataset(pl.DataFrame({"user": [1, 2], "item": [3, 3]})).interactions)


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[tuple[int, int]]], Histories]:
    """Histories as lists of (item, milliseconds) and as arrays; some are empty."""
    event = st.tuples(st.integers(1, 9), st.integers(0, 10**6))
    rows = [
        sorted(own, key=lambda e: e[1]) for own in draw(st.lists(st.lists(event, max_size=6), min_size=1, max_size=5))
    ]
    events = [e for own in rows for e in own]
    at = np.asarray([10**6 + 500 * i for i in range(len(rows))])
    item, time = (np.asarray([e[i] for e in events], dtype=np.int64) for i in (0, 1))
    offsets = np.cumsum([0, *map(len, rows)])
    return rows, Histories(item.astype(np.int32), time, offsets, at, np.arange(len(rows), dtype=np.int32))


@given(histories(), st.integers(1, 7))
def test_a_batch_holds_the_last_events(case: tuple[list[list[tuple[int, int]]], Histories], max_len: int) -> None:
    rows, given_ = case
    batch = given_.batch(given_.starts(max_len))
    assert torch.equal(batch.items > 0, batch.mask)
    for b, own in enumerate(rows):
        last, n = own[-max_len:], int(batch.lengths[b])
        assert batch.items[b, :n].tolist() == [item for item, _ in last]
        assert batch.times[b, :n].tolist() == [time for _, time in last]
        gaps = [(new[1] - old[1]) / 1000 for old, new in pairwise([own[0], *own])][-max_len:] if own else [0.0]
        assert batch.dt[b, :n].tolist() == pytest.approx(gaps[:n])
        assert given_.at is not None
        assert batch.gap is not None
        if n:
            assert batch.gap[b, n - 1] == pytest.approx((given_.at[b] - last[-1][1]) / 1000)
            assert torch.count_nonzero(batch.gap[b]) <= 1


@given(histories(), st.data())
def test_rows_picks_histories(case: tuple[list[list[tuple[int, int]]], Histories], data: st.DataObject) -> None:
    rows, whole = case
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    part = whole.rows(np.asarray(chosen, dtype=np.int64))
    spans = zip(part.offsets[:-1], part.offsets[1:], strict=True)
    assert [part.items[a:b].tolist() for a, b in spans] == [[item for item, _ in rows[row]] for row in chosen]
    assert part.users is not None
    assert part.users.tolist() == chosen


def test_nothing_at_all_is_one_padded_column() -> None:
    empty = pad_rows(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64))
    assert empty.items.tolist() == [[0], [0]]
    assert empty.lengths.tolist() == [0, 0]


def test_without_times_gaps_are_off() -> None:
    sequences = Sequences(build_dataset(pl.DataFrame({"user": [1] * 4, "item": [1, 2, 3, 4]})).interactions)
    (batch,) = sequences.batches(0, 0)
    assert batch.gap is not None
    assert not batch.dt.any()
    assert not batch.gap.any()
