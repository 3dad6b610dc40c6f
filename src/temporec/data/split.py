"""Train, validation and test, cut by time. All borders are half-open: train < valid_at <= valid < test_at <= test.

After a split nothing downstream can see the future: the training part has a catalog of its own (items of the items
table and of training events only), and a target outside that catalog counts as a miss. It has its own event kinds too:
a kind that first comes later is unknown (-1) in the histories of `valid` and `test`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.data.interactions import Interactions, kind_numbers
from temporec.errors import DataError, EmptyLogError

__all__ = ["Cases", "Split", "Target", "global_time", "leave_last_out", "rolling", "split"]

Target = Literal["next_event", "next_basket"]
Protocol = Literal["global-time", "leave-last-out"]


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Questions with known answers: B histories and what came next.

    `targets[offsets[b]:offsets[b + 1]]` are the right answers of case b (one for next_event, a basket for
    next_basket) in numbers of the training catalog; 0 stands for an item that this catalog does not have.
    """

    histories: Histories
    targets: np.ndarray  # int32 [M]
    offsets: np.ndarray  # int64 [B + 1]

    def __len__(self) -> int:
        return len(self.histories)

    def rows(self, rows: np.ndarray) -> "Cases":
        """Some of the cases, in the given order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        flat = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Cases(self.histories.rows(rows), self.targets[flat], offsets)


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One cut of a log. `train` has its own catalog; `valid` and `test` are encoded in it."""

    train: Dataset
    valid: Cases
    test: Cases
    protocol: str
    target: Target
    cuts: tuple[int, int] | None  # (valid_at, test_at) in milliseconds, None for leave-last-out


def split(
    dataset: Dataset,
    protocol: str = "global-time",
    target: Target = "next_event",
    cuts: tuple[float, float] = (0.8, 0.9),
) -> Split:
    """Split by the name of the protocol; `cuts` are shares of events (global-time only)."""
    if protocol == "leave-last-out":
        return leave_last_out(dataset, target)
    if protocol == "global-time":
        valid_at, test_at = time_at_share(dataset.interactions, cuts)
        if valid_at == test_at:
            raise EmptyLogError(
                f"the cuts at {cuts[0]:.0%} and {cuts[1]:.0%} of the events fall on one moment, so nothing lies "
                "between them; use a longer log, other judge.cuts, or the protocol leave-last-out"
            )
        return global_time(dataset, valid_at, test_at, target)
    raise DataError(f"no protocol {protocol!r}; known: global-time, leave-last-out")


def time_at_share(log: Interactions, shares: tuple[float, ...]) -> tuple[int, ...]:
    """The times before which the given shares of all events lie."""
    if not all(0.0 < share < 1.0 for share in shares) or list(shares) != sorted(set(shares)):
        raise DataError(f"cuts {shares} must be shares of events between 0 and 1, ascending, for example 0.8,0.9")
    ordered = np.sort(log.time)
    return tuple(int(ordered[min(len(ordered) - 1, round(share * len(ordered)))]) for share in shares)


def leave_last_out(dataset: Dataset, target: Target = "next_event") -> Split:
    """Each user's last event (or basket) is the test, the one before it validation; users with fewer than 3 only train.

    The test history includes the validation event. Within a tie in time the file order decides.
    """
    log = dataset.interactions
    group = _groups(log, target)
    first, last = log.offsets[:-1], log.offsets[1:]
    size = np.where(last > first, group[np.maximum(last - 1, 0)] + 1, 0)
    held = size >= 3
    back = np.repeat(size, last - first) - group  # 1 = last event or basket of the user
    kept_user = np.repeat(held, last - first)
    train_rows = ~(kept_user & (back <= 2))
    users = np.flatnonzero(held)
    return _assemble(
        dataset,
        train_rows,
        [(users, back == 2, back > 2), (users, back == 1, back > 1)],
        "leave-last-out",
        target,
        None,
    )


