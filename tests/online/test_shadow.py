"""Predicting before learning: the same figures as prequential evaluation, in the numbers of any catalog."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from temporec.data.dataset import Dataset, build_dataset
from temporec.data.synthetic import MarkovProcess
from temporec.evaluation.prequential import prequential
from temporec.online.shadow import figures, questions
from temporec.recommend.base import Recommender
from temporec.recommend.recommender import NeuralRecommender


def asked_from(recommender: Recommender, log: Dataset) -> tuple[list[tuple[np.ndarray, ...]], list[int]]:
    known, targets = [], []
    for user in range(len(log.interactions.users)):
        span = slice(log.interactions.offsets[user], log.interactions.offsets[user + 1])
        items, times = log.interactions.item[span], log.interactions.time[span]
        for end in range(1, len(items)):
            empty = (np.full(end, -1, np.int16), np.full(end, np.nan, np.float32))
            known.append((items[:end], times[:end], *empty))
            targets.append(int(items[end]))
    return known, targets


@pytest.fixture
def recommender(fitted: Path) -> NeuralRecommender:
    loaded = Recommender.load(fitted)
    assert isinstance(loaded, NeuralRecommender)
    return loaded


def test_the_figures_are_those_of_prequential_evaluation(recommender: NeuralRecommender) -> None:
    log = MarkovProcess(30, concentration=0.02, seed=1).sample(20, 6)
    known, targets = asked_from(recommender, log)
    ndcg, hit_rate = figures(recommender, questions(known, targets, recommender))  # type: ignore[arg-type]
    times = log.interactions.time
    (window,) = prequential(recommender, log, [int(times.min()), int(times.max()) + 1])
    assert window.events == len(targets)
    assert ndcg.mean() == pytest.approx(window.metrics["ndcg@10"])
    assert hit_rate.mean() == pytest.approx(window.metrics["hit_rate@10"])


def test_another_catalog_answers_in_its_own_numbers(recommender: NeuralRecommender) -> None:
    """The asker counts its items backwards and has one that the other does not know."""
    log = MarkovProcess(30, concentration=0.02, seed=1).sample(20, 6)
    known, targets = asked_from(recommender, log)
    plain, _ = figures(recommender, questions(known, targets, recommender))  # type: ignore[arg-type]

    class Asker:
        catalog = build_dataset(
            pl.DataFrame({"user": [1], "item": [1], "time": [0]}), pl.DataFrame({"item": [99, *range(30, 0, -1)]})
        ).catalog
        dataset, log = recommender.dataset, recommender.log

    turned = [(32 - items, *others) for items, *others in known]
    again, _ = figures(recommender, questions(turned, [32 - item for item in targets], Asker))  # type: ignore[arg-type]
    assert again.tolist() == plain.tolist()
    alien = [(np.insert(items, 0, 1), np.insert(times, 0, 0), np.insert(k, 0, -1), np.insert(v, 0, 0))
             for items, times, k, v in turned]  # fmt: skip
    asked = questions(alien, [32 - item for item in targets[:-1]] + [1], Asker)  # type: ignore[arg-type]
    last, _ = figures(recommender, asked)
    assert last.tolist() == [*plain.tolist()[:-1], 0.0]
