"""Encoder states of users: each event moves a state by one step, and an answer needs no look at the history."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from temporec.data.batch import Histories
from temporec.encoders.base import State
from temporec.recommend.recommender import NeuralRecommender

__all__ = ["UserStates"]

MARK = 64  # events between two kept states of one user
MARKS = 4  # the newest so many are kept, for events that come late


@dataclass(slots=True)
class _Entry:
    """Where one user stands."""

    count: int  # events of the history that are in the state
    state: State  # B = 1
    hidden: Tensor  # [1, D]
    query: Tensor | None = None  # [1, D], of a request at no particular time; made when it is needed
    marks: list[tuple[int, State]] = field(default_factory=list)  # earlier states


class UserStates:
    """States by user, the least recently used ones dropped beyond a bound; a missing one is built from the history.

    A state equals the one that `forward` over the whole history gives, to 1e-5.

    Args:
        recommender: its weights must not change; after they did, make new states.
        megabytes: bound of the memory that the states take.
    """

    def __init__(self, recommender: NeuralRecommender, megabytes: int = 512) -> None:
        self.recommender, self.encoder = recommender, recommender.model.encoder
        self.field = recommender.max_len
        self._first = self.encoder.initial_state(1)
        self._nothing = torch.zeros(1, self.encoder.config.dim, device=next(iter(self._first.values())).device)
        one = sum(value.nbytes for value in [*self._first.values(), self._nothing, self._nothing])
        copies = 1 if self.field is not None else 1 + MARKS
        self.capacity = max(1, (megabytes << 20) // (one * copies + 2048))
        self._entries: OrderedDict[int, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def rewind(self, user: int, place: int) -> None:
        """An event has come before the one that now stands at `place` + 1: forget what was computed from there on."""
        entry = self._entries.get(user)
        if entry is None or entry.count <= place:
            return
        entry.marks = [mark for mark in entry.marks if mark[0] <= place]
        if not entry.marks:
            del self._entries[user]
            return
        entry.count, entry.state = entry.marks[-1]  # an event follows, and with it the hidden vector

    def drop(self, user: int) -> None:
        """Forget a user."""
        self._entries.pop(user, None)

    @torch.no_grad()
    def queries(self, histories: Histories, users: Sequence[int], stored: Sequence[int]) -> Tensor:
        """Query vectors [B, D] of histories that are not empty.

        Args:
            histories: the whole history of each row.
            users: the number of the user of each row, -1 = nobody.
            stored: so many first events are the user's own, and their state is kept; the others are of this request.
        """
        entries = [self._entry(user, count) for user, count in zip(users, stored, strict=True)]
        self._move(histories, entries, stored)
        for user, entry in zip(users, entries, strict=True):
            if user >= 0 and entry.count:
                self._entries[user] = entry
                self._entries.move_to_end(user)
        while len(self._entries) > self.capacity:
            self._entries.popitem(last=False)
        lengths = histories.lengths.tolist()
        if any(entry.count < length for entry, length in zip(entries, lengths, strict=True)):
            entries = [replace(entry, marks=[]) for entry in entries]  # what this request brings is not kept
            self._move(histories, entries, lengths)
        if (gap := histories.gap()) is None:
            return self._plain_queries(entries)
        hidden = torch.cat([entry.hidden for entry in entries])
        query: Tensor = self.recommender.model.head.query(hidden, gap.to(hidden.device))
        return query

    def _plain_queries(self, entries: Sequence[_Entry]) -> Tensor:
        if new := [entry for entry in entries if entry.query is None]:
            made = self.recommender.model.head.query(torch.cat([entry.hidden for entry in new]))
            for i, entry in enumerate(new):
                entry.query = made[i : i + 1].clone()
        return torch.cat([entry.query for entry in entries if entry.query is not None])

    def _entry(self, user: int, stored: int) -> _Entry:
        known = self._entries.get(user)
        return known if known is not None and known.count <= stored else _Entry(0, self._first, self._nothing)

    def _move(self, histories: Histories, entries: list[_Entry], ends: Sequence[int]) -> None:
        """Take all events up to `ends` of every history into its entry; equally many of several users at once."""
        while True:
            groups: dict[int, list[tuple[int, int, int]]] = {}
            for row, (entry, end) in enumerate(zip(entries, ends, strict=True)):
                if entry.count < end:
                    begin, stop = self._part(entry.count, end)
                    groups.setdefault(stop - begin, []).append((row, begin, stop))
            if not groups:
                return
            for group in groups.values():
                self._advance(histories, entries, group)

    def _part(self, count: int, end: int) -> tuple[int, int]:
        """The next events to take: up to a mark where all events count, else at most those that still matter."""
        if self.field is None:
            return count, min(end, (count // MARK + 1) * MARK)
        return (count if count else max(0, end - self.field)), end

    def _advance(self, histories: Histories, entries: list[_Entry], group: list[tuple[int, int, int]]) -> None:
        rows, begins, stops = (np.asarray(part) for part in zip(*group, strict=True))
        part = histories.rows(rows).first(stops)
        batch = self.recommender.batch(part, part.offsets[:-1] + begins)
        states = [entries[row].state for row in rows]
        state = {name: torch.cat([each[name] for each in states]) for name in states[0]}
        hidden, after = self.recommender.model.advance(batch, state, self.recommender.table(histories))
        for i, (row, stop) in enumerate(zip(rows.tolist(), stops.tolist(), strict=True)):
            entry = entries[row]
            entry.count, entry.hidden, entry.query = stop, hidden[i : i + 1].clone(), None
            entry.state = {name: value[i : i + 1].clone() for name, value in after.items()}
            if self.field is None and stop % MARK == 0:
                entry.marks = [*entry.marks[1 - MARKS :], (stop, entry.state)]
