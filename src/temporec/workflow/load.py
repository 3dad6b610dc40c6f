"""From files to a data set: read, map columns, clean, number."""

from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from temporec.config import Config
from temporec.data.catalog import Catalog
from temporec.data.clean import CleanConfig, CleanReport, clean
from temporec.data.columns import ColumnMap, find_column, map_columns
from temporec.data.dataset import Dataset, build_dataset
from temporec.data.readers import read_items, read_table, read_users
from temporec.errors import EmptyLogError

__all__ = ["LoadConfig", "Loaded", "load", "load_frame"]


class LoadConfig(Config):
    """How a log is read.

    Args:
        columns: which column plays which role; usual names are found without it.
        item_col: the id column of the items table.
        clean: the cleaning rules.
        encoding: text encoding of CSV files; None is UTF-8.
        query: SQL for a database.
    """

    columns: ColumnMap = ColumnMap()
    item_col: str | None = None
    clean: CleanConfig = CleanConfig()
    encoding: str | None = None
    query: str | None = None


@dataclass(frozen=True, eq=False)
class Loaded:
    """A cleaned log as a data set, the report of the cleaning, and the frames behind it."""

    dataset: Dataset
    report: CleanReport
    frame: pl.DataFrame  # cleaned: user, item, time ...
    items: pl.DataFrame | None
    mapped: pl.DataFrame  # as it was before cleaning, canonical names


def load(log: Any, items: Any = None, config: LoadConfig | None = None, users: Any = None) -> Loaded:
    """Read and clean a log, and tables of items and users where given.

    Args:
        log: anything that `read_table` takes: a path, a database URL, a Polars or pandas frame, an Arrow table.
        items: the same for the items table; text, categories, numbers and vectors of its columns become features.
        users: the same for a users table.
    """
    config = config or LoadConfig()
    read = read_table(log, encoding=config.encoding, query=config.query)
    mapped, time_name = map_columns(read, config.columns), find_column("time", read, config.columns.time)
    table = None if items is None else read_items(items, config.item_col, encoding=config.encoding)
    people = None if users is None else read_users(users, config.columns.user, encoding=config.encoding)
    loaded = load_frame(mapped, table, config, time_name=time_name or "time")
    return replace(loaded, dataset=replace(loaded.dataset, users=people))


def load_frame(
    mapped: pl.DataFrame,
    items: pl.DataFrame | None,
    config: LoadConfig,
    fit_until: int | None = None,
    time_name: str = "time",
) -> Loaded:
    """The second half of `load`: clean and number a frame with canonical column names.

    `fit_until`: UTC milliseconds; thresholds of the cleaning are learned from events before it alone. `time_name`: what
    the column of times is called in the file, for messages.
    """
    frame, report = clean(mapped, config.clean, fit_until=fit_until, time_name=time_name)
    dataset = build_dataset(frame, items, config.columns.context)
    _check_learnable(dataset.catalog, dataset)
    return Loaded(dataset, report, frame, items, mapped)


def _check_learnable(catalog: Catalog, dataset: Dataset) -> None:
    log = dataset.interactions
    if len(set(log.item[:1000].tolist())) < 2 and log.item.min() == log.item.max():
        only = catalog.vocabulary.decode([int(log.item[0])])[0]
        raise EmptyLogError(
            f"all {len(log):,} events are about one item ({only!r}); a recommender needs at least two items"
        )
    if len(log.users) == len(log):
        raise EmptyLogError(
            f"no history has two events ({len(log):,} events of as many users), so there is no next item to learn; "
            "check the user column, or use a longer log"
        )
