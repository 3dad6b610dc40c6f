"""From a version's folder to a live model that has seen the whole log."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from temporec.data.catalog import Catalog
from temporec.data.vocabulary import Id
from temporec.errors import DataError, TemporecError
from temporec.recommend.base import Recommender
from temporec.serving.engine import Version, log_events
from temporec.serving.logs import log as say
from temporec.serving.settings import ServeConfig
from temporec.serving.standin import Live
from temporec.store.events import EventLog
from temporec.store.records import Record, user_hash
from temporec.store.versions import Home

__all__ = ["apply_items", "build", "catch_up", "catch_up_items", "items_frame"]

_PAGE = 5_000


def build(home: Home, name: str, log: EventLog, config: ServeConfig) -> Version:
    """Load a version, bring it up to the end of the log and warm the busiest users' states."""
    recommender = Recommender.load(home.folder(name))
    learned = next(info.log_offset for info in home.versions() if info.name == name)
    live = _restored(home.snapshot_path, recommender, config, learned)
    seen = log.end()
    catch_up_items(live, log, 0)
    if config.mode != "frozen":
        catch_up(live, log, max(live.offset, learned))
    live.warm(live.users_by_activity(config.warm))
    return Version(name, live, seen)


def _restored(snapshot: Path, recommender: Recommender, config: ServeConfig, learned: int) -> Live:
    """The live histories of the snapshot; none where it is missing, damaged or older than what the version knows."""
    if snapshot.exists():
        try:
            live = Live.load(snapshot, recommender)
            if live.offset >= learned:
                return live
        except TemporecError as error:
            say("the snapshot is not used", why=str(error))
    return Live(recommender, config.capacity)


def catch_up(live: Live, log: EventLog, after: int) -> int:
    """Take the events and the forgetting after an offset; the last offset that was met."""
    while page := log.read(after, _PAGE, topics={"events", "forget"}):
        for topic, records in _runs(page):
            if topic == "forget":
                _forget(live, {record.body["user_hash"] for record in records})
            else:
                _take(live, records)
        after = page[-1].offset
    return after


def _runs(page: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """Neighbours of one topic together, in order."""
    runs: list[tuple[str, list[Record]]] = []
    for record in page:
        if not runs or runs[-1][0] != record.topic:
            runs.append((record.topic, []))
        runs[-1][1].append(record)
    return runs


def _take(live: Live, records: list[Record]) -> None:
    events = log_events(records)
    try:
        live.take(events)
    except TemporecError:
        known = [event for event in events if event.item in live.catalog.vocabulary]
        say("events about items that the version does not know are left out", events=len(events) - len(known))
        live.take(known)


def _forget(live: Live, hashes: set[str]) -> None:
    for user in live.users_by_activity(len(live.recommender.users) + live.offset):
        if user_hash(user) in hashes:
            live.forget(user)


def catch_up_items(live: Live, log: EventLog, after: int) -> None:
    """Make the changes of items after an offset."""
    for record in log.read_all(after, topics={"items"}):
        try:
            apply_items(live, [record.body])
        except TemporecError as error:
            say("a change of an item does not fit this version", offset=record.offset, why=str(error))


def apply_items(live: Live, changes: Sequence[dict[str, object]]) -> int:
    """Put or remove items as the log says it; how many are new."""
    puts = [change for change in changes if change["action"] == "put"]
    gone = [_id(change) for change in changes if change["action"] == "delete" or change.get("available") is False]
    new = live.put_items(items_frame(live.catalog, puts)) if puts else 0
    if back := [_id(change) for change in puts if change.get("available") is not False]:
        live.restore_items(back)
    if gone:
        live.remove_items(gone)
    return new


def _id(change: dict[str, object]) -> Id:
    item = change["item"]
    assert isinstance(item, int | str)
    return item


def items_frame(catalog: Catalog, puts: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Rows of items as a table with the catalog's types.

    Raises:
        DataError: a column is not one of the catalog, or a value does not fit its column.
    """
    columns = dict.fromkeys(name for row in puts for name in row if name not in ("action", "available"))
    if unknown := [name for name in columns if name not in catalog.frame.columns]:
        raise DataError(
            f"items have no column {unknown[0]!r:.80}; this model knows: {', '.join(catalog.frame.columns)}, and "
            "available"
        )
    schema = {name: catalog.frame.schema[name] for name in columns}
    try:
        return pl.DataFrame([{name: row.get(name) for name in columns} for row in puts], schema=schema)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        types = ", ".join(f"{name} {kind}" for name, kind in schema.items())
        raise DataError(f"a value of an item does not fit its column; the columns are: {types}") from None
