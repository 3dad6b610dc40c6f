"""A log with its catalog: what every later stage takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from temporec.data.catalog import Catalog
from temporec.data.interactions import Interactions, kind_numbers
from temporec.data.vocabulary import Vocabulary
from temporec.errors import ColumnError, EmptyLogError

__all__ = ["Dataset", "build_dataset"]

_KNOWN = ("user", "item", "time", "kind", "value")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Events and the items that they are about; item numbers of `interactions` are those of `catalog`.

    `described` says how many leading items of the catalog came from an items table (they exist before any event).
    `users` is what a table says of users, also of some without events; its column `user` has their ids.
    """

    interactions: Interactions
    catalog: Catalog
    described: int = 0
    users: pl.DataFrame | None = None

    def restrict(self, rows: np.ndarray) -> "Dataset":
        """Only some events, the items that those or the items table know, and the kinds that they have (renumbered)."""
        log = _own_kinds(self.interactions.take(rows))
        keep = np.zeros(self.catalog.size, dtype=bool)
        keep[1 : self.described + 1] = True
        keep[log.item] = True
        numbers = np.flatnonzero(keep)
        if len(numbers) == len(self.catalog):
            return replace(self, interactions=log)
        renumber = np.zeros(self.catalog.size, dtype=np.int32)
        renumber[numbers] = np.arange(1, len(numbers) + 1, dtype=np.int32)
        log = replace(log, item=renumber[log.item])
        return replace(self, interactions=log, catalog=self.catalog.restrict(numbers))

    def with_events(self, events: pl.DataFrame) -> "Dataset":
        """More events (columns user, item, time in UTC milliseconds) of items that the catalog has; it stays as it is.

        Raises:
            UnknownIdError: the catalog does not have an item.
        """
        self.catalog.vocabulary.encode(events["item"].to_list())
        log = self.interactions
        old = log.to_frame(self.catalog.vocabulary)
        if log.has_time and "time" not in events.columns:
            events = events.with_columns(time=pl.lit(int(log.time.max(initial=0)), pl.Int64))
        new = events.select(pl.col(name).cast(old.schema[name]) for name in old.columns if name in events.columns)
        if not log.has_time:
            old, new = old.drop("time"), new.drop("time", strict=False)
        made = build_dataset(pl.concat([old, new], how="diagonal"), self.catalog.frame, tuple(log.context))
        return replace(self, interactions=made.interactions)


def build_dataset(frame: pl.DataFrame, items: pl.DataFrame | None = None, context: Sequence[str] = ()) -> Dataset:
    """Number, sort and check a cleaned frame.

    Args:
        frame: columns user, item (integers or strings), time (int64 milliseconds UTC, may be absent: row order then),
            optional kind (string) and value (number); further columns only if named in `context`.
        items: items table with the column `item`.

    Rows are sorted by (user, time); rows of one user that tie in time stay in the order of the frame.
    """
    missing = [name for name in ("user", "item") if name not in frame.columns]
    if missing:
        raise ColumnError(
            f"the log has no column {missing[0]!r}; it has {', '.join(frame.columns)}; map it with --{missing[0]}-col"
        )
    if frame.is_empty():
        raise EmptyLogError("no events are left in the log; check the column mapping and the cleaning report")
    has_time = "time" in frame.columns
    if not has_time:
        frame = frame.with_row_index("time").with_columns(pl.col("time").cast(pl.Int64))
    users = Vocabulary(_ids(frame["user"]).unique().sort(), first=0, what="user")
    catalog = Catalog.build(_ids(frame["item"]), items)
    frame = frame.with_columns(
        pl.Series("user", users.encode_series(frame["user"])),
        pl.Series("item", catalog.vocabulary.encode_series(frame["item"])),
    ).sort("user", "time", maintain_order=True)
    kind, kinds = None, ()
    if "kind" in frame.columns:
        kinds = tuple(frame["kind"].cast(pl.String).unique().drop_nulls().sort().to_list())
        kind = (
            Vocabulary(pl.Series(kinds, dtype=pl.String), first=0, what="kind")
            .encode_series(frame["kind"])
            .astype(np.int16)
        )
    value = frame["value"].cast(pl.Float32).to_numpy() if "value" in frame.columns else None
    log = Interactions(
        frame["user"].to_numpy(), frame["item"].to_numpy(), frame["time"].to_numpy(), users,
        kind=kind, kinds=kinds, value=value, has_time=has_time,
        context={name: frame[name].to_numpy() for name in context},
    )  # fmt: skip
    return Dataset(
        log, catalog, described=0 if items is None else min(len(catalog), items["item"].drop_nulls().n_unique())
    )


def _own_kinds(log: Interactions) -> Interactions:
    """Event kinds numbered over the events that there are."""
    if log.kind is None:
        return log
    kinds = tuple(log.kinds[number] for number in np.unique(log.kind[log.kind >= 0]))
    return replace(log, kind=kind_numbers(log.kinds, kinds)[log.kind], kinds=kinds)


def _ids(column: pl.Series) -> pl.Series:
    return column.cast(pl.Int64) if column.dtype.is_integer() else column.cast(pl.String)
