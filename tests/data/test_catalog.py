"""A catalog takes new items in its own types, and says which column it cannot take."""

import polars as pl
import pytest

from temporec.data.catalog import Catalog
from temporec.errors import ColumnError


def catalog() -> Catalog:
    items = pl.DataFrame(
        {"item": ["a", "b"], "title": ["lamp", "mug"], "price": [1.5, 2.0], "image": [[0.5, 1.0], [0.0, 1.0]]},
        schema_overrides={"image": pl.List(pl.Float32)},
    )
    return Catalog.build(pl.Series(["a", "b"]), items)


def test_new_rows_take_the_types_of_the_catalog() -> None:
    rows = pl.DataFrame({"item": ["c", "a"], "title": [None, "x"], "price": [3, 4], "image": [[1, 2], None]})
    grown = catalog().extend(rows.with_columns(pl.col("image").cast(pl.List(pl.Float64))))
    assert grown.frame.schema == catalog().frame.schema
    assert grown.frame.row(2) == ("c", None, 3.0, [1.0, 2.0])
    assert len(grown) == 3


def test_a_column_of_another_type_is_named() -> None:
    rows = pl.DataFrame({"item": ["c"], "price": ["cheap"]})
    with pytest.raises(ColumnError, match="column 'price' of new items is of type String, in the catalog of Float64"):
        catalog().extend(rows)


def test_known_rows_change_in_known_columns() -> None:
    rows = pl.DataFrame({"item": ["b", "b", "zzz"], "title": ["x", "cup", "no"], "colour": ["red", "red", "red"]})
    changed = catalog().changed(rows)
    assert changed.frame["title"].to_list() == ["lamp", "cup"]
    assert changed.frame.columns == catalog().frame.columns
    assert catalog().changed(rows.select("item")).frame.equals(catalog().frame)
