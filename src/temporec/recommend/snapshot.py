"""What has happened since a checkpoint, as a folder: a service that starts again reads it and the log behind it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from temporec.errors import CheckpointError
from temporec.recommend.folder import new_folder, read_manifest
from temporec.recommend.live import Live

__all__ = ["drop_users", "restore_snapshot", "save_snapshot"]


def save_snapshot(live: Live, folder: Path) -> None:
    """Write the live histories, item changes and the log offset, all or nothing."""
    with new_folder(folder, "live") as part:
        live.log.changes().write_parquet(part / "events.parquet")
        live.catalog.frame[np.asarray(sorted(live.put), np.int64) - 1].write_parquet(part / "items.parquet")
        plain = {
            "offset": live.offset,
            "absent": live.catalog.vocabulary.decode(sorted(live.absent)),
            "gone": [number for number in sorted(live.log.gone) if number < len(live.log.users)],  # no ids of them
        }
        (part / "live.json").write_text(json.dumps(plain), encoding="utf-8")


def restore_snapshot(live: Live, folder: Path) -> None:
    """Take over what `save_snapshot` wrote, beside a fresh recommender of the same checkpoint.

    Raises:
        CheckpointError: the folder is incomplete or damaged.
    """
    if read_manifest(folder)["kind"] != "live":
        raise CheckpointError(f"{folder} is no snapshot of a service; give the folder that the service wrote")
    plain = json.loads((folder / "live.json").read_text(encoding="utf-8"))
    if len(items := pl.read_parquet(folder / "items.parquet")):
        live.put_items(items)
    live.remove_items(plain["absent"])
    live.log.gone.update(plain.get("gone", ()))
    live.restore(pl.read_parquet(folder / "events.parquet"), int(plain["offset"]))


def drop_users(folder: Path, is_gone: Callable[[str], bool]) -> int:
    """Take all events of some users, by their id as text, out of a snapshot; how many users were in it.

    Raises:
        CheckpointError: the folder is incomplete or damaged, or cannot be written.
    """
    read_manifest(folder)
    events = pl.read_parquet(folder / "events.parquet")
    gone = [user for user in events["user"].unique().to_list() if is_gone(user)]
    if gone:
        items, plain = (folder / "items.parquet").read_bytes(), (folder / "live.json").read_bytes()
        with new_folder(folder, "live") as part:
            events.filter(~pl.col("user").is_in(gone)).write_parquet(part / "events.parquet")
            (part / "items.parquet").write_bytes(items)
            (part / "live.json").write_bytes(plain)
    return len(gone)
