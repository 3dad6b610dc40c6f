"""What a catalog says about its items as arrays: categories (index lists or multi-hot) and scaled numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import PositiveInt

from temporec.config import Config, Names
from temporec.data.catalog import Catalog
from temporec.data.encode import NumberEncoder, OneHotEncoder, encoder_from_dict, number_encoder
from temporec.errors import CheckpointError, ColumnError

__all__ = ["FeatureConfig", "FeatureEncoder", "Features"]


class FeatureConfig(Config):
    """Options of `FeatureEncoder`.

    Args:
        columns: columns of the items table; strings and lists of strings are categories, numbers, dates and flags are
            numbers. None = all but plain strings, which are mostly texts.
        categories: "learned" = a learned vector per category, averaged where an item has several in one column;
            "one_hot" = 0/1 columns through one linear layer, so that several categories add up.
        scaling: how numbers are scaled.
        max_categories: columns of the one-hot part per catalog column; rarer categories are unknown.
        unknown: what an unknown category does: nothing, or set the column "other".
    """

    columns: Names | None = ()
    categories: Literal["learned", "one_hot"] = "learned"
    scaling: Literal["standard", "min_max", "log", "log_standard"] = "standard"
    max_categories: PositiveInt = 1_000
    unknown: Literal["ignore", "other"] = "ignore"


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of V items; row i belongs to item number i + 1.

    `columns[offsets[i]:offsets[i + 1]]` are the category columns that are set for row i, out of `size`; all category
    columns of the catalog share this numbering.
    """

    columns: np.ndarray  # int32 [M]
    weights: np.ndarray  # float32 [M]; 1, or 1 / how many categories of the same catalog column are set in that row
    offsets: np.ndarray  # int64 [V + 1]
    size: int  # C
    numbers: np.ndarray  # float32 [V, N] scaled; the training mean where missing
    missing: np.ndarray  # bool [V, N]
    names: tuple[str, ...]  # of the C category columns ("column=value"), then of the N numbers

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def multi_hot(self) -> np.ndarray:
        """Categories as 0/1, float32 [V, C]."""
        table = np.zeros((len(self), self.size), dtype=np.float32)
        table[np.repeat(np.arange(len(self)), np.diff(self.offsets)), self.columns] = 1.0
        return table

    def dense(self) -> np.ndarray:
        """Everything beside each other, float32 [V, C + 2 N]: categories, numbers, missing flags."""
        return np.concatenate([self.multi_hot(), self.numbers, self.missing.astype(np.float32)], axis=1)


class FeatureEncoder:
    """Fitted on the items of the training log; `transform` takes any catalog with the same columns."""

    def __init__(self, config: FeatureConfig) -> None:
        self.config = config
        self.categories: dict[str, OneHotEncoder] = {}
        self.numbers: dict[str, NumberEncoder] = {}

    def fit(self, catalog: Catalog) -> Self:
        """Learn categories and scales from the columns of a catalog."""
        config = self.config
        categories, numbers = _chosen(catalog, config.columns)
        self.categories = {
            name: OneHotEncoder(config.max_categories, config.unknown).fit(_category_rows(catalog, name))
            for name in categories
        }
        self.numbers = {name: number_encoder(config.scaling).fit(_number_rows(catalog, name)) for name in numbers}
        return self

    def transform(self, catalog: Catalog) -> Features:
        """Arrays of all items of a catalog that has the columns of `fit`."""
        rows, columns, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
        shift, names = 0, []
        for name, encoder in self.categories.items():
            found, offsets = encoder.indices(_category_rows(catalog, name))
            count = np.diff(offsets)
            rows.append(np.repeat(np.arange(len(catalog)), count))
            columns.append(found + np.int32(shift))
            share = 1.0 / np.maximum(count, 1) if self.config.categories == "learned" else np.ones(len(count))
            weights.append(np.repeat(share.astype(np.float32), count))
            shift += encoder.size
            names += [f"{name}={value}" for value in encoder.categories]
            names += [f"{name}=(other)"] * (encoder.size - len(encoder.categories))
        row, column, weight = np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)
        order = np.argsort(row, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(catalog)))]).astype(np.int64)
        numbers = np.zeros((len(catalog), len(self.numbers)), dtype=np.float32)
        missing = np.zeros(numbers.shape, dtype=bool)
        for i, (name, scaler) in enumerate(self.numbers.items()):
            raw = _number_rows(catalog, name)
            numbers[:, i], missing[:, i] = scaler.transform(raw), ~np.isfinite(raw)
        return Features(column[order], weight[order], offsets, shift, numbers, missing, (*names, *self.numbers))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, saved with the model."""
        categories = {name: each.to_dict() for name, each in self.categories.items()}
        numbers = {name: each.to_dict() for name, each in self.numbers.items()}
        return {"config": self.config.to_dict(), "categories": categories, "numbers": numbers}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        made = cls(FeatureConfig.of(state["config"]))
        for name, part in state["categories"].items():
            encoder = encoder_from_dict(part)
            if not isinstance(encoder, OneHotEncoder):
                raise CheckpointError(f"the saved encoder of column {name!r} is not one-hot; fit the model again")
            made.categories[name] = encoder
        for name, part in state["numbers"].items():
            encoder = encoder_from_dict(part)
            if not isinstance(encoder, NumberEncoder):
                raise CheckpointError(f"the saved encoder of column {name!r} is not for numbers; fit the model again")
            made.numbers[name] = encoder
        return made


def _chosen(catalog: Catalog, names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Columns with categories, and columns with numbers."""
    numbers, lists, texts = (catalog.columns(role) for role in ("numeric", "category", "text"))
    if names is None:
        return lists, numbers
    known = [name for name in catalog.frame.columns if name in {*numbers, *lists, *texts}]
    for name in names:
        if name not in known:
            raise ColumnError(
                f"no column {name!r} with categories or numbers in the {catalog.vocabulary.what}s table; known: "
                f"{', '.join(known) or 'none'}"
            )
    return [name for name in names if name not in numbers], [name for name in names if name in numbers]


def _column(catalog: Catalog, name: str) -> pl.Series:
    if name not in catalog.frame.columns:
        raise ColumnError(f"the {catalog.vocabulary.what}s have no column {name!r}, which the features were fitted on")
    return catalog.frame[name]


def _category_rows(catalog: Catalog, name: str) -> list[Any]:
    column = _column(catalog, name)
    return (column if isinstance(column.dtype, pl.List) else column.cast(pl.String)).to_list()


def _number_rows(catalog: Catalog, name: str) -> np.ndarray:
    """Numbers float64 [V], NaN where missing; dates and times as days or the column's own time unit."""
    column = _column(catalog, name)
    try:
        return (
            (column.to_physical() if column.dtype.is_temporal() else column)
            .cast(pl.Float64)
            .fill_null(np.nan)
            .to_numpy()
        )
    except pl.exceptions.PolarsError as error:
        raise ColumnError(f"column {name!r} of type {column.dtype} cannot be read as numbers: {error}") from None
