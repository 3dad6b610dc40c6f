"""Splits against loops over users: half-open cuts, nobody's event on both sides, ties in file order."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from temporec.data.dataset import Dataset, build_dataset
from temporec.data.split import Cases, Split, Target, global_time, leave_last_out, rolling, split, time_at_share
from temporec.errors import DataError, EmptyLogError

TARGETS = st.sampled_from(["next_event", "next_basket"])


@dataclass(frozen=True)
class Event:
    """Every event is about an item of its own, so that an item number names the event."""

    user: int
    time: int
    item: int


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Events of a few users in any file order, with many ties in time."""
    rows = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=1, max_size=24))
    return [Event(user, time, 1 + i) for i, (user, time) in enumerate(rows)]


def dataset_of(events: list[Event]) -> Dataset:
    """All items stand in an items table, so none is unknown to the training part."""
    frame = pl.DataFrame([vars(event) for event in events])
    return build_dataset(frame, frame.select("item").sort("item"))


def by_user(events: list[Event]) -> dict[int, list[Event]]:
    """Sorted by time; Python's sort is stable, so ties stay in file order."""
    users = sorted({event.user for event in events})
    return {user: sorted((e for e in events if e.user == user), key=lambda e: e.time) for user in users}


def baskets(events: list[Event], target: str) -> list[list[Event]]:
    """What can be a target, in order: single events, or all events of a moment."""
    if target == "next_event":
        return [[event] for event in events]
    return [[e for e in events if e.time == time] for time in sorted({e.time for e in events})]


def told(cases: Cases) -> list[tuple[list[int], list[int]]]:
    """History and answer of each case, as items."""
    spans = zip(cases.histories.offsets[:-1], cases.histories.offsets[1:], strict=True)
    histories = [cases.histories.items[a:b].tolist() for a, b in spans]
    answers = [cases.targets[a:b].tolist() for a, b in zip(cases.offsets[:-1], cases.offsets[1:], strict=True)]
    return list(zip(histories, answers, strict=True))


def items(events: list[Event]) -> list[int]:
    return [event.item for event in events]


def flat(groups: list[list[Event]]) -> list[int]:
    return [event.item for group in groups for event in group]


@given(logs(), st.integers(1, 4), st.integers(1, 2), TARGETS)
def test_global_time(events: list[Event], valid_at: int, width: int, target: Target) -> None:
    test_at = valid_at + width
    train = [[e for e in own if e.time < valid_at] for own in by_user(events).values()]
    windows = ((valid_at, test_at), (test_at, 99))
    expected = []
    for low, high in windows:
        cases = []
        for own in by_user(events).values():
            inside = [e for e in own if low <= e.time < high]
            if inside:
                cases.append((items([e for e in own if e.time < low]), items(baskets(inside, target)[0])))
        expected.append(cases)
    assume(any(train) and all(expected))
    made = global_time(dataset_of(events), valid_at, test_at, target)
    assert made.train.interactions.item.tolist() == flat(train)
    assert told(made.valid) == expected[0]
    assert told(made.test) == expected[1]
    assert made.cuts == (valid_at, test_at)


@given(logs(), TARGETS)
def test_leave_last_out(events: list[Event], target: Target) -> None:
    train, valid, test = [], [], []
    for own in by_user(events).values():
        groups = baskets(own, target)
        if len(groups) < 3:
            train += groups
            continue
        train += groups[:-2]
        valid.append((flat(groups[:-2]), items(groups[-2])))
        test.append((flat(groups[:-1]), items(groups[-1])))
    assume(train and test)
    made = leave_last_out(dataset_of(events), target)
    assert made.train.interactions.item.tolist() == flat(train)
    assert told(made.valid) == valid
    assert told(made.test) == test


def sides(made: Split) -> tuple[set[int], set[int], set[int]]:
    """Items that train, that are validation targets and that are test targets."""
    train = set(made.train.interactions.item.tolist())
    return train, set(made.valid.targets.tolist()), set(made.test.targets.tolist())


