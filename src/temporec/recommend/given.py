"""Vector columns of an items table: checked, joined."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from temporec.data.catalog import Catalog
from temporec.errors import ConfigError

__all__ = ["given_vectors", "vector_columns"]


def vector_columns(catalog: Catalog, columns: Sequence[str] | None) -> list[str]:
    """Names of the vector columns among some columns; all of them where none is among these."""
    known = catalog.columns("vector")
    if not known:
        raise ConfigError("text.encoder=given needs a column of vectors (lists of numbers) in the items table")
    return [name for name in columns or () if name in known] or known


def given_vectors(catalog: Catalog, columns: Sequence[str] | None = None) -> np.ndarray:
    """Vector columns joined, float32 [V, d]; a missing vector is zero.

    Raises:
        ConfigError: no such column, vectors of several widths, NaN or infinite numbers.
    """
    parts = []
    for name in vector_columns(catalog, columns):
        column = catalog.frame[name].rename("")
        if isinstance(column.dtype, pl.Array):
            column = column.arr.to_list()
        lengths = column.list.len()
        width = int(lengths.max() or 0)  # type: ignore[arg-type]
        wrong = (lengths != width).arg_true()
        if len(wrong) or not width:
            where = f"item {catalog.frame['item'][int(wrong[0])]!r} differs" if len(wrong) else "all are empty"
            raise ConfigError(f"vectors in column {name!r} must all have one width, here {width}: {where}")
        known = column.is_not_null().to_numpy()
        numbers = column.drop_nulls().explode().cast(pl.Float32).to_numpy().reshape(-1, width)
        finite = np.isfinite(numbers).all(axis=1)
        if not finite.all():
            item = catalog.frame["item"][int(np.flatnonzero(known)[~finite][0])]
            raise ConfigError(f"the vector in column {name!r} of item {item!r} holds NaN or infinite numbers; clean it")
        table = np.zeros((len(column), width), dtype=np.float32)
        table[known] = numbers
        parts.append(table)
    return np.concatenate(parts, axis=1)
