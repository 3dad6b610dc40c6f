"""Columns to arrays and back: labels, one-hot, standardised, min-max and log numbers.

Every encoder is fitted on training data only, keeps its state as plain JSON (`to_dict`, `from_dict`), and says what it
does with a missing value: categories give label 0 or an empty row, numbers give their training mean. Infinite numbers
count as missing. `data/features.py` puts the columns of a catalog together.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np

from temporec.errors import CheckpointError, UnknownIdError, UnknownNameError

__all__ = [
    "Category",
    "LabelEncoder",
    "LogScaler",
    "LogStandardizer",
    "MinMaxScaler",
    "NumberEncoder",
    "OneHotEncoder",
    "Standardizer",
    "encoder_from_dict",
    "number_encoder",
]

Category = str | Sequence[str | None] | None
Unknown = Literal["ignore", "other", "raise"]
_LARGEST = 3e38  # what float32 holds


class LabelEncoder:
    """Categories to labels: 1 is the most frequent one (ties by name), 0 is missing, unknown, or beyond `max_size`."""

    kind: ClassVar[str] = "label"

    def __init__(self, max_size: int | None = None) -> None:
        self.max_size = max_size
        self.categories: list[str] = []
        self._labels: dict[str, int] = {}

    def fit(self, values: Iterable[str | None]) -> Self:
        """Learn the categories, the most frequent ones first."""
        counts = Counter(str(value) for value in values if value is not None)
        ranked = sorted(counts, key=lambda name: (-counts[name], name))
        return self._take(ranked[: self.max_size])

    def transform(self, values: Iterable[str | None], unknown: Literal["zero", "raise"] = "zero") -> np.ndarray:
        """Labels int32 [n]."""
        values = list(values)
        labels = [0 if value is None else self._labels.get(str(value), 0) for value in values]
        if unknown == "raise":
            _refuse([v for v, n in zip(values, labels, strict=True) if n == 0 and v is not None], self.categories)
        return np.asarray(labels, dtype=np.int32)

    def inverse(self, labels: np.ndarray) -> list[str | None]:
        """Categories of labels; None for 0."""
        return [None if label == 0 else self.categories[label - 1] for label in np.asarray(labels).tolist()]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "max_size": self.max_size, "categories": self.categories}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(state["max_size"])._take(list(state["categories"]))

    def _take(self, categories: list[str]) -> Self:
        self.categories = categories
        self._labels = {name: i for i, name in enumerate(categories, start=1)}
        return self


class OneHotEncoder:
    """Categories, one or several per row, to 0/1 rows. A missing value is a row of zeros.

    Args:
        max_size: so many of the most frequent categories get a column; the rest counts as unknown.
        unknown: "ignore" = no column set, "other" = one more column, the last, for all unknown ones, "raise" = refuse.
    """

    kind: ClassVar[str] = "one_hot"

    def __init__(self, max_size: int | None = None, unknown: Unknown = "ignore") -> None:
        self.unknown: Unknown = unknown
        self._labels = LabelEncoder(max_size)

    @property
    def categories(self) -> list[str]:
        """The category of every column but "other"."""
        return self._labels.categories

    @property
    def size(self) -> int:
        """Number of columns C."""
        return len(self.categories) + (self.unknown == "other")

    def fit(self, values: Iterable[Category]) -> Self:
        """Learn the columns, the most frequent category first; a category counts once per row."""
        self._labels.fit(name for row in values for name in dict.fromkeys(_several(row)))
        return self

    def indices(self, values: Iterable[Category]) -> tuple[np.ndarray, np.ndarray]:
        """Columns that are set: row i has `columns[offsets[i]:offsets[i + 1]]`, ascending, each once (int32, int64)."""
        rows = [_several(row) for row in values]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        mode: Literal["zero", "raise"] = "raise" if self.unknown == "raise" else "zero"
        columns = self._labels.transform([name for row in rows for name in row], mode) - 1
        row = np.repeat(np.arange(len(rows)), np.diff(offsets))
        if self.unknown == "other":
            columns = np.where(columns < 0, len(self.categories), columns)
        key = np.unique((row * max(1, self.size) + columns)[columns >= 0])
        counts = np.bincount(key // max(1, self.size), minlength=len(rows))
        return (key % max(1, self.size)).astype(np.int32), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def transform(self, values: Iterable[Category]) -> np.ndarray:
        """Multi-hot float32 [n, C]."""
        columns, offsets = self.indices(values)
        rows = np.zeros((len(offsets) - 1, self.size), dtype=np.float32)
        rows[np.repeat(np.arange(len(rows)), np.diff(offsets)), columns] = 1.0
        return rows

    def inverse(self, rows: np.ndarray) -> list[list[str]]:
        """Categories of each row, in the order of the columns; what was unknown is gone."""
        return [[self.categories[c] for c in np.flatnonzero(row[: len(self.categories)])] for row in np.asarray(rows)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": self.kind, "unknown": self.unknown, "labels": self._labels.to_dict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        made = cls(unknown=state["unknown"])
        made._labels = LabelEncoder.from_dict(state["labels"])
        return made


class NumberEncoder(ABC):
    """Numbers to numbers, x -> (f(x) - shift) / scale, per column of [n] or [n, d].

    Missing and infinite numbers are left out of `fit` and give the training mean of the result in `transform`. A
    column without spread, or without any number, has scale 1.
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        self.shift = np.zeros(())
        self.scale = np.ones(())
        self.fill = np.zeros(())  # of the result, for missing numbers

    def fit(self, values: np.ndarray) -> Self:
        """Learn shift and scale, float64."""
        table = self._forward(_finite(values))
        known = np.isfinite(table)
        count = known.sum(axis=0)
        mean = np.where(known, table, 0.0).sum(axis=0) / np.maximum(count, 1)
        self.shift, scale = self._measure(table, known, mean)
        self.scale = np.where(scale > 0, scale, 1.0)
        self.fill = np.where(count > 0, (mean - self.shift) / self.scale, 0.0)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Encoded numbers float32, of the same shape, always finite."""
        with np.errstate(over="ignore"):
            encoded = (self._forward(_finite(values)) - self.shift) / self.scale
        encoded = np.where(np.isnan(encoded), self.fill, encoded)
        return np.clip(encoded, -_LARGEST, _LARGEST).astype(np.float32)

    def inverse(self, encoded: np.ndarray) -> np.ndarray:
        """Numbers as they were, float64, to the precision of float32; missing ones come back as the mean."""
        return self._backward(np.asarray(encoded, dtype=np.float64) * self.scale + self.shift)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, exact."""
        return {"kind": self.kind, **{name: getattr(self, name).tolist() for name in ("shift", "scale", "fill")}}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        made = cls()
        for name in ("shift", "scale", "fill"):
            setattr(made, name, np.asarray(state[name], dtype=np.float64))
        return made

    @abstractmethod
    def _measure(self, table: np.ndarray, known: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift and scale of each column; a scale of 0 means "no spread"."""

    def _forward(self, values: np.ndarray) -> np.ndarray:
        return values

    def _backward(self, values: np.ndarray) -> np.ndarray:
        return values


class Standardizer(NumberEncoder):
    """Mean 0 and standard deviation 1 on the training data (population deviation, divided by n)."""

    kind = "standard"

    def _measure(self, table: np.ndarray, known: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gaps = np.where(known, table - mean, 0.0)
        deviation = np.sqrt((gaps**2).sum(axis=0) / np.maximum(known.sum(axis=0), 1))
        return mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 0.0)


class MinMaxScaler(NumberEncoder):
    """0 at the training minimum and 1 at the training maximum; new numbers may lie outside."""

    kind = "min_max"

    def _measure(self, table: np.ndarray, known: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low = np.where(known, table, np.inf).min(axis=0, initial=np.inf)
        high = np.where(known, table, -np.inf).max(axis=0, initial=-np.inf)
        some = np.isfinite(low)
        return np.where(some, low, 0.0), np.where(some, np.where(some, high, 0.0) - np.where(some, low, 0.0), 0.0)


class LogScaler(NumberEncoder):
    """sign(x) log(1 + |x|): for prices, counts and gaps over several magnitudes, negative ones too. Needs no spread."""

    kind = "log"

    def _measure(self, table: np.ndarray, known: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros_like(mean), np.ones_like(mean)

    def _forward(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(np.sign(values) * np.log1p(np.abs(values)))

    def _backward(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(np.sign(values) * np.expm1(np.abs(values)))


class LogStandardizer(Standardizer):
    """`LogScaler`, then `Standardizer`."""

    kind = "log_standard"
    _forward = LogScaler._forward
    _backward = LogScaler._backward


Encoder = LabelEncoder | OneHotEncoder | NumberEncoder
_KINDS: dict[str, type[Encoder]] = {
    each.kind: each for each in (LabelEncoder, OneHotEncoder, Standardizer, MinMaxScaler, LogScaler, LogStandardizer)
}


def encoder_from_dict(state: Mapping[str, Any]) -> Encoder:
    """The encoder that `to_dict` described."""
    kind = state.get("kind")
    if kind not in _KINDS:
        raise CheckpointError(f"no encoder of kind {kind!r}; known: {', '.join(_KINDS)}. The saved model may be newer")
    try:
        return _KINDS[kind].from_dict(state)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the saved {kind} encoder is damaged ({error}); fit the model again") from None


def number_encoder(kind: str) -> NumberEncoder:
    """A new number encoder by name."""
    known: dict[str, type[NumberEncoder]] = {
        each.kind: each for each in (Standardizer, MinMaxScaler, LogScaler, LogStandardizer)
    }
    if kind not in known:
        raise UnknownNameError(f"no number encoder named {kind!r}; known: {', '.join(known)}")
    return known[kind]()


def _several(value: Category) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(name) for name in value if name is not None]


def _finite(values: np.ndarray) -> np.ndarray:
    table = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(table), table, np.nan)


def _refuse(unknown: Sequence[Any], known: Sequence[str]) -> None:
    if unknown:
        raise UnknownIdError(
            f"{len(unknown)} unknown categories: {', '.join(repr(each) for each in unknown[:5])}; known are "
            f"{len(known)}: {', '.join(repr(each) for each in known[:5])} ... Fit on data that has them, or ignore them"
        )
