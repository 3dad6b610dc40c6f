"""What the diversity of lists is measured by."""

import numpy as np
import polars as pl
import pytest

from temporec.data.dataset import build_dataset
from temporec.evaluation.spaces import item_space
from temporec.metrics.beyond import intra_list_diversity

LOG = pl.DataFrame({"user": [1, 1, 2, 2], "item": ["a", "b", "a", "c"], "time": [1, 2, 3, 4]})
ITEMS = {
    "categories": pl.Series([["x"], ["x"], ["y", "z"]]),
    "vectors": pl.Series([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]),
    "words": pl.Series(["红色 口红", "红色 口红", "blue mascara"]),
    "no words": pl.Series(["!", "?", ""]),
}


@pytest.mark.parametrize("kind", ["categories", "vectors", "words"])
def test_space(kind: str) -> None:
    data = build_dataset(LOG, pl.DataFrame({"item": ["a", "b", "c"], "about": ITEMS[kind]}))
    vectors, name = item_space(data)
    assert kind in name
    assert "about" in name
    assert vectors.shape[0] == data.catalog.size
    lists = np.asarray([[1, 2], [1, 3], [0, 1]])
    assert intra_list_diversity(lists, vectors) == pytest.approx([0.0, 1.0, np.nan], nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("items", [None, pl.DataFrame({"item": ["a", "b", "c"], "about": ITEMS["no words"]})])
def test_users_where_nothing_is_known(items: pl.DataFrame | None) -> None:
    vectors, name = item_space(build_dataset(LOG, items))
    assert "users" in name
    assert intra_list_diversity(np.asarray([[2, 3]]), vectors) == pytest.approx([1.0])
