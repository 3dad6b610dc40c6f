"""From a version's folder to a live model that has seen the whole log."""

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from temporec.data.catalog import Catalog
from temporec.data.vocabulary import Id
from temporec.errors import DataError, TemporecError
from temporec.recommend.base import Recommender
from temporec.recommend.folder import recover
from temporec.recommend.live import Live
from temporec.recommend.query import Query
from temporec.recommend.snapshot import drop_users, restore_snapshot, save_snapshot
from temporec.serving.answering import Version, log_events
from temporec.serving.ids import spelt
from temporec.serving.logs import log as say
from temporec.serving.settings import ServeConfig
from temporec.store.events import EventLog
from temporec.store.records import Record, Topic, user_hash
from temporec.store.versions import Home

__all__ = [
    "apply_items",
    "build",
    "catch_up",
    "catch_up_items",
    "forget_in_snapshots",
    "items_frame",
    "snapshot",
    "snapshot_of",
]

_PAGE = 5_000
_BLOCK = 2_000
_NO_COLUMN = ("action", "available")

Change = Mapping[str, Any]


def build(home: Home, name: str, log: EventLog, config: ServeConfig) -> Version:
    """A version at the end of the log, the states of the busiest users computed."""
    with home.locked("snapshot"):  # nobody trims the log meanwhile
        version = _caught_up(home, name, log, config)
    if (states := version.live.states) is not None:
        known = version.live.log
        numbers = known.most_active(min(states.capacity, config.warm + config.warm_later))
        version.live.warm(known.ids(numbers[: config.warm]))
        first = known.ids(numbers[: config.batch])
        version.live.recommend_batch([Query(user=user) for user in first])  # memory of the largest batch is taken now
        version.cold.extend(reversed(known.ids(_alike(numbers[config.warm :], known.length))))
    return version


def _alike(users: list[int], length: Callable[[int], int]) -> list[int]:
    """About the same order, but histories of one length stand together: their states are computed in one go."""
    blocks = [users[begin : begin + _BLOCK] for begin in range(0, len(users), _BLOCK)]
    return [user for block in blocks for user in sorted(block, key=length)]


def snapshot(home: Home, name: str, log: EventLog, config: ServeConfig) -> int:
    """Write the live histories of a version, read from the log anew, for a fast restart; up to which offset.

    The live model that answers is not touched, so no request waits. Snapshots of versions that the pointer names stay:
    what they hold may be trimmed from the log.
    """
    with home.locked("snapshot"):
        live = _caught_up(home, name, log, config).live
        save_snapshot(live, snapshot_of(home, name))
        kept = {name, *(info.name for info in home.pointed())}
        for each in kept:
            recover(snapshot_of(home, each))
        for old in home.snapshot_path.iterdir():
            if old.name not in kept:
                shutil.rmtree(old, ignore_errors=True)
    return live.offset


def forget_in_snapshots(home: Home, log: EventLog) -> None:
    """Take users who were forgotten since a snapshot was written out of it."""
    with home.locked("snapshot"):
        for path in home.snapshot_path.glob("[!.]*/live.json"):
            offset = int(json.loads(path.read_text(encoding="utf-8"))["offset"])
            hashes = {record.body["user_hash"] for record in log.read_all(offset, topics={"forget"})}
            if hashes:
                drop_users(path.parent, partial(_is_among, hashes))


def _is_among(hashes: set[str], user: str) -> bool:
    """Whether a user is forgotten: ids of snapshots are texts, in the log they may be numbers."""
    return user_hash(user) in hashes or (user.removeprefix("-").isdecimal() and user_hash(int(user)) in hashes)


def _caught_up(home: Home, name: str, log: EventLog, config: ServeConfig) -> Version:
    home.check_log(log)
    recommender = Recommender.load(home.folder(name))
    info = next(info for info in home.versions() if info.name == name)
    seen = log.end()
    live = _restored(snapshot_of(home, name), recommender, config)
    live.log.fitted = log.offset_at(info.created) - 1
    catch_up_items(live, log, 0)
    topics: set[Topic] = {"forget"} if config.mode == "frozen" else {"events", "forget"}
    catch_up(live, log, max(live.offset, info.log_offset), topics)
    if config.mode != "frozen":
        live.offset = max(live.offset, seen)  # also where feedback or changes of items came last
    return Version(name, live, seen)


def snapshot_of(home: Home, name: str) -> Path:
    """Where the live histories of a version are written: they are in the numbers of its catalog."""
    return home.snapshot_path / name


def _restored(snapshot: Path, recommender: Recommender, config: ServeConfig) -> Live:
    """With the live histories of the snapshot; none where it is missing or damaged."""
    live = Live(recommender, config.megabytes)
    recover(snapshot)
    if snapshot.exists() and config.mode != "frozen":
        try:
            restore_snapshot(live, snapshot)
        except TemporecError as error:
            say("the snapshot is not used", why=str(error))
            live = Live(recommender, config.megabytes)
    return live


def catch_up(live: Live, log: EventLog, after: int, topics: Collection[Topic] = ("events", "forget")) -> None:
    """Take the events and the forgetting after an offset."""
    while page := log.read(after, _PAGE, topics=topics):
        for topic, records in _runs(page):
            if topic == "forget":
                _forget(live, {record.body["user_hash"] for record in records})
            else:
                _take(live, records)
        after = page[-1].offset


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
    for user in live.log.ids():
        if user_hash(spelt(user, live.recommender.users)) in hashes:
            live.forget(user)


def catch_up_items(live: Live, log: EventLog, after: int) -> None:
    """Make the changes of items after an offset."""
    if not (changes := [record.body for record in log.read_all(after, topics={"items"})]):
        return
    try:
        apply_items(live, changes)
    except TemporecError:
        for change in changes:
            try:
                apply_items(live, [change])
            except TemporecError as error:
                say("a change of an item does not fit this version", why=str(error))


def apply_items(live: Live, changes: Iterable[Change]) -> int:
    """Put and remove items as the log says it, the last word counts; how many are new."""
    puts: dict[Id, dict[str, Any]] = {}
    shown: dict[Id, bool] = {}
    for change in changes:
        item = change["item"]
        shown[item] = change["action"] == "put" and change.get("available") is not False
        if change["action"] == "put":
            columns = {name: value for name, value in change.items() if name not in _NO_COLUMN and value is not None}
            puts[item] = {**puts.get(item, {}), **columns}
    new = live.put_items(items_frame(live.catalog, list(puts.values()))) if puts else 0
    live.remove_items([item for item, is_shown in shown.items() if not is_shown])
    return new


def items_frame(catalog: Catalog, puts: Sequence[Change]) -> pl.DataFrame:
    """Rows of items as a table with the catalog's types.

    Raises:
        DataError: a column is not one of the catalog, or a value does not fit its column.
    """
    columns = dict.fromkeys(name for row in puts for name in row)
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
