"""Users by what a table says of them (age, country, interests): one event before the first of their history."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from temporec.data.batch import Histories
from temporec.data.vocabulary import Id, Vocabulary
from temporec.recommend.profile_encoder import ProfileEncoder
from temporec.recommend.query import Query

__all__ = ["Profiles", "prepended"]

FOLDER = "profiles"  # in a checkpoint


@dataclass(frozen=True, eq=False)
class Profiles:
    """What is known of users beside their events, and what it means to the model.

    Args:
        encoder: rows of the table as numbers.
        weight: [F + 1, D] from these numbers to an event's vector, its constant last.
        until: a profile counts while a history has fewer events.
        users: ids of the rows of `table`.
        table: of the users, with the columns of the encoder.
        sentence: what it was worth for users who had no part in the fit.
    """

    encoder: ProfileEncoder
    weight: Tensor
    until: int
    users: Vocabulary
    table: pl.DataFrame
    sentence: str = ""

    def of(self, query: Query) -> dict[str, Any]:
        """What is known of who asks: the row of the table, the profile of the query before it."""
        known: dict[str, Any] = {}
        if query.user is not None and query.user in self.users:
            known = self.table.row(int(self.users.encode([query.user])[0]), named=True)
        return {**known, **(query.profile or {})}

    def counts(self, query: Query, events: int) -> bool:
        """Whether a profile of who asks is there, and counts beside so many events."""
        return events < self.until and bool(self.of(query))

    def vectors(self, frame: pl.DataFrame) -> Tensor:
        """Vectors [n, D] of events that say what these rows say."""
        features = torch.from_numpy(self.encoder(frame))
        return features @ self.weight[:-1] + self.weight[-1]

    def put_first(self, histories: Histories, queries: Sequence[Query], size: int) -> Histories:
        """The histories of some queries, with the profile as first event where the history is short.

        Args:
            size: of the item table; numbers behind it stand for `extra` events.
        """
        asked, rows = [], []
        for place, query in enumerate(queries):
            if query.profile:
                self.encoder.check(query.profile, self.encoder.frame([query.profile]))
            if self.counts(query, int(histories.lengths[place])):
                rows.append(place)
                asked.append(self.of(query))
        if not rows:
            return histories
        return prepended(histories, np.asarray(rows), self.vectors(self.encoder.frame(asked)), size)

    def put_known(self, histories: Histories, users: Sequence[Id], size: int) -> Histories:
        """The same for known users, whose histories these are."""
        short = np.flatnonzero(histories.lengths < self.until)
        numbers = [int(self.users.encode([users[i]])[0]) if users[i] in self.users else -1 for i in short.tolist()]
        place = np.asarray(numbers, dtype=np.int64)
        short, place = short[place >= 0], place[place >= 0]
        return prepended(histories, short, self.vectors(self.table[place]), size) if len(short) else histories

    def save(self, folder: Path) -> None:
        """Write the folder `profiles`."""
        folder = folder / FOLDER
        folder.mkdir()
        self.encoder.save(folder)
        self.table.select(self.users.ids.alias("user"), pl.all()).write_parquet(folder / "users.parquet")
        save_file({"weight": self.weight.contiguous(), "mean": torch.from_numpy(self.encoder.mean)},
                  folder / "map.safetensors")  # fmt: skip
        plain = {"until": self.until, "sentence": self.sentence}
        (folder / "profiles.json").write_text(json.dumps(plain), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` wrote; None where the folder has none."""
        folder = folder / FOLDER
        if not folder.exists():
            return None
        parts, frame = load_file(folder / "map.safetensors"), pl.read_parquet(folder / "users.parquet")
        table = frame.drop("user")
        encoder = ProfileEncoder.load(folder, parts["mean"].numpy(), table.clear())
        plain = json.loads((folder / "profiles.json").read_text(encoding="utf-8"))
        users = Vocabulary(frame["user"], first=0, what="user")
        return cls(encoder, parts["weight"], int(plain["until"]), users, table, plain["sentence"])


def prepended(histories: Histories, rows: np.ndarray, vectors: Tensor, size: int) -> Histories:
    """The histories with a vector [n, D] as the first event of some rows [n], at the time of the next one."""
    where = histories.offsets[:-1][rows]
    first = np.append(histories.times, 0)[where]
    asked = np.zeros(len(rows), np.int64) if histories.at is None else histories.at[rows]
    extra = vectors if histories.extra is None else torch.cat([histories.extra.to(vectors), vectors])
    numbers = np.arange(size + len(extra) - len(rows), size + len(extra), dtype=np.int32)
    added = np.zeros(len(histories), dtype=np.int64)
    added[rows] = 1
    return Histories(
        np.insert(histories.items, where, numbers),
        np.insert(histories.times, where, np.where(histories.lengths[rows] > 0, first, asked)),
        histories.offsets + np.concatenate([[0], np.cumsum(added)]),
        histories.at,
        histories.users,
        histories.has_time,
        None if histories.kinds is None else np.insert(histories.kinds, where, -1),
        None if histories.values is None else np.insert(histories.values, where, np.nan),
        extra,
    )
