"""A row of a users table as numbers: categories, amounts, texts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from pydantic import NonNegativeInt, PositiveInt

from temporec.config import Config, Names
from temporec.data.catalog import Catalog
from temporec.data.features import FeatureConfig, FeatureEncoder
from temporec.data.vocabulary import Vocabulary
from temporec.errors import ColumnError, DataError
from temporec.recommend.texts import TextConfig, TextVectors

__all__ = ["ProfileConfig", "ProfileEncoder"]

_SHARED = 2  # users per value, from which text in a column is a category
_WORDS = 3  # per value on average, from which other text is read


class ProfileConfig(Config):
    """How the users table is used.

    Args:
        columns: None = all, of text only what is shared by 2 users on average (a category) or has 3 words (a text).
        categories: columns of numbers that are codes, not amounts.
        events: so many first events of each user say what a profile likes.
        until: a profile counts while a history has fewer events; None = chosen on a fifth of the users.
    """

    columns: Names | None = None
    categories: Names = ()
    events: PositiveInt = 20
    until: NonNegativeInt | None = None


class ProfileEncoder:
    """Rows of a users table as float32 [n, F]: categories, scaled numbers, texts; what is not known is zero, the mean.

    Args:
        features: fitted to categories and numbers.
        texts: fitted to text columns.
        mean: of each category column, over the users who have any category of its kind.
        table: no rows, but the names and types of the columns.
    """

    def __init__(self, features: FeatureEncoder, texts: TextVectors, mean: np.ndarray, table: pl.DataFrame) -> None:
        self.features, self.texts, self.mean, self.table = features, texts, mean, table

    @classmethod
    def fit(cls, frame: pl.DataFrame, config: ProfileConfig, text: TextConfig) -> Self:
        """Learn categories, scales and texts from rows of some users.

        Raises:
            ColumnError: a column that is asked for is not there, or no column can be used.
        """
        frame = _typed(frame, config)
        named, texts = _roles(frame, config)
        table = frame.select(*named, *texts)
        options = FeatureConfig.of({"columns": named, "categories": "one_hot"})
        encoders = [name for name in text.encoder if name not in ("given", "none")] or ["tfidf"]
        words = TextVectors(TextConfig.of({"encoder": encoders if texts else ["none"], "columns": texts, "dim": 32}))
        catalog = _catalog(table)
        made = cls(FeatureEncoder(options).fit(catalog), words, np.zeros(0, np.float32), table.clear())
        words.fit(catalog)
        hot = made.features.transform(catalog).multi_hot()
        made.mean = np.concatenate([np.zeros(0, np.float32), *(_mean(part) for part in made._blocks(hot))])
        return made

    def __call__(self, frame: pl.DataFrame) -> np.ndarray:
        """Features float32 [n, F] of rows that have the columns of `table`."""
        catalog = _catalog(frame.select(self.table.columns))
        found = self.features.transform(catalog)
        hot, mean = found.multi_hot(), self._blocks(self.mean[None, :])
        parts = [
            np.where(b.any(axis=1, keepdims=True), b - m, 0.0) for b, m in zip(self._blocks(hot), mean, strict=True)
        ]
        said = [self.texts.transform_catalog(catalog)] if self.texts.fitted else []
        return np.concatenate([*parts, found.numbers, *said], axis=1).astype(np.float32)

    def groups(self, width: int) -> np.ndarray:
        """For each of the F features, the number of the column that it comes from; all texts count as one."""
        sizes = [each.size for each in self.features.categories.values()] + [1] * len(self.features.numbers)
        return np.repeat(np.arange(len(sizes) + 1), [*sizes, width - sum(sizes)])

    def shaped(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A users table with the columns and types of `table`."""
        return frame.select(pl.col(name).cast(dtype) for name, dtype in self.table.schema.items())

    def frame(self, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
        """Profiles as a table; a column that is not named, None and "" are missing.

        Raises:
            ColumnError: a column that the model does not know.
            DataError: a value is not of the column's type.
        """
        for name in {name for row in rows for name in row}:
            if name not in self.table.columns:
                raise ColumnError(
                    f"no column {name!r} in the profiles of this model; known: {', '.join(self.table.columns)}"
                )
        return pl.DataFrame([_column(name, [row.get(name) for row in rows], dtype) for name, dtype in
                             self.table.schema.items()])  # fmt: skip

    def check(self, profile: Mapping[str, Any], frame: pl.DataFrame) -> None:
        """Refuse a profile of which nothing is known to the model, and name what it knows."""
        if not self(frame).any():
            known = [f"{name}: {', '.join(each.categories[:10])}" for name, each in self.features.categories.items()]
            raise DataError(
                f"the profile {dict(profile)} holds nothing that this model knows; known are "
                f"{'; '.join([*known, *self.features.numbers]) or 'texts'}"
            )

    def _blocks(self, rows: np.ndarray) -> list[np.ndarray]:
        """The columns of each category column."""
        ends = np.cumsum([each.size for each in self.features.categories.values()])
        return np.split(rows, ends[:-1], axis=1) if len(ends) else []

    def save(self, folder: Path) -> None:
        """Write features.json, and the texts' transform where there is one."""
        self.texts.save(folder)
        plain = {"features": self.features.to_dict(), "text": self.texts.config.to_dict()}
        (folder / "features.json").write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, mean: np.ndarray, table: pl.DataFrame) -> Self:
        """The inverse of `save`."""
        plain = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        texts = TextVectors.load(folder, TextConfig.of(plain["text"]))
        return cls(FeatureEncoder.from_dict(plain["features"]), texts, mean, table)


