"""Files and folders that are whole or absent, and on the disk, after a crash or on a full disk."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
from safetensors import SafetensorError

from temporec.errors import CheckpointError

__all__ = ["file_hash", "fsync", "fsync_folder", "write_atomic", "writing"]


@contextmanager
def writing(what: Path, part: Path, hint: str = "free space or choose another place") -> Iterator[None]:
    """On any error in the block remove `part`, a file or a folder; a full disk becomes one `CheckpointError`."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            part.unlink()
        if isinstance(error, OSError | SafetensorError | pl.exceptions.PolarsError):
            raise CheckpointError(f"cannot write {what}: {' '.join(str(error).split())[:200]}; {hint}") from None
        raise


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old or the new text, never a part."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    fsync(path.parent)


def fsync_folder(folder: Path) -> None:
    """Make every file of a folder, and the folder itself, durable."""
    for path in folder.rglob("*"):
        fsync(path)
    fsync(folder)


def fsync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