def global_time(dataset: Dataset, valid_at: int, test_at: int, target: Target = "next_event") -> Split:
    """Cut all users at the same moments, in milliseconds.

    Everything before `valid_at` trains; the first event (or basket) of each user in [valid_at, test_at) validates, and
    the first one from `test_at` on tests. Histories end at the cut.
    """
    log = dataset.interactions
    if not valid_at < test_at:
        raise DataError(f"valid_at ({valid_at}) must lie before test_at ({test_at})")
    parts = []
    for low, high in ((valid_at, test_at), (test_at, np.iinfo(np.int64).max)):
        inside = (log.time >= low) & (log.time < high)
        rows = np.flatnonzero(inside)
        users, first = np.unique(log.user[rows], return_index=True)
        start = np.full(len(log.users), -1, dtype=np.int64)
        start[users] = rows[first]
        own = start[log.user]
        answer = np.arange(len(log)) == own
        if target == "next_basket":
            answer = inside & (own >= 0) & (log.time == log.time[np.maximum(own, 0)])
        parts.append((users, answer, log.time < low))
    return _assemble(dataset, log.time < valid_at, parts, "global-time", target, (int(valid_at), int(test_at)))


def rolling(dataset: Dataset, folds: int = 3, share: float = 0.1, target: Target = "next_event") -> Iterator[Split]:
    """`folds` global-time splits whose test windows, each of `share` of all events, follow one another to the end."""
    if folds < 1 or not 0.0 < share * (folds + 1) < 1.0:
        raise DataError(f"{folds} folds of {share} leave nothing to train on; choose folds * share well below 1")
    for fold in range(folds, 0, -1):
        end = 1.0 - share * (fold - 1)
        shares = (end - 2 * share, end - share)
        if fold == 1:
            yield split(dataset, "global-time", target, shares)
            continue
        valid_at, test_at, stop = time_at_share(dataset.interactions, (*shares, end))
        before = dataset.restrict(dataset.interactions.time < stop)
        yield global_time(before, valid_at, test_at, target)


def _groups(log: Interactions, target: Target) -> np.ndarray:
    """Position of each event within its user, counted in events or in baskets (equal times), int64 [N]."""
    if target == "next_event":
        return np.asarray(np.arange(len(log)) - np.repeat(log.offsets[:-1], np.diff(log.offsets)))
    new = np.ones(len(log), dtype=np.int64)
    new[1:] = (log.user[1:] != log.user[:-1]) | (log.time[1:] != log.time[:-1])
    count = np.cumsum(new) - 1
    first = np.minimum(log.offsets[:-1], len(log) - 1)
    return np.asarray(count - np.repeat(count[first], np.diff(log.offsets)))


def _assemble(
    dataset: Dataset,
    train_rows: np.ndarray,
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    protocol: str,
    target: Target,
    cuts: tuple[int, int] | None,
) -> Split:
    if not train_rows.any() or not len(parts[0][0]) or not len(parts[1][0]):
        raise EmptyLogError(
            f"the {protocol} split leaves {int(train_rows.sum())} training events, {len(parts[0][0])} validation and "
            f"{len(parts[1][0])} test users; it needs some of each. Use a longer log, other cuts or the other protocol."
        )
    train = dataset.restrict(train_rows)
    renumber = np.zeros(dataset.catalog.size, dtype=np.int32)
    renumber[1:] = train.catalog.vocabulary.encode_series(dataset.catalog.vocabulary.ids)
    log = dataset.interactions
    if log.kind is not None:
        log = replace(log, kind=kind_numbers(log.kinds, train.interactions.kinds)[log.kind])
    valid, test = (_cases(log, renumber, *part) for part in parts)
    return Split(train, valid, test, protocol, target, cuts)


def _cases(log: Interactions, renumber: np.ndarray, users: np.ndarray, answer: np.ndarray, past: np.ndarray) -> Cases:
    item = renumber[log.item]
    wanted = np.zeros(len(log.users), dtype=bool)
    wanted[users] = True
    rows = np.flatnonzero(past & wanted[log.user] & (item > 0))
    answers = np.flatnonzero(answer & wanted[log.user])
    histories = Histories(
        item[rows], log.time[rows], _offsets(log.user[rows], users), None, users.astype(np.int32), log.has_time,
        None if log.kind is None else log.kind[rows], None if log.value is None else log.value[rows],
    )  # fmt: skip
    return Cases(histories, item[answers], _offsets(log.user[answers], users))


def _offsets(sorted_users: np.ndarray, users: np.ndarray) -> np.ndarray:
    ends = np.searchsorted(sorted_users, users, side="right")
    return np.concatenate([[0], ends]).astype(np.int64)
