"""Pieces of histories, and the buffer from which old ones are repeated, against forgetting."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from pydantic import Field, NonNegativeInt

from temporec.config import Config
from temporec.data.interactions import Interactions
from temporec.data.vocabulary import Vocabulary
from temporec.runtime import random_state

__all__ = ["Piece", "Replay", "ReplayConfig", "log_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Events of one user, oldest first; the last `fresh` of them are to be predicted from those before."""

    owner: str  # the user's id as text, by which `forget` finds it
    items: np.ndarray  # int32 [n]
    times: np.ndarray  # int64 [n]
    fresh: int
    kinds: np.ndarray | None = None  # int16 [n]
    values: np.ndarray | None = None  # float32 [n]


class ReplayConfig(Config):
    """How much is kept.

    Args:
        capacity: pieces.
        newest: share of the capacity that the newest pieces take; the rest is a uniform sample of all that ever came.
    """

    capacity: NonNegativeInt = 100_000
    newest: float = Field(default=0.5, ge=0.0, le=1.0)


class Replay:
    """A uniform sample of all pieces (reservoir, Vitter 1985), beside the newest ones."""

    def __init__(self, config: ReplayConfig | None = None, seed: int = 0) -> None:
        self.config = config or ReplayConfig()
        newest = round(self.config.capacity * self.config.newest)
        self._newest: deque[Piece] = deque(maxlen=newest)
        self._room = self.config.capacity - newest
        self._sample: list[Piece] = []
        self._passed = 0  # pieces that left the newest ones
        self._rng = random_state(seed, 17)

    def __len__(self) -> int:
        return len(self._newest) + len(self._sample)

    def add(self, pieces: Sequence[Piece]) -> None:
        """Keep these pieces, the oldest first; what leaves the newest ones may stay in the sample."""
        for piece in pieces:
            if len(piece.items) < 2:
                continue  # nothing in it can be predicted from what came before
            if len(self._newest) == self._newest.maxlen:
                old = self._newest.popleft() if self._newest else piece
                self._keep(old)
            self._newest.append(piece)

    def _keep(self, piece: Piece) -> None:
        self._passed += 1
        if len(self._sample) < self._room:
            self._sample.append(piece)
        elif (place := int(self._rng.integers(self._passed))) < self._room:
            self._sample[place] = piece

    def draw(self, count: int) -> list[Piece]:
        """`count` different pieces at random, or all that there are."""
        rows = self._rng.permutation(len(self))[:count].tolist()
        split = len(self._sample)
        return [self._sample[row] if row < split else self._newest[row - split] for row in rows]

    def forget(self, owners: set[str]) -> int:
        """Drop all pieces of some users; how many went."""
        before = len(self)
        self._sample = [piece for piece in self._sample if piece.owner not in owners]
        kept = [piece for piece in self._newest if piece.owner not in owners]
        self._newest.clear()
        self._newest.extend(kept)
        return before - len(self)

    def save(self, path: Path) -> None:
        """One Parquet file."""
        pieces = [*self._sample, *self._newest]
        pl.DataFrame(
            {
                "owner": pl.Series([piece.owner for piece in pieces], dtype=pl.String),
                "newest": np.arange(len(pieces)) >= len(self._sample),
                "fresh": pl.Series([piece.fresh for piece in pieces], dtype=pl.Int32),
                "items": _lists([piece.items for piece in pieces], pl.Int32),
                "times": _lists([piece.times for piece in pieces], pl.Int64),
                "kinds": _lists([piece.kinds for piece in pieces], pl.Int16),
                "values": _lists([piece.values for piece in pieces], pl.Float32),
                "passed": pl.Series([self._passed] * len(pieces), dtype=pl.Int64),
            }
        ).write_parquet(path)

    @classmethod
    def load(cls, path: Path, config: ReplayConfig | None = None, seed: int = 0) -> Self:
        """What `save` wrote; a smaller capacity keeps the newest."""
        made = cls(config, seed)
        for row in pl.read_parquet(path).iter_rows(named=True):
            kinds, values = row["kinds"], row["values"]
            piece = Piece(
                row["owner"], np.asarray(row["items"], np.int32), np.asarray(row["times"], np.int64), row["fresh"],
                None if kinds is None else np.asarray(kinds, np.int16),
                None if values is None else np.asarray(values, np.float32),
            )  # fmt: skip
            if row["newest"]:
                made.add([piece])
            elif len(made._sample) < made._room:
                made._sample.append(piece)
            made._passed = row["passed"]
        return made


def log_of(pieces: Sequence[Piece], kinds: tuple[str, ...] = (), has_time: bool = True) -> Interactions:
    """A log in which every piece is a user of its own, numbered in their order."""
    lengths = [len(piece.items) for piece in pieces]
    users = Vocabulary(pl.Series(np.arange(len(pieces))), first=0, what="user")
    return Interactions(
        np.repeat(np.arange(len(pieces), dtype=np.int32), lengths),
        np.concatenate([piece.items for piece in pieces]),
        np.concatenate([piece.times for piece in pieces]),
        users,
        kind=_joined([piece.kinds for piece in pieces]),
        kinds=kinds,
        value=_joined([piece.values for piece in pieces]),
        has_time=has_time,
    )


def _lists(arrays: Sequence[np.ndarray | None], inner: type[pl.DataType]) -> pl.Series:
    return pl.Series([None if each is None else each.tolist() for each in arrays], dtype=pl.List(inner))


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known and len(known) == len(parts) else None
