"""Other futures for a log: shuffled, random, with new items and users, with favourites bought again."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from temporec.runtime import random_state

__all__ = ["Plant", "plants_for"]


@dataclass(frozen=True, eq=False)
class Plant:
    """A log whose rows before the cut are untouched."""

    name: str
    what: str  # one sentence without a stop
    rows: int  # rows changed or added
    frame: pl.DataFrame


@dataclass(frozen=True, eq=False)
class _Log:
    """A log, which of its rows are the future, and a source of chance."""

    frame: pl.DataFrame
    future: np.ndarray  # row numbers
    past: np.ndarray
    rng: np.random.Generator

    @cached_property
    def content(self) -> list[str]:
        """Columns of what happened: not to whom, when, or whether it is held out. Texts travel with their items."""
        kept = [name for name in self.frame.columns if name not in ("user", "time")]
        held = np.zeros(len(self.frame), dtype=bool)
        held[self.future] = True
        marks = {name for name in kept if self.frame[name].dtype == pl.Boolean}
        return [
            name for name in kept if name not in marks or (self.frame[name].fill_null(False).to_numpy() != held).any()
        ]

    def replaced(self, sources: np.ndarray) -> pl.DataFrame:
        """The content of future row i is that of row `sources[i]`; users and times stay."""
        rows = np.arange(len(self.frame))
        rows[self.future] = sources
        return self.frame.with_columns(self.frame[rows].select(self.content))

    def more(self, sources: np.ndarray) -> pl.DataFrame:
        """New rows with the content of some rows, at users and times of random future rows."""
        where = self.rng.choice(self.future, len(sources))
        return self.frame[sources].with_columns(
            self.frame[where].select(name for name in self.frame.columns if name not in self.content)
        )


def plants_for(frame: pl.DataFrame, future: pl.Series, seed: int, *, in_place: bool) -> list[Plant]:
    """All other futures. With `in_place`, no row is added: what is held out stays held out."""
    rows = future.to_numpy()
    past, ahead = np.flatnonzero(~rows), np.flatnonzero(rows)
    makers: list[Callable[[_Log], Plant]] = [_shuffled, _random, _renamed]
    if not in_place:
        makers += [_new_items, _favourites, _rare]
    logs = [_Log(frame, ahead, past, random_state(seed, i)) for i in range(len(makers))]
    plants = [make(log) for make, log in zip(makers, logs, strict=True)]
    return [_undoubled(plant, frame, ahead) for plant in plants] if in_place and "time" in frame.columns else plants


def _undoubled(plant: Plant, frame: pl.DataFrame, future: np.ndarray) -> Plant:
    """Future rows that would repeat an event stay as they were; cleaning would drop them and others be held out."""
    made, changed = plant.frame, np.zeros(len(frame), dtype=bool)
    changed[future] = True
    while True:
        again = made.select(pl.struct("user", "item", "time").is_duplicated()).to_series().to_numpy() & changed
        if not again.any():
            return Plant(plant.name, plant.what, int(changed.sum()), made)
        changed &= ~again
        rows = np.arange(len(frame)) + np.where(changed, 0, len(frame))
        made = pl.concat([plant.frame, frame.select(plant.frame.columns)])[rows]


def _shuffled(log: _Log) -> Plant:
    frame = log.replaced(log.rng.permutation(log.future))
    return Plant("shuffled", "the items after the cut were dealt out anew", len(log.future), frame)


def _random(log: _Log) -> Plant:
    frame = log.replaced(log.rng.integers(0, len(log.frame), len(log.future)))
    return Plant("random items", "every item after the cut was drawn at random", len(log.future), frame)


def _renamed(log: _Log) -> Plant:
    """Everything after the cut is about items that nobody has seen."""
    new = _unseen(log.frame[log.future], log, people=False)
    rows = np.arange(len(log.frame))
    rows[log.future] = len(log.frame) + np.arange(len(log.future))
    frame = pl.concat([log.frame, new])[rows]
    return Plant("only new items", "every item after the cut was replaced by an unknown one", len(log.future), frame)


def _new_items(log: _Log) -> Plant:
    new = log.more(log.rng.choice(log.future, max(60, len(log.future) // 2)))
    new = _unseen(new, log, people=True)
    frame = pl.concat([log.frame, new])
    return Plant("new items and users", "unknown items and users were added after the cut", len(new), frame)


def _favourites(log: _Log) -> Plant:
    """Each user's most frequent item, three times more."""
    past = log.frame[log.past].with_columns(row=pl.Series(log.past))
    counted = past.group_by("user", "item", maintain_order=True).agg(pl.len().alias("n"), pl.col("row").first())
    best = counted.sort("n", descending=True, maintain_order=True).unique("user", keep="first", maintain_order=True)
    sources = np.repeat(best["row"].to_numpy(), 3)
    new = log.more(sources).with_columns(user=log.frame["user"][sources])
    frame = pl.concat([log.frame, new])
    return Plant("favourites", "each user's favourite item was bought three times more after the cut", len(new), frame)


def _rare(log: _Log) -> Plant:
    """The rarest items of the past, by as many users as there are future rows: counts and k-cores would move."""
    past = log.frame[log.past].with_columns(row=pl.Series(log.past))
    counted = past.group_by("item", maintain_order=True).agg(pl.len().alias("n"), pl.col("row").first())
    rare = counted.sort("n", maintain_order=True)["row"].head(5).to_numpy()
    new = log.more(np.repeat(rare, max(20, len(log.future) // len(rare))))
    frame = pl.concat([log.frame, new])
    return Plant("rare items", "the rarest items became the most popular ones after the cut", len(new), frame)


def _unseen(rows: pl.DataFrame, log: _Log, *, people: bool) -> pl.DataFrame:
    """The same rows about items (every second one by users) that the log does not have, with words of their own."""
    count = len(rows)
    number = pl.Series(log.rng.integers(0, max(1, count // 4), count))
    words = pl.Series([f"planted wording {n} unheard" for n in number.to_list()])
    texts = [
        name
        for name, dtype in rows.schema.items()
        if dtype == pl.String and name not in ("user", "item", "time", "kind")
    ]
    rows = rows.with_columns(_new_ids(log.frame["item"], number), *(words.alias(name) for name in texts))
    if people:
        users = _new_ids(log.frame["user"], number)
        second = pl.Series(np.arange(count) % 2 == 1)
        rows = rows.with_columns(user=pl.select(pl.when(second).then(users).otherwise(rows["user"])).to_series())
    return rows


def _new_ids(known: pl.Series, number: pl.Series) -> pl.Series:
    """Ids that the column does not have, of its own type; they sort before, between or after the known ones."""
    if known.dtype.is_numeric():
        return (number + (known.max() or 0) + 1).cast(known.dtype).alias(known.name)
    first = str(known.drop_nulls().min() or "")
    return pl.Series(known.name, [f"{first}+planted{n}" for n in number.to_list()], dtype=known.dtype)
