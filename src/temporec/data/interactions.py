"""The checked, time-sorted log: arrays of numbers, sorted by (user, time), ties in file order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from temporec.data.vocabulary import Vocabulary
from temporec.errors import DataError, EmptyLogError, UnsortedLogError

__all__ = ["Interactions", "kind_numbers"]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Events of many users. Checked at birth, never changed afterwards.

    Args:
        user: int32 [N], numbers of `users`, ascending.
        item: int32 [N], numbers of a `Catalog` (1..V; 0 is PAD and never stands here).
        time: int64 [N], milliseconds since 1970-01-01 UTC, ascending within a user; row numbers if `has_time` is False.
        users: the external user ids.
        kind: int16 [N] numbers into `kinds` (event kinds such as view, cart, buy), -1 = unknown; or None.
        value: float32 [N] (rating, quantity, price ...), or None.
        context: further arrays [N] by name.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    users: Vocabulary
    kind: np.ndarray | None = None
    kinds: tuple[str, ...] = ()
    value: np.ndarray | None = None
    context: Mapping[str, np.ndarray] = field(default_factory=dict)
    has_time: bool = True
    offsets: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.user)
        for name, column in self.columns().items():
            if len(column) != n:
                raise DataError(
                    f"column {name!r} has {len(column)} rows, user has {n}; all columns need the same length"
                )
        if n == 0:
            raise EmptyLogError("the log has no events; check the file, the column mapping and the cleaning report")
        same = np.diff(self.user)
        if (same < 0).any() or (np.diff(self.time)[same == 0] < 0).any():
            raise UnsortedLogError(
                "events are not sorted by (user, time); build the log with Interactions.from_frame(...)"
            )
        if self.item.min() < 1:
            raise DataError("item numbers start at 1 (0 is padding); encode items with a Catalog first")
        if self.user[0] < 0 or self.user[-1] >= len(self.users):
            raise DataError(f"user numbers must lie in 0..{len(self.users) - 1}")
        counts = np.bincount(self.user, minlength=len(self.users))
        object.__setattr__(self, "offsets", np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.user)

    def columns(self) -> dict[str, np.ndarray]:
        """All per-event arrays by name."""
        named = {"user": self.user, "item": self.item, "time": self.time, "kind": self.kind, "value": self.value}
        return {name: column for name, column in {**named, **self.context}.items() if column is not None}

    def take(self, rows: np.ndarray) -> "Interactions":
        """The events at some row numbers or under a boolean mask; users and kinds keep their numbers."""
        pick = {name: column[rows] for name, column in self.columns().items()}
        return Interactions(
            pick["user"], pick["item"], pick["time"], self.users, kind=pick.get("kind"), kinds=self.kinds,
            value=pick.get("value"), context={name: pick[name] for name in self.context}, has_time=self.has_time,
        )  # fmt: skip

    def to_frame(self, items: Vocabulary) -> pl.DataFrame:
        """External ids and kinds again: columns user, item, time (UTC milliseconds) and what else the log has."""
        frame = pl.DataFrame(self.columns()).with_columns(
            user=self.users.ids.gather(self.user),
            item=items.ids.gather(self.item.astype(np.int64) - items.first),
        )
        if self.kind is None:
            return frame
        names = pl.Series([*self.kinds, None], dtype=pl.String)  # unknown kinds have the number -1, the last place
        return frame.with_columns(kind=names.gather(self.kind))


def kind_numbers(kinds: Sequence[str | None], among: Sequence[str]) -> np.ndarray:
    """Where each of some event kinds stands among others, int16 [K + 1]; -1 = nowhere.

    The last row is -1 as well, so that `kind_numbers(log.kinds, among)[log.kind]` leaves unknown kinds unknown.
    """
    numbers: dict[str | None, int] = {kind: number for number, kind in enumerate(among)}
    return np.asarray([*(numbers.get(kind, -1) for kind in kinds), -1], dtype=np.int16)
