"""Histories like this one, and what stood in them: VMIS-kNN (Kersbergen, Sprangers and Schelter, Serenade, 2022)."""

from typing import ClassVar

import numpy as np
from pydantic import Field, PositiveInt
from scipy import sparse

from temporec import registry
from temporec.baselines.base import Baseline, BaselineConfig, LastEvents, last_events
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset

__all__ = ["SessionKnn", "SessionKnnConfig"]

LONGEST = 16  # events of a request that are compared: their matches fit into the bits of a float32


class SessionKnnConfig(BaselineConfig):
    """How neighbours are found.

    Args:
        sessions: only the newest so many sessions of each item, and of each request, are looked at (m).
        neighbours: the most similar so many of them vote (k).
        history: last events of a request whose items are compared; at most 16.
        session_length: longer histories are cut into sessions of at most so many events; None = never.
        idf: weight of rarity; an item's votes are multiplied by 1 + idf * log(sessions / sessions with the item).
    """

    sessions: PositiveInt = 500
    neighbours: PositiveInt = 100
    history: int = Field(default=5, ge=1, le=LONGEST)
    session_length: PositiveInt | None = 20
    idf: float = Field(default=0.0, ge=0.0)


@registry.register("baseline", "session_knn")
class SessionKnn(Baseline):
    """Past histories are sessions, numbered by the time of their last event.

    With n distinct items in the request, the item at age a (0 = newest) has the weight (n - a) / n. A session's
    similarity is the sum over shared items; a neighbour's vote is its similarity times 1 - 0.1 a, at least 0.05, for
    the newest shared item. The weight of an item is the sum of the votes of the neighbours that have it.
    """

    kind = "baseline:session_knn"
    Config: ClassVar[type[BaselineConfig]] = SessionKnnConfig
    scoring_options = frozenset({"popularity_share", "neighbours", "history", "idf"})
    config: SessionKnnConfig

    @classmethod
    def grid(cls) -> list[BaselineConfig]:
        return [
            SessionKnnConfig(sessions=sessions, session_length=length, neighbours=neighbours, history=history, idf=idf)
            for sessions in (500, 2000)
            for length in (20, 8)
            for neighbours, history in ((100, 5), (100, 2), (300, 3))
            for idf in (0.0, 1.0)
        ]

    def learn(self, dataset: Dataset) -> None:
        log = dataset.interactions
        place = np.arange(len(log)) - log.offsets[:-1][log.user]
        block = place // (self.config.session_length or len(log))
        first = np.ones(len(log), dtype=bool)
        first[1:] = (log.user[1:] != log.user[:-1]) | (block[1:] != block[:-1])
        session = np.cumsum(first) - 1
        ends = np.append(np.flatnonzero(first)[1:] - 1, len(log) - 1)
        number = np.empty(len(ends), dtype=np.int64)
        number[np.argsort(log.time[ends], kind="stable")] = np.arange(len(ends))
        key = np.unique(number[session] * self.catalog.size + log.item)
        self._set(key // self.catalog.size, (key % self.catalog.size).astype(np.int32), len(ends))

    def _set(self, session: np.ndarray, item: np.ndarray, count: int) -> None:
        """From the distinct (session, item) pairs, ordered by session."""
        size = len(self.share)
        offsets = np.searchsorted(session, np.arange(count + 1)).astype(np.int64)
        self._sessions = sparse.csr_array((np.ones(len(item), np.float32), item, offsets), (count, size))
        order = np.argsort(item, kind="stable")
        ends = np.searchsorted(item[order], np.arange(size), side="right")
        newest = ends[item[order]] - np.arange(len(item)) <= self.config.sessions
        kept = order[newest]
        starts = np.searchsorted(item[kept], np.arange(size + 1)).astype(np.int64)
        self._index = sparse.csr_array((np.ones(len(kept), np.float32), session[kept], starts), (size, count))
        self._rarity = np.log(count / np.maximum(np.bincount(item, minlength=size), 1)).astype(np.float32)

    def weights(self, histories: Histories) -> np.ndarray:
        result = (self._votes(histories) @ self._sessions).toarray()
        if self.config.idf > 0:
            result *= 1.0 + self.config.idf * self._rarity
        return np.asarray(result, dtype=np.float32)

    def _votes(self, histories: Histories) -> sparse.csr_array:
        """The neighbours of each request with their votes, [B, sessions]."""
        last = _distinct(last_events(histories, self.config.history))
        bits = last.matrix(np.exp2(-last.age + (LONGEST - 1)), len(self.share))
        found = bits @ self._index  # which ages are shared, as a binary number: the newest event is the highest bit
        found.sort_indices()
        row = np.repeat(np.arange(len(histories)), np.diff(found.indptr))
        newest = found.indptr[1:][row] - np.arange(len(row)) <= self.config.sessions
        row, session, shared = row[newest], found.indices[newest], found.data[newest].astype(np.int64)
        similarity, vote = _similarity(shared, np.diff(last.offsets)[row])
        order = np.lexsort((-session, -similarity, row))
        starts = np.searchsorted(row, np.arange(len(histories) + 1))
        best = order[np.arange(len(row)) - starts[:-1][row] < self.config.neighbours]
        offsets = np.searchsorted(row[best], np.arange(len(histories) + 1))
        return sparse.csr_array((vote[best], session[best], offsets), found.shape)

    def state(self) -> dict[str, np.ndarray]:
        return {
            "session_items": self._sessions.indices.astype(np.int32),
            "session_offsets": self._sessions.indptr.astype(np.int64),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        offsets = arrays["session_offsets"]
        session = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        self._set(session, arrays["session_items"], len(offsets) - 1)


def _distinct(last: LastEvents) -> LastEvents:
    """Each item once per history, at its newest place."""
    key = last.row * (int(last.items.max(initial=0)) + 1) + last.items
    places = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
    places.sort()
    offsets = np.searchsorted(places, last.offsets).astype(np.int64)
    age = offsets[1:][last.row[places]] - 1 - np.arange(len(places))
    return LastEvents(last.items[places], age, offsets)


def _similarity(shared: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and votes, both float32, of sessions that share the ages in `shared` with requests of n items."""
    weight = np.zeros(len(shared), dtype=np.float32)
    newest = np.full(len(shared), LONGEST, dtype=np.float32)
    for age in range(LONGEST - 1, -1, -1):
        has = (shared >> (LONGEST - 1 - age)) & 1 == 1
        weight += (has * (1.0 - age / count)).astype(np.float32)
        newest[has] = age
    return weight, weight * np.maximum(1.0 - 0.1 * newest, 0.05).astype(np.float32)
