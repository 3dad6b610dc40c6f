"""The feature part of the item table, against a sum over the features of each item."""

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from temporec.data.catalog import Catalog
from temporec.data.features import FeatureConfig, FeatureEncoder, Features
from temporec.embeddings.features import FeatureEmbedding, FeatureEmbeddingConfig

ITEMS = pl.DataFrame(
    {
        "item": [1, 2, 3, 4],
        "brand": ["b", "a", None, "b"],
        "tags": [["x", "y"], [], ["y"], ["x", "y", "z"]],
        "price": [1.0, None, 5.0, 3.0],
    }
)
CATALOG = Catalog.build(pl.Series([1, 2, 3, 4]), ITEMS)


def features(columns: list[str], **options: Any) -> Features:
    config = FeatureConfig.of({"columns": columns, **options})
    return FeatureEncoder(config).fit(CATALOG).transform(CATALOG)


def embedding(given: Features) -> FeatureEmbedding:
    return FeatureEmbedding(
        FeatureEmbeddingConfig(), 3, len(given) + 1, generator=torch.Generator().manual_seed(0), features=given
    )


@pytest.mark.parametrize("categories", ["learned", "one_hot"])
def test_table_is_the_sum_over_the_features(categories: str) -> None:
    given = features(["brand", "tags", "price"], categories=categories)
    made = embedding(given)
    table = made.table().detach().numpy()
    vectors = dict(zip(given.names, [*made.categories.detach().numpy(), None], strict=True))
    scale, missing = made.scales.detach().numpy()
    for row in ITEMS.iter_rows(named=True):
        tags = [vectors[f"tags={tag}"] for tag in row["tags"]]
        share = len(tags) if categories == "learned" and tags else 1
        wanted = np.zeros(3) if row["brand"] is None else vectors[f"brand={row['brand']}"]
        wanted = wanted + sum(tags, np.zeros(3)) / share
        wanted = wanted + given.numbers[row["item"] - 1, 0] * scale + (row["price"] is None) * missing
        np.testing.assert_allclose(table[row["item"]], wanted, atol=1e-6)
    assert not table[0].any()


@pytest.mark.parametrize("columns", [["brand"], ["price"], []])
def test_some_columns_or_none(columns: list[str]) -> None:
    made = embedding(features(columns))
    assert made.table().shape == (5, 3)
    assert bool(made.table()[1:].any()) == bool(columns)
    assert not made.table()[0].any()


def test_items_of_one_brand_learn_together_and_what_is_given_is_not_a_weight() -> None:
    made = embedding(features(["brand"]))
    made.table()[1].sum().backward()
    assert made.categories.grad is not None
    assert torch.equal(made.categories.grad.abs().sum(dim=1) > 0, torch.tensor([True, False]))  # b is more frequent
    assert set(made.state_dict()) == {"categories", "scales"}
