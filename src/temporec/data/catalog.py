"""Items: id <-> number (PAD = 0), and what is known about them: text, categories, numbers, vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from temporec.data.vocabulary import Vocabulary
from temporec.errors import ColumnError

__all__ = ["PAD", "Catalog"]

PAD = 0
_TITLE_NAMES = ("title", "name", "description", "Description", "product_name")


@dataclass(frozen=True, eq=False)
class Catalog:
    """All items that can be recommended. Row `i` of `frame` describes item number `i + 1`.

    Column roles follow the type: string = text, list of strings = categories, number = numeric,
    list or array of numbers = vector. `frame` always has the column `item` with the external ids.
    """

    vocabulary: Vocabulary
    frame: pl.DataFrame

    @classmethod
    def build(cls, event_items: pl.Series, items: pl.DataFrame | None = None) -> "Catalog":
        """Items of a table (column `item`, in its order) first, then items that only the events know, sorted by id."""
        dtype = pl.Int64 if event_items.dtype.is_integer() else pl.String
        seen = event_items.cast(dtype).unique().sort()
        if items is None:
            frame = pl.DataFrame({"item": seen})
        else:
            items = items.with_columns(pl.col("item").cast(dtype, strict=False)).drop_nulls("item")
            items = items.unique("item", keep="first", maintain_order=True)
            extra = seen.filter(~seen.is_in(items["item"].implode()))
            frame = pl.concat([items, pl.DataFrame({"item": extra})], how="diagonal")
        return cls(Vocabulary(frame["item"], first=1, what="item"), frame)

    def __len__(self) -> int:
        return len(self.vocabulary)

    @property
    def size(self) -> int:
        """Rows of an item table: the items and PAD."""
        return len(self.vocabulary) + 1

    def columns(self, role: str) -> list[str]:
        """Names of the columns of one role: "text", "category", "numeric" or "vector"."""
        return [name for name, dtype in self.frame.schema.items() if name != "item" and _role(dtype) == role]

    @property
    def title_column(self) -> str | None:
        """The column shown to people: title, name or description, else the first text column."""
        text = self.columns("text")
        return next((name for name in _TITLE_NAMES if name in text), text[0] if text else None)

    def titles(self, numbers: Sequence[int] | np.ndarray) -> list[str]:
        """One readable line per item; the id where there is no title."""
        if self.title_column is None:
            return [str(value) for value in self.vocabulary.decode(numbers)]
        rows = np.asarray(numbers, dtype=np.int64) - 1
        titles = self.frame[self.title_column].gather(rows).to_list()
        return [str(t) if t else str(i) for t, i in zip(titles, self.vocabulary.decode(numbers), strict=True)]

    def texts(self, columns: Sequence[str] | None = None) -> list[str]:
        """One text per item [V]: the named text and category columns joined; all of them by default."""
        known = [*self.columns("text"), *self.columns("category")]
        names = known if columns is None else list(columns)
        for name in names:
            if name not in known:
                raise ColumnError(
                    f"no text or category column {name!r} in the catalog; it has: {', '.join(known) or 'none'}"
                )
        if not names:
            return [""] * len(self)
        parts = [
            pl.col(name).list.join(" ", ignore_nulls=True)
            if isinstance(self.frame.schema[name], pl.List)
            else pl.col(name)
            for name in names
        ]
        joined = self.frame.select(pl.concat_str(parts, separator=" ", ignore_nulls=True).alias("text"))
        return [text or "" for text in joined["text"].to_list()]

    def extend(self, items: pl.DataFrame) -> "Catalog":
        """The same numbers with new items behind them; rows of items already known are left out.

        Raises:
            ColumnError: an id is missing, or a column is of another type than that of the catalog.
        """
        dtype = self.vocabulary.ids.dtype
        if "item" not in items.columns or items["item"].cast(dtype, strict=False).null_count():
            raise ColumnError(f"new items need a column item with an id of type {dtype} in every row")
        items = items.with_columns(pl.col("item").cast(dtype))
        new = items.unique("item", keep="first", maintain_order=True)
        new = new.filter(~pl.col("item").is_in(self.vocabulary.ids.implode()))
        columns = [_cast(new[name], dtype) for name, dtype in self.frame.schema.items() if name in new.columns]
        frame = pl.concat([self.frame, pl.DataFrame(columns)], how="diagonal")
        return Catalog(self.vocabulary.extended(new["item"]), frame)

    def changed(self, items: pl.DataFrame) -> "Catalog":
        """With what a table says of known items, in columns that are known too; the last row of an item counts."""
        rows = items.with_columns(pl.col("item").cast(self.frame["item"].dtype)).unique("item", keep="last")
        columns = [name for name in rows.columns if name in self.frame.columns and name != "item"]
        if not columns:
            return self
        known = rows.select("item", *(pl.col(name).cast(self.frame.schema[name], strict=False) for name in columns))
        return Catalog(self.vocabulary, self.frame.update(known, on="item", how="left"))

    def restrict(self, numbers: np.ndarray) -> "Catalog":
        """Only some items, renumbered 1.. in the order of their old numbers."""
        frame = self.frame[np.unique(np.asarray(numbers, dtype=np.int64)) - 1]
        return Catalog(Vocabulary(frame["item"], first=1, what="item"), frame)


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        return column.cast(dtype)
    except pl.exceptions.PolarsError:
        raise ColumnError(
            f"column {column.name!r} of new items is of type {column.dtype}, in the catalog of {dtype}; convert it"
        ) from None


def _role(dtype: pl.DataType) -> str:
    inner = getattr(dtype, "inner", None)
    if inner is not None:
        return "category" if inner == pl.String else "vector"
    return "text" if dtype == pl.String else "category" if dtype == pl.Categorical else "numeric"
