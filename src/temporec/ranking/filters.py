"""What may be shown: seen, allowed and blocked items, categories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import torch
from torch import Tensor

from temporec.data.catalog import Catalog
from temporec.data.vocabulary import Id
from temporec.errors import ColumnError

__all__ = ["Filters", "Rule", "allowed_mask", "broken_rules"]


Rule = Literal["not_allowed", "blocked", "category"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Rules of one request.

    Args:
        exclude_seen: leave out items of the user's own history; None = the recommender's default.
        allowed: only these items.
        blocked: none of these items.
        category: column of the catalog -> values; an item needs one of the values in every named column.
    """

    exclude_seen: bool | None = None
    allowed: Sequence[Id] | None = None
    blocked: Sequence[Id] = ()
    category: Mapping[str, Sequence[str]] | None = None


def allowed_mask(filters: Filters, catalog: Catalog) -> Tensor | None:
    """Items that the filters allow, bool [V + 1]; None where they say nothing (seen items are not looked at here)."""
    if filters.allowed is None and not filters.blocked and not filters.category:
        return None
    mask = np.ones(catalog.size, dtype=bool)
    if filters.allowed is not None:
        mask[:] = False
        mask[catalog.vocabulary.encode(filters.allowed)] = True
    mask[catalog.vocabulary.encode(filters.blocked)] = False
    for column, values in (filters.category or {}).items():
        mask[1:] &= _has_value(catalog, column, [values] if isinstance(values, str) else list(values))
    mask[0] = False
    return torch.from_numpy(mask)


def broken_rules(filters: Filters, catalog: Catalog, number: int) -> list[Rule]:
    """Rules of the filters that one item breaks (seen items are not looked at here)."""
    single: dict[Rule, Filters] = {
        "not_allowed": Filters(allowed=filters.allowed),
        "blocked": Filters(blocked=filters.blocked),
        "category": Filters(category=filters.category),
    }
    masks = {rule: allowed_mask(own, catalog) for rule, own in single.items()}
    return [rule for rule, mask in masks.items() if mask is not None and not mask[number]]


def _has_value(catalog: Catalog, column: str, values: Sequence[object]) -> np.ndarray:
    vectors = catalog.columns("vector")
    known = [name for name in catalog.frame.columns if name != "item" and name not in vectors]
    if column not in known:
        raise ColumnError(f"no column {column!r} in the catalog to filter by; it has: {', '.join(known) or 'none'}")
    series, words = catalog.frame[column], pl.Series([str(value) for value in values], dtype=pl.String)
    if isinstance(series.dtype, pl.List):
        shared = pl.col(column).list.set_intersection(pl.lit(words.implode()))
        found = catalog.frame.select(shared.list.len() > 0)[column]
    else:
        found = series.cast(pl.String).is_in(words.implode())
    return found.fill_null(False).to_numpy()
