"""Columns of image and sound files to columns of vectors, for `text.encoder=given` alone or beside texts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from temporec.errors import ColumnError, ReadError
from temporec.llm.audio import LogMelEncoder
from temporec.llm.batches import BatchRunner
from temporec.llm.cache import cache_key
from temporec.llm.images import EfficientNetLite, HubImageEncoder, TimmEncoder

__all__ = ["FileEncoder", "encode_files", "open_file_encoder"]

_log = logging.getLogger(__name__)


class FileEncoder(Protocol):
    """Files to vectors."""

    @property
    def identity(self) -> str:
        """Model and hash of its weights."""

    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        """Vectors float32 [n, d]; raises `ReadError` with the name of a file that cannot be read."""


def open_file_encoder(name: str) -> FileEncoder:
    """The encoder `image` (EfficientNet-lite0), `audio` (log-mel statistics), `timm/NAME`, a hub name or a folder."""
    if name == "image":
        return EfficientNetLite()
    if name == "audio":
        return LogMelEncoder()
    return TimmEncoder(name.removeprefix("timm/")) if name.startswith("timm/") else HubImageEncoder(name)


def encode_files(
    frame: pl.DataFrame,
    column: str,
    encoder: str | FileEncoder,
    *,
    folder: Path | str = ".",
    name: str | None = None,
    runner: BatchRunner | None = None,
) -> pl.DataFrame:
    """The table with a column of vectors [d] behind it; null where there is no path or no such file.

    Args:
        frame: the items.
        column: paths of files, relative to `folder`; null or "" = none.
        encoder: or a name for `open_file_encoder`.
        folder: where relative paths begin.
        name: of the new column; `column` + "_vector" by default.
        runner: cache (by content, so that a file that moved or stands twice is not encoded again), batch size, bar.

    Raises:
        ColumnError: there is no such column of texts.
        ReadError: a file that exists cannot be read.
    """
    if frame.schema.get(column) != pl.String:
        raise ColumnError(f"no column {column!r} of file paths in the table; it has: {', '.join(frame.columns)}")
    made = open_file_encoder(encoder) if isinstance(encoder, str) else encoder
    contents: dict[bytes, Path] = {}
    keys: list[bytes | None] = []
    for text in frame[column].to_list():
        path = Path(folder, text) if text else None
        if path is None or not path.is_file():
            keys.append(None)
            continue
        try:
            key = cache_key(made.identity, path.read_bytes())
        except OSError as error:
            raise ReadError(f"file {path} of column {column!r} cannot be read: {error.strerror}") from None
        contents.setdefault(key, path)
        keys.append(key)
    if missing := sum(key is None and bool(text) for key, text in zip(keys, frame[column], strict=True)):
        _log.warning("column %r: %d of the files do not exist; their vectors are missing", column, missing)
    paths = list(contents.values())
    found = (runner or BatchRunner(column, "files", batch=16)).run(
        list(contents), [1] * len(paths), lambda places: made.encode([paths[i] for i in places])
    )
    rows = [None if key is None else found[key].tolist() for key in keys]
    return frame.with_columns(pl.Series(name or f"{column}_vector", rows, dtype=pl.List(pl.Float32)))
