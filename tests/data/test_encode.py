"""Encoders: there and back, missing values, JSON, and nothing learned from what is only transformed."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporec.data.encode import (
    LabelEncoder,
    LogScaler,
    LogStandardizer,
    MinMaxScaler,
    NumberEncoder,
    OneHotEncoder,
    Standardizer,
    encoder_from_dict,
    number_encoder,
)
from temporec.errors import CheckpointError, UnknownIdError, UnknownNameError

NUMBERS: list[type[NumberEncoder]] = [Standardizer, MinMaxScaler, LogScaler, LogStandardizer]
NAME = st.sampled_from(["a", "b", "c", "丁", ""])


def through_json(encoder: Any) -> Any:
    return encoder_from_dict(json.loads(json.dumps(encoder.to_dict())))


@given(st.lists(NAME | st.none()), st.lists(NAME | st.just("new") | st.none()))
def test_labels_there_and_back(train: list[str | None], new: list[str | None]) -> None:
    encoder = LabelEncoder().fit(train)
    assert encoder.inverse(encoder.transform(train)) == train
    assert encoder.inverse(encoder.transform(new)) == [value if value in train else None for value in new]
    assert np.array_equal(through_json(encoder).transform(new), encoder.transform(new))


def test_the_most_frequent_label_is_1_and_the_rest_is_cut() -> None:
    encoder = LabelEncoder(max_size=2).fit(["b", "a", "c", "c", None, "b"])
    assert encoder.categories == ["b", "c"]
    assert encoder.transform(["a", "b", "c", None]).tolist() == [0, 1, 2, 0]
    with pytest.raises(UnknownIdError, match="1 unknown categories: 'a'"):
        encoder.transform(["a", "b", None], unknown="raise")


ROW = NAME | st.none() | st.lists(NAME | st.none(), max_size=4)


@given(st.lists(ROW, max_size=6), st.lists(ROW | st.just("new"), max_size=6), st.sampled_from(["ignore", "other"]))
def test_one_hot_slow_twin(train: list[Any], new: list[Any], unknown: Any) -> None:
    encoder = OneHotEncoder(unknown=unknown).fit(train)
    rows = encoder.transform(new)
    assert rows.shape == (len(new), encoder.size)
    for row, value in zip(rows, new, strict=True):
        names = [value] if isinstance(value, str) else [name for name in value or () if name is not None]
        expected = [float(category in names) for category in encoder.categories]
        if unknown == "other":
            expected.append(float(any(name not in encoder.categories for name in names)))
        assert row.tolist() == expected
    assert [set(row) for row in encoder.inverse(rows)] == [
        {name for name in ([v] if isinstance(v, str) else v or ()) if name in encoder.categories} for v in new
    ]
    columns, offsets = encoder.indices(new)
    for i, row in enumerate(rows):
        assert columns[offsets[i] : offsets[i + 1]].tolist() == np.flatnonzero(row).tolist()
    assert np.array_equal(through_json(encoder).transform(new), rows)


def test_one_hot_limits_and_refuses() -> None:
    encoder = OneHotEncoder(max_size=1, unknown="other").fit([["a", "a", "b"], ["b", "c"]])
    assert encoder.categories == ["b"]
    assert encoder.transform(["b", "a", None]).tolist() == [[1, 0], [0, 1], [0, 0]]
    with pytest.raises(UnknownIdError, match="'new'"):
        OneHotEncoder(unknown="raise").fit(["a"]).transform(["new"])


@pytest.mark.parametrize("kind", NUMBERS)
@given(st.lists(st.floats(-1e4, 1e4, width=32) | st.just(math.nan) | st.just(math.inf), max_size=8))
def test_numbers_there_and_back(kind: type[NumberEncoder], values: list[float]) -> None:
    train = np.asarray(values, dtype=np.float64)
    encoder = kind().fit(train)
    encoded = encoder.transform(train)
    known = np.isfinite(train)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    assert encoder.inverse(encoded)[known] == pytest.approx(train[known], rel=1e-3, abs=2e-2)
    if known.any():
        assert encoded[~known] == pytest.approx(np.full((~known).sum(), encoded[known].mean()), rel=1e-3, abs=1e-3)
    new = np.asarray([1e300, -3.0, math.nan, -math.inf, 0.0])
    assert np.isfinite(encoder.transform(new)).all()
    assert np.array_equal(through_json(encoder).transform(new), encoder.transform(new))


def test_what_each_scaler_does() -> None:
    train, new = np.asarray([1.0, 2.0, 3.0, math.nan]), np.asarray([2.0, 5.0, math.nan])
    deviation = math.sqrt(2 / 3)
    assert Standardizer().fit(train).transform(new) == pytest.approx([0, 3 / deviation, 0])
    assert MinMaxScaler().fit(train).transform(new) == pytest.approx([0.5, 2.0, 0.5])
    mean_log = np.log1p(train[:3]).mean()
    assert LogScaler().fit(train).transform(new) == pytest.approx([math.log(3), math.log(6), mean_log])
    assert LogScaler().fit(train).transform(np.asarray([-3.0])) == pytest.approx([-math.log(4)])
    logs = LogStandardizer().fit(train).transform(train[:3])
    assert (logs.mean(), logs.std()) == pytest.approx((0.0, 1.0), abs=1e-6)


@pytest.mark.parametrize("kind", NUMBERS)
def test_columns_are_scaled_apart_and_constants_are_harmless(kind: type[NumberEncoder]) -> None:
    table = np.asarray([[1.0, 7.0, math.nan], [4.0, 7.0, math.nan]])
    whole = kind().fit(table).transform(table)
    for c in range(3):
        assert np.array_equal(whole[:, c], kind().fit(table[:, c]).transform(table[:, c]))
    assert np.isfinite(whole).all()


def test_scikit_learn_agrees() -> None:
    from sklearn.preprocessing import MinMaxScaler as TheirMinMax
    from sklearn.preprocessing import StandardScaler

    table = np.random.default_rng(0).normal(3, 5, size=(50, 3))
    table[3, 1] = np.nan
    known = np.isfinite(table)
    for ours, theirs in ((Standardizer(), StandardScaler()), (MinMaxScaler(), TheirMinMax())):
        assert ours.fit(table).transform(table)[known] == pytest.approx(theirs.fit_transform(table)[known], abs=1e-5)


def test_unknown_names() -> None:
    assert isinstance(number_encoder("log"), LogScaler)
    with pytest.raises(UnknownNameError, match="min_max"):
        number_encoder("one_hot")
    with pytest.raises(CheckpointError, match="may be newer"):
        encoder_from_dict({"kind": "later"})
    with pytest.raises(CheckpointError, match="damaged"):
        encoder_from_dict({"kind": "standard", "shift": 1.0})
