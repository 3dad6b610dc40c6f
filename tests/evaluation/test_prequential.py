"""Predict first, then know, then learn."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.evaluation.scorer import DAY, Scorer, random_dataset
from torch import Tensor

from temporec.baselines.popularity import Popularity
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.errors import DataError
from temporec.evaluation.prequential import prequential
from temporec.metrics.ranking import hit_rate, ndcg
from temporec.metrics.ranks import NEVER

BORDERS = [50 * DAY, 60 * DAY, 65 * DAY, 101 * DAY]


@pytest.fixture(scope="module")
def log() -> Dataset:
    return random_dataset(users=40, items=60, events=700)


@pytest.fixture(scope="module")
def past(log: Dataset) -> Dataset:
    """Fewer items than the log: some come only later."""
    return log.restrict(log.interactions.time < BORDERS[0])


def test_slow_twin(log: Dataset, past: Dataset) -> None:
    assert len(past.catalog) < len(log.catalog)
    recommender = Scorer(past)
    frame = log.interactions.to_frame(log.catalog.vocabulary).sort("time", maintain_order=True)
    items = past.catalog.vocabulary
    known: dict[str, list[int]] = {}
    ranks: list[list[int]] = [[], [], []]
    cold = [0, 0, 0]
    for user, item, time in frame.select("user", "item", "time").iter_rows():
        history = known.setdefault(user, [])
        window = next((i for i in range(3) if BORDERS[i] <= time < BORDERS[i + 1]), None)
        target = int(items.encode([item], unknown="zero")[0])
        if window is not None and not history:
            cold[window] += 1
        elif window is not None:
            scores = recommender.score(one(history))[0]
            hidden = target == 0 or target in history
            others = [i for i in range(1, len(scores)) if i not in history and scores[i] >= scores[target]]
            ranks[window].append(NEVER if hidden else len(others))
        if target:
            history.append(target)
    windows = prequential(recommender, log, BORDERS)
    for i, window in enumerate(windows):
        values = np.asarray(ranks[i])
        assert (window.events, window.cold) == (len(values), cold[i])
        expected = {"hit_rate@10": hit_rate(values).mean(), "ndcg@10": ndcg(values).mean()}
        assert window.metrics == pytest.approx(expected)
        assert (window.to_dict()["begin"], window.to_dict()["end"]) == (BORDERS[i], BORDERS[i + 1])


def one(history: list[int]) -> Histories:
    return Histories(np.asarray(history, np.int32), np.zeros(len(history), np.int64), np.asarray([0, len(history)]))


def test_update_sees_each_window_after_its_prediction(log: Dataset, past: Dataset) -> None:
    seen: list[pl.DataFrame] = []
    recommender = Scorer(past)

    def update(events: pl.DataFrame) -> None:
        assert recommender.calls > len(seen)
        seen.append(events)

    prequential(recommender, log, BORDERS, update=update)
    whole = pl.concat(seen)
    assert whole["time"].is_sorted()
    assert len(whole) == (log.interactions.time >= BORDERS[0]).sum()
    assert set(whole["item"]) <= set(log.catalog.vocabulary.ids)


def test_learning_pays_when_taste_turns() -> None:
    """Half-way, all users turn to other items; who learns from each window recovers, who does not stays blind."""
    rng = np.random.default_rng(0)
    log = random_dataset(users=50, items=40, events=2000)
    events = log.interactions
    taste = np.where(events.time < 55 * DAY, rng.integers(1, 6, len(events)), rng.integers(21, 26, len(events)))
    log = Dataset(replace(events, item=taste.astype(np.int32)), log.catalog, described=len(log.catalog))
    past = log.restrict(events.time < 50 * DAY)
    borders = [50 * DAY, 60 * DAY, 70 * DAY, 80 * DAY]
    still = prequential(Popularity().fit(past), log, borders, exclude_seen=False)
    learner = Popularity().fit(past)

    def update(new: pl.DataFrame) -> None:
        learner.update(new.select("user", "item", "time"))
        learner.restore(Popularity().fit(learner.dataset).state())

    alive = prequential(learner, log, borders, update=update, exclude_seen=False)
    assert alive[0].metrics == still[0].metrics
    assert alive[2].metrics["hit_rate@10"] == 1.0
    assert still[2].metrics["hit_rate@10"] < 0.5


def test_refusals(log: Dataset, past: Dataset) -> None:
    with pytest.raises(DataError, match="ascending"):
        prequential(Scorer(past), log, [5, 3])
    quiet = prequential(Scorer(past), log, [500 * DAY, 600 * DAY])
    assert quiet[0].events == 0
    assert quiet[0].to_dict()["ndcg@10"] is None


class Kinds(Scorer):
    """Writes down the kinds that it is asked with."""

    def score(self, histories: Histories) -> Tensor:
        assert histories.kinds is not None
        self.asked = histories.kinds.tolist()
        return super().score(histories)


def test_kinds_are_those_of_the_recommender() -> None:
    """ "add" comes before "buy" in the alphabet, but only after training."""
    rows = {"user": [1] * 4, "item": [1, 2, 1, 2], "time": [0, 1, 2, 3], "kind": ["view", "buy", "add", "buy"]}
    log = build_dataset(pl.DataFrame(rows))
    recommender = Kinds(log.restrict(log.interactions.time < 2), exclude_seen=False)
    prequential(recommender, log, [3, 4])
    assert recommender.asked == [1, 0, -1]
