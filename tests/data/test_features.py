"""Catalog columns as arrays, and items that come later."""

import json

import numpy as np
import polars as pl
import pytest

from temporec.data.catalog import Catalog
from temporec.data.features import FeatureConfig, FeatureEncoder
from temporec.errors import ColumnError

ITEMS = pl.DataFrame(
    {
        "item": ["x", "y", "z"],
        "title": ["Lamp", "Desk", None],
        "tags": [["home", "light"], ["home"], None],
        "price": [10.0, 30.0, None],
        "stock": [1, None, 3],
    }
)
CATALOG = Catalog.build(pl.Series(["x", "y", "z", "unseen"]), ITEMS)
ALL = FeatureConfig(columns=None)


def test_columns_by_role() -> None:
    features = FeatureEncoder(ALL).fit(CATALOG).transform(CATALOG)
    assert features.names == ("tags=home", "tags=light", "price", "stock")
    assert features.multi_hot().tolist() == [[1, 1], [1, 0], [0, 0], [0, 0]]
    assert features.numbers.tolist() == [[-1, -1], [1, 0], [0, 1], [0, 0]]
    assert features.missing.tolist() == [[False, False], [False, True], [True, False], [True, True]]
    assert features.dense().shape == (4, 2 + 2 * 2)
    assert features.columns.tolist() == [0, 1, 0]
    assert features.weights.tolist() == [0.5, 0.5, 1]
    assert len(features) == 4


def test_off_without_names_and_one_hot_adds_up() -> None:
    assert len(FeatureEncoder(FeatureConfig()).fit(CATALOG).transform(CATALOG).names) == 0
    config = FeatureConfig(columns=("tags",), categories="one_hot")
    assert FeatureEncoder(config).fit(CATALOG).transform(CATALOG).weights.tolist() == [1, 1, 1]


def test_text_columns_as_categories_by_name() -> None:
    config = FeatureConfig.of({"columns": "title, tags", "max_categories": 1, "unknown": "other"})
    features = FeatureEncoder(config).fit(CATALOG).transform(CATALOG)
    assert features.names == ("title=Desk", "title=(other)", "tags=home", "tags=(other)")
    assert features.multi_hot().tolist() == [[0, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_later_items_go_through_the_fitted_transform() -> None:
    encoder = FeatureEncoder(ALL).fit(CATALOG)
    later = pl.DataFrame({"item": ["n"], "tags": [["new", "light"]], "price": [50.0], "stock": [2]})
    grown = CATALOG.extend(later)
    before, after = encoder.transform(CATALOG), encoder.transform(grown)
    assert np.array_equal(after.dense()[:4], before.dense())
    assert after.multi_hot()[4].tolist() == [0, 1]
    assert after.numbers[4].tolist() == [3, 0]
    again = FeatureEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert np.array_equal(again.transform(grown).dense(), after.dense())


def test_dates_flags_and_nothing() -> None:
    items = pl.DataFrame({"item": ["x", "y"], "new": [True, None], "day": ["2024-01-01", "2024-01-03"]})
    catalog = Catalog.build(pl.Series(["x"]), items.with_columns(pl.col("day").str.to_date()))
    numbers = FeatureEncoder(FeatureConfig(columns=None, scaling="min_max")).fit(catalog).transform(catalog)
    assert numbers.numbers.tolist() == [[0, 0], [0, 1]]
    bare = Catalog.build(pl.Series([1, 2]))
    assert FeatureEncoder(ALL).fit(bare).transform(bare).dense().shape == (2, 0)


def test_refused() -> None:
    with pytest.raises(ColumnError, match=r"no column 'colour'.* known: title, tags, price, stock"):
        FeatureEncoder(FeatureConfig(columns=("tags", "colour"))).fit(CATALOG)
    with pytest.raises(ColumnError, match="no column 'tags'"):
        FeatureEncoder(ALL).fit(CATALOG).transform(Catalog.build(pl.Series(["x"])))