@given(logs(), TARGETS, st.sampled_from(["global-time", "leave-last-out"]))
def test_no_event_on_both_sides(events: list[Event], target: Target, protocol: str) -> None:
    try:
        made = split(dataset_of(events), protocol, target, (0.5, 0.75))
    except EmptyLogError:
        assume(False)
    train, valid, test = sides(made)
    assert not train & valid
    assert not train & test
    assert not valid & test
    for cases in (made.valid, made.test):
        assert all(not set(history) & set(answer) for history, answer in told(cases))
        assert all(answer for _, answer in told(cases))
    time = {event.item: event.time for event in events}
    for history, answer in told(made.test):
        assert all(time[old] <= time[new] for old in history for new in answer)


@given(logs(), st.integers(1, 2))
def test_rolling_windows_follow_one_another(events: list[Event], folds: int) -> None:
    try:
        made = list(rolling(dataset_of(events), folds, 0.2))
    except DataError:
        assume(False)
    assert len(made) == folds
    tested: set[int] = set()
    for one in made:
        train, valid, test = sides(one)
        assert not tested & test
        assert not (train & test)
        assert not (train & valid)
        assert not (valid & test)
        tested |= test
    assert all(a.cuts[1] <= b.cuts[1] for a, b in pairwise(made) if a.cuts and b.cuts)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.floats(0.05, 0.95))
def test_time_at_share(times: list[int], share: float) -> None:
    log = build_dataset(pl.DataFrame({"user": 1, "item": 1, "time": times})).interactions
    (cut,) = time_at_share(log, (share,))
    assert cut in times
    assert sum(time < cut for time in times) <= round(share * len(times))
    assert sum(time <= cut for time in times) > min(len(times) - 1, round(share * len(times)))


@given(logs(), st.data())
def test_rows_picks_cases(events: list[Event], data: st.DataObject) -> None:
    try:
        cases = leave_last_out(dataset_of(events), "next_basket").test
    except EmptyLogError:
        assume(False)
    rows = data.draw(st.lists(st.integers(0, len(cases) - 1), max_size=5))
    assert told(cases.rows(np.asarray(rows, dtype=np.int64))) == [told(cases)[row] for row in rows]


def test_items_of_the_future_are_unknown_to_training() -> None:
    """Item 9 happens after the cut only: it is no item of the training catalog, no history event, a target of 0."""
    frame = pl.DataFrame({"user": [1, 1, 1, 2, 2, 2], "item": [5, 9, 5, 5, 7, 9], "time": [0, 10, 20, 0, 10, 20]})
    made = global_time(build_dataset(frame), 10, 20)
    assert made.train.catalog.vocabulary.ids.to_list() == [5]
    assert told(made.valid) == [([1], [0]), ([1], [0])]
    assert told(made.test) == [([1], [1]), ([1], [0])]


def test_kinds_of_the_future_are_unknown_to_training() -> None:
    """ "add" and "gift" come after the first cut only: the kinds of training are numbered as if they did not exist."""
    kinds = ["buy", "add", "view", "view", "gift", "buy"]
    frame = pl.DataFrame({"user": [1, 1, 1, 2, 2, 2], "item": 5, "time": [0, 10, 20, 0, 10, 20], "kind": kinds})
    made = global_time(build_dataset(frame), 10, 20)
    log = made.train.interactions
    assert log.kinds == ("buy", "view")
    assert log.kind is not None
    assert log.kind.tolist() == [0, 1]
    assert made.valid.histories.kinds is not None
    assert made.valid.histories.kinds.tolist() == [0, 1]
    assert made.test.histories.kinds is not None
    assert made.test.histories.kinds.tolist() == [0, -1, 1, -1]


def test_what_cannot_be_split_is_said() -> None:
    log = dataset_of([Event(1, time, 1 + time) for time in range(5)])
    with pytest.raises(DataError, match="known: global-time, leave-last-out"):
        split(log, "random")
    with pytest.raises(DataError, match="must lie before"):
        global_time(log, 3, 3)
    with pytest.raises(DataError, match=r"between 0 and 1, ascending"):
        split(log, cuts=(0.9, 0.8))
    with pytest.raises(EmptyLogError, match="it needs some of each"):
        global_time(log, 0, 3)
    with pytest.raises(EmptyLogError, match="fall on one moment"):
        split(dataset_of([Event(1, 4, 1), Event(1, 4, 2), Event(2, 4, 3)]))
    with pytest.raises(DataError, match="leave nothing to train on"):
        list(rolling(log, 9, 0.1))