def _typed(frame: pl.DataFrame, config: ProfileConfig) -> pl.DataFrame:
    """Codes as text, flags as 0 and 1."""
    for name in (*config.categories, *(config.columns or ())):
        if name not in frame.columns:
            raise ColumnError(f"no column {name!r} in the users table; it has: {', '.join(frame.columns)}")
    flags = [name for name, dtype in frame.schema.items() if dtype == pl.Boolean]
    return frame.with_columns(pl.col(flags).cast(pl.Int8), pl.col(list(config.categories)).cast(pl.String))


def _roles(frame: pl.DataFrame, config: ProfileConfig) -> tuple[list[str], list[str]]:
    """Columns of categories and numbers, and columns of texts."""
    named, texts = [], []
    for name in frame.columns if config.columns is None else config.columns:
        values = frame[name].drop_nulls()
        nested = values.dtype.is_nested() and values.dtype != pl.List(pl.String)
        if name == "user" or (config.columns is None and (nested or not len(values))):
            continue
        if values.dtype != pl.String or name in config.categories or len(values) >= _SHARED * values.n_unique():
            named.append(name)
        elif (values.str.count_matches(r"\S+").mean() or 0) >= _WORDS:  # type: ignore[operator]
            texts.append(name)
        elif config.columns is not None:
            named.append(name)
    if not named and not texts:
        raise ColumnError(
            "the users table has no column of categories, numbers or texts (ids and names are left out); name columns "
            "with profiles.columns"
        )
    return named, texts


def _catalog(frame: pl.DataFrame) -> Catalog:
    ids = pl.int_range(len(frame), eager=True).alias("item")
    return Catalog(Vocabulary(ids, first=1, what="user"), pl.concat([ids.to_frame(), frame], how="horizontal"))


def _mean(block: np.ndarray) -> np.ndarray:
    known = block[block.any(axis=1)]
    return known.mean(axis=0) if len(known) else np.zeros(block.shape[1], np.float32)


def _column(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Given values as a column of the table's type; text is read as a number or date where the column holds those."""
    values = [None if isinstance(value, str) and not value.strip() else value for value in values]
    if isinstance(dtype, pl.List):
        return pl.Series(name, [[v] if isinstance(v, str) else v for v in values], dtype=dtype)
    for value in values:
        try:
            one = pl.Series([value]).cast(dtype)
        except (pl.exceptions.PolarsError, TypeError, OverflowError):
            one = pl.Series([None])
        if value is not None and one.null_count():
            raise DataError(f"{name}={value!r} in a profile is not of the column's type ({dtype})")
    return pl.Series(name, [None if v is None else pl.Series([v]).cast(dtype)[0] for v in values], dtype=dtype)
