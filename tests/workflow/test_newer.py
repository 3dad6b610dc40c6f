"""Cases from a newer log: known users go on where the model's log ends, new users with their own earlier events."""

import numpy as np
import polars as pl
import pytest

from temporec.baselines.popularity import Popularity
from temporec.data.dataset import build_dataset
from temporec.errors import EmptyLogError
from temporec.workflow.newer import newer_cases

Row = tuple[str, int, int, str, float | None]
OLD: list[Row] = [
    ("a", 1, 0, "view", 1.0), ("a", 2, 10, "buy", None), ("b", 3, 5, "view", 3.0), ("c", 2, 20, "buy", 4.0),
]  # fmt: skip
NEW: list[Row] = [
    ("b", 2, 7, "view", 9.0), ("b", 1, 30, "buy", 9.0), ("b", 2, 40, "buy", 9.0), ("a", 4, 25, "view", 9.0),
    ("new", 1, 8, "gift", 7.0), ("new", 4, 9, "buy", 7.0), ("new", 3, 15, "buy", None), ("new", 2, 21, "view", 7.0),
    ("later", 3, 50, "view", 7.0),
]  # fmt: skip


def log(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user", "item", "time", "kind", "value"], orient="row")


def model(frame: pl.DataFrame) -> Popularity:
    return Popularity().fit(build_dataset(frame))


def test_histories_and_targets() -> None:
    cases = newer_cases(model(log(OLD)), build_dataset(log(NEW)))
    spans = zip(cases.histories.offsets[:-1], cases.histories.offsets[1:], strict=True)
    slices = [slice(begin, end) for begin, end in spans]
    assert [cases.histories.items[span].tolist() for span in slices] == [[1, 2], [3], [], [1, 3]]
    assert [cases.histories.times[span].tolist() for span in slices] == [[0, 10], [5], [], [8, 15]]
    assert cases.histories.users is not None
    assert cases.histories.users.tolist() == [0, 1, -1, -1]
    assert cases.targets.tolist() == [0, 1, 3, 2]  # item 4 is none of the model's
    kinds, values = cases.histories.kinds, cases.histories.values
    assert kinds is not None
    assert values is not None
    assert kinds.dtype == np.int16
    assert kinds.tolist() == [1, 0, 1, -1, 0]  # buy, view; "gift" is unknown
    np.testing.assert_array_equal(values, np.asarray([1, np.nan, 3, 7, np.nan], np.float32))


def test_columns_that_only_one_of_the_logs_has() -> None:
    bare = newer_cases(model(log(OLD)), build_dataset(log(NEW).drop("kind", "value"))).histories
    assert bare.kinds is not None
    assert bare.values is not None
    assert bare.kinds.tolist() == [1, 0, 1, -1, -1]
    np.testing.assert_array_equal(bare.values, np.asarray([1, np.nan, 3, np.nan, np.nan], np.float32))
    plain = newer_cases(model(log(OLD).drop("kind", "value")), build_dataset(log(NEW))).histories
    assert plain.kinds is None
    assert plain.values is None


def test_nothing_newer_is_said() -> None:
    with pytest.raises(EmptyLogError, match="no event of the log is later"):
        newer_cases(model(log(OLD)), build_dataset(log(OLD)))
