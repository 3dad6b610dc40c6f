"""Vectors on disk, by (identity of the encoder, hash of what was encoded)."""

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

__all__ = ["VectorCache", "cache_key", "default_cache", "fingerprint"]

_log = logging.getLogger(__name__)

_WHOLE = 1 << 28  # bytes of a file that are hashed in full
_BLOCK, _STRIDE = 1 << 12, 1 << 19  # of larger files, a block of each stride
_WEIGHTS = {".bin", ".gz", ".json", ".model", ".npy", ".npz", ".pt", ".pth", ".safetensors", ".txt", ".vec"}


def default_cache() -> Path:
    """The folder `$TEMPOREC_CACHE`, or `~/.cache/temporec/text`."""
    named = os.environ.get("TEMPOREC_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "temporec" / "text"


def cache_key(identity: str, content: bytes) -> bytes:
    """20 bytes that stand for what an encoder makes of some content."""
    digest = hashlib.blake2b(identity.encode("utf-8", "replace") + b"\0", digest_size=20)
    digest.update(content)
    return digest.digest()


def fingerprint(path: Path) -> str:
    """Hash (12 digits) of a file, or of the model files in a folder: names, sizes, contents.

    Files over 256 MiB are sampled: the first and the last 4 KiB and 4 KiB of each 512 KiB.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in _WEIGHTS and file.is_file())
    digest = hashlib.sha256()
    for file in files:
        name, size = file.relative_to(path).as_posix() if file != path else "", file.stat().st_size
        digest.update(f"{name}\0{size}\0".encode("utf-8", "replace"))
        with file.open("rb") as source:
            if size <= _WHOLE:
                digest.update(hashlib.file_digest(source, "sha256").digest())
                continue
            for begin in (*range(0, size, _STRIDE), size - _BLOCK):
                source.seek(begin)
                digest.update(source.read(_BLOCK))
    return digest.hexdigest()[:12]


class VectorCache:
    """One SQLite file; writes are transactions, and several processes may share it.

    A cache must not cost a run: where it cannot be read or written, that is logged, and everything is encoded.
    A damaged file is put aside.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or default_cache()) / "vectors.sqlite"

    def find(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The vectors float32 [d] of those keys that are known."""
        found: dict[bytes, np.ndarray] = {}
        if self.path.exists():
            self._attempt(lambda base: found.update(_select(base, keys)))
        return found

    def add(self, rows: Iterable[tuple[bytes, np.ndarray]]) -> None:
        """Remember vectors float32 [d] by their keys."""
        values = [(key, np.ascontiguousarray(vector, dtype="<f4").tobytes()) for key, vector in rows]
        self._attempt(lambda base: base.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", values))

    def _attempt(self, work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            with self._open() as base:
                work(base)
        except sqlite3.OperationalError as error:  # locked, full, not writable
            _log.warning("the text cache %s is not usable (%s); going on without it", self.path, error)
        except sqlite3.DatabaseError as error:
            aside = self.path.with_suffix(".damaged")
            _log.warning("the text cache %s is damaged (%s); it is now %s", self.path, error, aside.name)
            self.path.replace(aside)
        except OSError as error:
            _log.warning("the text cache %s cannot be made (%s); going on without it", self.path, error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=30)) as base, base:
            base.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
            yield base


def _select(base: sqlite3.Connection, keys: Sequence[bytes], step: int = 500) -> Iterator[tuple[bytes, np.ndarray]]:
    for begin in range(0, len(keys), step):
        part = keys[begin : begin + step]
        marks = ",".join("?" * len(part))
        for key, vector in base.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part):
            yield key, np.frombuffer(vector, dtype="<f4")
