"""A recommender as a folder of plain files: complete, checked, and written in one move."""

import glob
import json
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl

from temporec import __version__
from temporec.data.dataset import Dataset, build_dataset
from temporec.durable import file_hash, fsync, fsync_folder, writing
from temporec.errors import CheckpointError

__all__ = ["FORMAT", "load_dataset", "new_folder", "read_manifest", "recover", "save_dataset"]

FORMAT = 1


@contextmanager
def new_folder(target: Path, kind: str) -> Iterator[Path]:
    """A folder to write into that becomes `target` when everything in it is complete and durable.

    On any error `target` stays as it was and nothing is left behind. `manifest.json` gets the hash of every file.
    """
    target = Path(target)
    mine = f"{os.getpid()}-{threading.get_ident()}"
    part = target.with_name(f".{target.name}.part-{mine}")
    old = target.with_name(f".{target.name}.old-{mine}")
    recover(target)
    try:
        with writing(target, part, "nothing was changed there; free space or choose another place"):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part
            files = {str(f.relative_to(part)): file_hash(f) for f in sorted(part.rglob("*")) if f.is_file()}
            manifest = {"format": FORMAT, "temporec": __version__, "kind": kind, "files": files}
            (part / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
            fsync_folder(part)
            if target.exists():
                target.replace(old)
            part.replace(target)
            fsync(target.parent)
            for left in _aside(target):  # by this writer, or by one that was killed
                shutil.rmtree(left, ignore_errors=True)
    finally:
        if old.exists() and not target.exists():
            old.replace(target)
        shutil.rmtree(part, ignore_errors=True)


def recover(target: Path) -> None:
    """Bring back the folder that a writer had moved aside when it was killed, before the new one took its place."""
    if not target.exists() and (aside := _aside(target)):
        with suppress(OSError):  # another process was faster, or the place is read-only
            max(aside, key=lambda path: path.stat().st_mtime_ns).replace(target)


def _aside(target: Path) -> list[Path]:
    """Folders of this name that were moved aside."""
    return list(target.parent.glob(f".{glob.escape(target.name)}.old-*"))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Check format and the hash of every file of a saved folder, and give its manifest."""
    folder = Path(folder)
    path = folder / "manifest.json"
    recover(folder)
    if not path.is_file():
        what = "does not exist" if not folder.exists() else "has no manifest.json, so it is not a complete model folder"
        raise CheckpointError(f"{folder} {what}; give the folder that `temporec fit --out DIR` wrote")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known, kind, files = int(manifest["format"]), manifest["kind"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path} is damaged; restore the folder from a backup or fit again") from None
    if known > FORMAT:
        raise CheckpointError(
            f"{folder} was written by Temporec {manifest.get('temporec')} in format {known}; this version reads up to "
            f"{FORMAT}. Update Temporec."
        )
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{folder} lacks {name}; restore it from a backup or fit again")
        if file_hash(file) != expected:
            raise CheckpointError(f"{file} is damaged (its hash is not the recorded one); restore it or fit again")
    return {**manifest, "kind": kind}


def save_dataset(folder: Path, dataset: Dataset) -> None:
    """catalog.parquet, histories.parquet (external ids) and dataset.json."""
    dataset.catalog.frame.write_parquet(folder / "catalog.parquet")
    log = dataset.interactions
    frame = log.to_frame(dataset.catalog.vocabulary)
    if not log.has_time:
        frame = frame.drop("time")
    frame.write_parquet(folder / "histories.parquet")
    plain = {"described": dataset.described, "context": list(log.context), "has_time": log.has_time}
    (folder / "dataset.json").write_text(json.dumps(plain), encoding="utf-8")


def load_dataset(folder: Path) -> Dataset:
    """The inverse of `save_dataset`; numbers of items and users are as they were."""
    plain = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    frame = pl.read_parquet(folder / "histories.parquet")
    items = pl.read_parquet(folder / "catalog.parquet")
    dataset = build_dataset(frame, items, plain["context"])
    return Dataset(dataset.interactions, dataset.catalog, plain["described"])
