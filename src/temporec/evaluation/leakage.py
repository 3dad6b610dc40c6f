"""The leak canary: change the future of a log, fit again, and see whether any score of the past has moved.

A pipeline that learns from events before the cut alone gives the same scores, to the last bit, whatever stands after
it. The canary takes a whole pipeline (cleaning, k-core, encoders, text vectors, model) as one function from frame to
scores, so that a leak in any stage shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import NonNegativeFloat, PositiveInt

from temporec.config import Config
from temporec.data.batch import Histories
from temporec.data.vocabulary import Id
from temporec.errors import DataError
from temporec.evaluation.planting import Plant, plants_for
from temporec.recommend.base import Recommender

__all__ = ["CanaryConfig", "CanaryReport", "ItemScores", "PlantResult", "item_scores", "leak_canary", "past_events"]

Cut = Any  # a value that the column `time` compares with, or a bool column that marks the future rows


class CanaryConfig(Config):
    """How the canary is run.

    Args:
        users: only the first so many users of the log, for speed; None takes all.
        tolerance: scores may differ by so much. 0 = equal to the last bit; more only for pipelines that are not
            deterministic.
    """

    users: PositiveInt | None = 300
    tolerance: NonNegativeFloat = 0.0


@dataclass(frozen=True, eq=False)
class ItemScores:
    """Scores of some fixed histories: a row per history, a column per external item id."""

    items: Sequence[Id]
    scores: np.ndarray  # float [H, V]


Run = Callable[[pl.DataFrame], ItemScores]


@dataclass(frozen=True, slots=True)
class PlantResult:
    """What one change of the future did. `difference` is the largest change of a score (inf: an item came or went)."""

    name: str
    what: str
    rows: int  # rows planted or changed
    difference: float
    items_gone: int
    items_new: int

    def __str__(self) -> str:
        if self.items_new or self.items_gone:
            seen = f"{self.items_new:,} items came into the catalog, {self.items_gone:,} went out of it"
        else:
            seen = f"scores moved by up to {self.difference:.3g}" if self.difference else "no score moved"
        return f"{self.what} ({self.rows:,} rows): {seen}"


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """Whether the future can be seen in the scores of the past.

    Args:
        passed: no plant moved a score by more than the tolerance.
        max_difference: over all plants; inf where an item came or went.
        plants: what was changed, and what that did.
        deterministic: two fits on the same log agree; None where there was no reason to look.
        sentence: the result in plain words.
    """

    passed: bool
    max_difference: float
    plants: tuple[PlantResult, ...]
    deterministic: bool | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "max_difference": self.max_difference if np.isfinite(self.max_difference) else None,
            "plants": {plant.name: str(plant) for plant in self.plants},
            "deterministic": self.deterministic,
            "sentence": self.sentence,
        }


def leak_canary(
    frame: pl.DataFrame, cut: Cut, run: Run, *, seed: int = 0, config: CanaryConfig | None = None
) -> CanaryReport:
    """Run a pipeline on a log and on copies with another future; the scores must be equal.

    Args:
        frame: the log before cleaning: user, item, time and what else the pipeline reads. Rows stay in their order.
        cut: events with `time >= cut` are the future. For leave-last-out: a bool column, true at the held-out rows;
            these then keep users and times, and only what happened is changed.
        run: the pipeline, with *this very cut* built in (not a share of the events): fits on a frame of that form and
            scores the same histories each time (`past_events`, `item_scores`).
        seed: of the plants.
        config: sample and tolerance.

    Raises:
        DataError: there is no past or no future, or the pipeline gives no finite score.
    """
    config = config or CanaryConfig()
    frame, future = _sample(frame, _future(frame, cut), config.users)
    past, after = int((~future).sum()), int(future.sum())
    if not past or not after:
        raise DataError(f"the canary needs events on both sides of the cut; got {past} before and {after} after it")
    truth = run(frame)
    if not np.isfinite(truth.scores).any():
        raise DataError("the pipeline gave no finite score, so the canary cannot see anything; check `run`")
    results = []
    for plant in plants_for(frame, future, seed, in_place=isinstance(cut, pl.Series)):
        results.append(_judge(plant, truth, run(plant.frame)))
    worst = max(result.difference for result in results)
    passed = worst <= config.tolerance
    stable = None if passed else _difference(truth, run(frame))[0] <= config.tolerance
    sentence = _sentence(results, truth, stable, config.tolerance)
    return CanaryReport(passed, worst, tuple(results), stable, sentence)


def past_events(frame: pl.DataFrame, cut: Cut, users: int = 100) -> pl.DataFrame:
    """Events before the cut of the first users of a log: the histories to be scored, columns user, item, time."""
    past = frame.filter(~_future(frame, cut))
    chosen = past["user"].unique(maintain_order=True).head(users)
    past = past.filter(pl.col("user").is_in(chosen.implode()))
    names = [name for name in ("user", "item", "time") if name in past.columns]
    past = past.select(names)
    return past.sort(["user", "time"] if "time" in names else ["user"], maintain_order=True)


def item_scores(recommender: Recommender, events: pl.DataFrame) -> ItemScores:
    """Scores of all items after each user's events (sorted by user and time; time in UTC milliseconds).

    Items that the recommender does not know are left out of the histories; the users stay anonymous.
    """
    items = recommender.catalog.vocabulary.encode_series(events["item"])
    starts = events["user"].rle_id().to_numpy()
    size = int(starts.max()) + 1 if len(starts) else 0
    kept = items > 0
    offsets = np.concatenate([[0], np.cumsum(np.bincount(starts[kept], minlength=size))]).astype(np.int64)
    has_time = "time" in events.columns and recommender.log.has_time
    times = events["time"].to_numpy() if has_time else np.arange(len(events))
    histories = Histories(items[kept], times[kept].astype(np.int64), offsets, has_time=has_time)
    scores = [scores[:, 1:].cpu().numpy().copy() for _, scores in recommender.chunks(histories)]
    return ItemScores(recommender.catalog.vocabulary.ids.to_list(), np.concatenate(scores))


def _future(frame: pl.DataFrame, cut: Cut) -> pl.Series:
    if isinstance(cut, pl.Series):
        if cut.dtype != pl.Boolean or len(cut) != len(frame):
            raise DataError(f"the column of future rows must be bool [{len(frame)}]; got {cut.dtype} [{len(cut)}]")
        return cut
    if "time" not in frame.columns:
        raise DataError("the log has no column 'time' to cut at; mark the future rows with a bool column instead")
    return frame.select((pl.col("time") >= cut).fill_null(False)).to_series()


def _sample(frame: pl.DataFrame, future: pl.Series, users: int | None) -> tuple[pl.DataFrame, pl.Series]:
    """The rows of the first users only."""
    if users is None:
        return frame, future
    chosen = frame["user"].drop_nulls().unique(maintain_order=True).head(users)
    rows = frame["user"].is_in(chosen.implode()).fill_null(False)
    return frame.filter(rows), future.filter(rows)


def _judge(plant: Plant, truth: ItemScores, other: ItemScores) -> PlantResult:
    return PlantResult(plant.name, plant.what, plant.rows, *_difference(truth, other))


def _difference(truth: ItemScores, other: ItemScores) -> tuple[float, int, int]:
    """Largest change of a score, items that are gone, items that are new."""
    column = {item: i for i, item in enumerate(other.items)}
    shared = [(i, column[item]) for i, item in enumerate(truth.items) if item in column]
    gone, new = len(truth.items) - len(shared), len(other.items) - len(shared)
    if gone or new or len(truth.scores) != len(other.scores):
        return float("inf"), gone, new
    mine, theirs = (np.asarray([pair[side] for pair in shared], dtype=np.int64) for side in (0, 1))
    a, b = truth.scores[:, mine].astype(np.float64), other.scores[:, theirs].astype(np.float64)
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        gaps = np.where(equal, 0.0, np.abs(a - b))
    return float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max(initial=0.0)), 0, 0


def _sentence(results: Sequence[PlantResult], truth: ItemScores, stable: bool | None, tolerance: float) -> str:
    tried = ", ".join(result.name for result in results)
    what = f"{truth.scores.size:,} scores of {len(truth.scores):,} histories"
    bad = [result for result in results if result.difference > tolerance]
    if not bad:
        how = "not one bit" if tolerance == 0 else f"nothing by more than {tolerance:g}"
        return f"No leak: with another future ({tried}), {how} of {what} changed."
    if stable is False:
        return (
            "Not settled: two fits on the same log already differ, so that a leak cannot be told from chance; "
            "fix the seed and the number of threads, or allow a tolerance."
        )
    worst = max(bad, key=lambda result: result.difference)
    return f"Leak: the future reaches the scores of the past. After this change alone, scores differ: {worst}."
