"""Where a model is good: by what is known of the user, and by how popular the right answer is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from temporec.data.split import Cases
from temporec.evaluation.bootstrap import joint_intervals
from temporec.metrics.ranking import evaluate_ranks

__all__ = ["COLD_USERS", "Segment", "history_segments", "popularity_bands", "target_segments"]

COLD_USERS = "0 (cold users)"
HISTORY = ((0, COLD_USERS), (1, "1"), (2, "2-4"), (5, "5-9"), (10, "10-19"), (20, "20-49"), (50, "50+"))
BANDS = ("head", "mid", "tail", "cold")


@dataclass(frozen=True, slots=True)
class Segment:
    """Some of the cases: how many, the means over them and their intervals."""

    group: str  # "history length" or "target popularity"
    name: str
    cases: int
    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        limits = {name: list(pair) for name, pair in self.intervals.items()}
        return {"cases": self.cases, **self.values, "interval": limits}


def history_segments(
    lengths: np.ndarray, values: Mapping[str, np.ndarray], samples: int, seed: int
) -> tuple[Segment, ...]:
    """By the number of known events [B]; users without one are the cold users. Buckets without cases are left out."""
    lows = np.asarray([low for low, _ in HISTORY])
    bucket = np.searchsorted(lows, lengths, side="right") - 1
    return tuple(
        _segment("history length", name, {key: each[bucket == i] for key, each in values.items()}, samples, seed)
        for i, (_, name) in enumerate(HISTORY)
        if _answered(values)[bucket == i].any()
    )


def popularity_bands(counts: np.ndarray) -> np.ndarray:
    """Band of every item, int8 [V + 1]: 0 head, 1 mid, 2 tail, 3 cold (no training event; also number 0).

    Items from the most popular down are head until a third of all events is theirs, mid until two thirds; the rest with
    at least one event is tail. Equals go by item number.
    """
    counts = np.asarray(counts, dtype=np.int64)
    order = np.argsort(-counts[1:], kind="stable") + 1
    before = np.cumsum(counts[order]) - counts[order]
    total = max(1, int(counts[1:].sum()))
    bands = np.full(len(counts), 3, dtype=np.int8)
    bands[order] = np.minimum(2, 3 * before // total)
    bands[counts == 0] = 3
    bands[0] = 3
    return bands


def target_segments(
    cases: Cases, ranks: np.ndarray, bands: np.ndarray, names: tuple[str, ...], sampling: tuple[int, int]
) -> tuple[Segment, ...]:
    """By the popularity of the right answers. A basket counts in every band that it has targets of, with those alone.

    Args:
        cases: the cases in question.
        ranks: of all their targets, [M].
        bands: of all items, see `popularity_bands`.
        names: metrics, such as "ndcg@10".
        sampling: number of resamples, seed.
    """
    row = np.repeat(np.arange(len(cases)), np.diff(cases.offsets))
    result = []
    for band, name in enumerate(BANDS):
        mine = bands[cases.targets] == band
        if not mine.any():
            continue
        offsets = np.concatenate([[0], np.cumsum(np.bincount(row[mine], minlength=len(cases)))]).astype(np.int64)
        values = evaluate_ranks(names, ranks[mine], offsets)
        result.append(_segment("target popularity", name, values, *sampling))
    return tuple(result)


def _segment(group: str, name: str, values: Mapping[str, np.ndarray], samples: int, seed: int) -> Segment:
    answered = _answered(values)
    kept = {key: each[answered] for key, each in values.items()}
    means = {key: float(each.mean()) for key, each in kept.items()}
    return Segment(group, name, int(answered.sum()), means, joint_intervals(kept, samples, seed))


def _answered(values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Cases that have a target."""
    answered: np.ndarray = ~np.isnan(next(iter(values.values())))
    return answered
