"""External ids outside, numbers inside: the one place where they meet."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from temporec.errors import ColumnError, UnknownIdError

__all__ = ["Id", "Vocabulary"]

Id = int | str
Unknown = Literal["raise", "drop", "zero"]

_DIGITS = 20  # of the smallest 64-bit number, with its sign


class Vocabulary:
    """A fixed order of external ids. Number `first + i` stands for `ids[i]`; numbers below `first` are reserved.

    Args:
        ids: unique ids, integers or strings (never both).
        first: 0 for users, 1 for items (0 is PAD).
        what: the word used in messages, "user" or "item".
    """

    def __init__(self, ids: pl.Series, *, first: int, what: str) -> None:
        if ids.dtype.is_integer():
            ids = ids.cast(pl.Int64)
        elif ids.dtype != pl.String:
            raise ColumnError(f"{what} ids are of type {ids.dtype}; use integers or strings")
        if ids.null_count() or ids.n_unique() != len(ids):
            raise ColumnError(f"{what} ids must be unique and not missing; clean the table first")
        self.ids = ids.alias("id")
        self.first = first
        self.what = what

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item: object) -> bool:
        return self._plain(item) in self._numbers

    @cached_property
    def is_integer(self) -> bool:
        return self.ids.dtype == pl.Int64

    @cached_property
    def _numbers(self) -> dict[Id, int]:
        return {value: self.first + i for i, value in enumerate(self.ids.to_list())}

    def _plain(self, value: Any) -> Id | None:
        """An id as the vocabulary spells it: "12" means 12 where ids are integers, and the other way."""
        if isinstance(value, np.generic):
            value = value.item()
        if self.is_integer and isinstance(value, str):
            text = value.strip()
            return int(text) if len(text) <= _DIGITS and text.removeprefix("-").isdecimal() else None
        if not self.is_integer and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, int | str) and not isinstance(value, bool) else None

    def encode(self, ids: Sequence[Any], unknown: Unknown = "raise") -> np.ndarray:
        """Numbers of some ids, int32 [n]. Unknown ids raise `UnknownIdError`, are dropped, or become 0."""
        numbers = [self._numbers.get(key) if (key := self._plain(value)) is not None else None for value in ids]
        missing = [value for value, number in zip(ids, numbers, strict=True) if number is None]
        if missing and unknown == "raise":
            shown = ", ".join(repr(value) for value in missing[:5])
            raise UnknownIdError(
                f"{len(missing)} {self.what} id(s) not in the catalog of {len(self)}: {shown}. "
                f"Known ids look like {', '.join(repr(value) for value in self.ids.head(3).to_list())}."
            )
        kept = [number for number in numbers if number is not None] if unknown == "drop" else [n or 0 for n in numbers]
        return np.asarray(kept, dtype=np.int32)

    def encode_series(self, ids: pl.Series) -> np.ndarray:
        """Numbers of a whole column, int32 [n]; unknown or missing ids become `first - 1`. For millions of rows."""
        dtype = self.ids.dtype
        table = pl.DataFrame({"id": self.ids, "number": np.arange(self.first, self.first + len(self), dtype=np.int32)})
        column = pl.DataFrame({"id": ids.cast(dtype, strict=False)})
        joined = column.join(table, on="id", how="left", maintain_order="left")
        return joined["number"].fill_null(self.first - 1).to_numpy()

    def decode(self, numbers: Iterable[int] | np.ndarray) -> list[Id]:
        """External ids of some numbers; the numbers must stand for ids."""
        index = np.asarray(numbers, dtype=np.int64) - self.first
        if index.size and (index.min() < 0 or index.max() >= len(self)):
            raise UnknownIdError(f"{self.what} numbers must be {self.first}..{self.first + len(self) - 1}")
        result: list[Id] = self.ids.gather(index).to_list()
        return result

    def extended(self, ids: pl.Series) -> "Vocabulary":
        """The same numbers with new ids behind them; ids already known are left out."""
        new = ids.cast(self.ids.dtype).unique(maintain_order=True)
        new = new.filter(~new.is_in(self.ids.implode()))
        return Vocabulary(pl.concat([self.ids, new.alias("id")]), first=self.first, what=self.what)
