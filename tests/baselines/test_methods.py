"""Each baseline against its formula, written slowly."""

import math
import sys
from collections import defaultdict
from itertools import chain, pairwise

import numpy as np
import polars as pl
import pytest
import torch

from temporec.baselines.base import last_events
from temporec.baselines.ease import Ease, EaseConfig
from temporec.baselines.item_knn import ItemKnn, ItemKnnConfig
from temporec.baselines.markov import Markov, MarkovConfig
from temporec.baselines.popularity import DAY, Popularity, PopularityConfig
from temporec.baselines.session_knn import SessionKnn, SessionKnnConfig
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.errors import ConfigError, MissingExtraError

USERS, ITEMS = 40, 9


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    draw = np.random.default_rng(3)
    users = np.repeat(np.arange(USERS), draw.integers(1, 9, USERS))
    times = draw.permutation(len(users)) * DAY // 4  # no ties
    return build_dataset(pl.DataFrame({"user": users, "item": draw.integers(1, ITEMS + 1, len(users)), "time": times}))


@pytest.fixture(scope="module")
def requests() -> Histories:
    draw = np.random.default_rng(4)
    lengths = np.array([1, 7, 3, 12, 2])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = draw.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32)
    return Histories(items, np.arange(offsets[-1]), offsets)


def lists(histories: Histories) -> list[list[int]]:
    return [histories.items[a:b].tolist() for a, b in pairwise(histories.offsets)]


def sequences(dataset: Dataset) -> list[list[int]]:
    offsets = dataset.interactions.offsets
    return [dataset.interactions.item[a:b].tolist() for a, b in pairwise(offsets)]


def test_last_events(requests: Histories) -> None:
    last = last_events(requests, 3)
    expected = [row[-3:] for row in lists(requests)]
    assert last.items.tolist() == list(chain.from_iterable(expected))
    assert last.age.tolist() == [len(row) - 1 - i for row in expected for i in range(len(row))]
    assert last.row.tolist() == [b for b, row in enumerate(expected) for _ in row]
    assert last_events(requests).items.tolist() == requests.items.tolist()


def test_popularity_decays(dataset: Dataset, requests: Histories) -> None:
    log = dataset.interactions
    fitted = Popularity(PopularityConfig(half_life_days=10.0)).fit(dataset)
    counts = np.zeros(ITEMS + 1)
    for item, time in zip(log.item, log.time, strict=True):
        counts[item] += 0.5 ** ((log.time.max() - time) / DAY / 10)
    expected = np.log((0.999 * counts / counts.sum() + 0.001 * fitted.share)[1:])
    np.testing.assert_allclose(fitted.score(requests)[2, 1:], expected, rtol=1e-5)
    plain = Popularity().fit(dataset).score(requests)[0, 1:]
    assert int(plain.argmax()) == int(np.bincount(log.item)[1:].argmax())


def test_popularity_stays_after_an_update(dataset: Dataset) -> None:
    fitted = Popularity(PopularityConfig(half_life_days=3.0)).fit(dataset)
    before = fitted.popularity.clone()
    fitted.update(pl.DataFrame({"user": [0, 1], "item": [2, 2], "time": [10**10, 10**10]}))
    assert torch.equal(fitted.popularity, before)


def test_markov_equals_its_formula(dataset: Dataset, requests: Histories) -> None:
    config = MarkovConfig(lags=3, decay=0.7, smoothing=2.0)
    fitted = Markov(config).fit(dataset)
    counts = np.zeros((ITEMS + 1, ITEMS + 1))
    for row in sequences(dataset):
        for i, before in enumerate(row):
            for lag, after in enumerate(row[i + 1 : i + 4]):
                counts[before, after] += 0.7**lag
    table = (counts + 2.0 * fitted.share) / (counts.sum(axis=1, keepdims=True) + 2.0)
    for got, row in zip(fitted.score(requests), lists(requests), strict=True):
        weights = [0.7**age for age in range(len(row[-3:]))]
        average = sum(w * table[item] for w, item in zip(weights, reversed(row[-3:]), strict=True)) / sum(weights)
        np.testing.assert_allclose(got[1:], np.log(average[1:]), rtol=1e-4)


@pytest.mark.parametrize("method", [Markov, SessionKnn])
def test_a_deterministic_chain_is_learned(method: type[Markov] | type[SessionKnn]) -> None:
    """Users walk a circle of 12 items; after any two events the next one is first."""
    rows = [(u, (u + s) % 12, (u + s) * DAY) for u in range(60) for s in range(6)]
    data = build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))
    fitted = method().fit(data, exclude_seen=True)
    for start in range(12):
        history = [start, (start + 1) % 12]
        answer = fitted.recommend(history=history, k=12).ids
        if method is Markov:
            assert answer[0] == (start + 2) % 12
        else:  # neighbours do not know directions: both sides of the pair are equally near
            assert {(start + 2) % 12, (start - 1) % 12} == set(answer[:2])


@pytest.mark.parametrize(
    "config",
    [
        SessionKnnConfig(sessions=6, neighbours=4, history=5, session_length=None),
        SessionKnnConfig(sessions=3, neighbours=2, history=2, idf=1.0),
        SessionKnnConfig(sessions=50, neighbours=50, history=16, session_length=3),
    ],
)
def test_session_knn_equals_its_formula(config: SessionKnnConfig, dataset: Dataset, requests: Histories) -> None:
    fitted = SessionKnn(config).fit(dataset)
    sessions = _sessions(dataset, config.session_length or 10**9)
    scores = fitted.weights(requests)
    for got, row in zip(scores, lists(requests), strict=True):
        np.testing.assert_allclose(got, _slow_knn(sessions, row, config), rtol=1e-4, atol=1e-6)


def _sessions(dataset: Dataset, length: int) -> list[set[int]]:
    """Sets of items, oldest session first."""
    log, found = dataset.interactions, []
    for a, b in pairwise(log.offsets):
        for start in range(a, b, length):
            end = min(start + length, b)
            found.append((int(log.time[end - 1]), set(log.item[start:end].tolist())))
    return [items for _, items in sorted(found, key=lambda pair: pair[0])]


def _slow_knn(sessions: list[set[int]], row: list[int], config: SessionKnnConfig) -> np.ndarray:
    recent = list(dict.fromkeys(reversed(row[-config.history :])))  # newest first, each once
    near: dict[int, list[int]] = defaultdict(list)
    for age, item in enumerate(recent):
        having = [s for s, items in enumerate(sessions) if item in items]
        for s in having[-config.sessions :]:
            near[s].append(age)
    newest = sorted(near)[-config.sessions :]
    similarity = {s: sum(1 - age / len(recent) for age in near[s]) for s in newest}
    best = sorted(newest, key=lambda s: (-round(similarity[s], 5), -s))[: config.neighbours]
    scores = np.zeros(ITEMS + 1)
    for s in best:
        for item in sessions[s]:
            count = sum(item in items for items in sessions)
            rarity = 1 + config.idf * math.log(len(sessions) / count)
            scores[item] += similarity[s] * max(1 - 0.1 * min(near[s]), 0.05) * rarity
    return scores


def test_ease_is_the_minimum(dataset: Dataset, requests: Histories) -> None:
    fitted = Ease(EaseConfig(l2=5.0)).fit(dataset)
    seen = np.zeros((USERS, ITEMS))
    for user, row in enumerate(sequences(dataset)):
        seen[user, [item - 1 for item in row]] = 1
    # Column j: ridge regression of item j on all other items.
    expected = np.zeros((ITEMS, ITEMS))
    for j in range(ITEMS):
        others = [i for i in range(ITEMS) if i != j]
        left = seen[:, others].T @ seen[:, others] + 5.0 * np.eye(ITEMS - 1)
        expected[others, j] = np.linalg.solve(left, seen[:, others].T @ seen[:, j])
    np.testing.assert_allclose(fitted.state()["item_weights"], expected, atol=1e-5)
    for got, row in zip(fitted.weights(requests), lists(requests), strict=True):
        np.testing.assert_allclose(got[1:], expected[sorted({item - 1 for item in row})].sum(axis=0), atol=1e-5)


def test_ease_reads_rows_in_place(dataset: Dataset) -> None:
    """A matrix stored by columns would be copied at every request: seconds on 12,000 items."""
    assert Ease().fit(dataset).state()["item_weights"].flags.c_contiguous


def test_ease_refuses_what_does_not_fit_into_memory(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match=r"9 items; max_items is 5.*item_knn"):
        Ease(EaseConfig(max_items=5)).fit(dataset)


def test_item_knn_sums_cosines(dataset: Dataset, requests: Histories) -> None:
    pytest.importorskip("implicit")
    fitted = ItemKnn(ItemKnnConfig(weighting="cosine", neighbours=20, decay=0.9)).fit(dataset)
    counts = np.zeros((USERS, ITEMS + 1))
    for user, row in enumerate(sequences(dataset)):
        np.add.at(counts[user], row, 1)
    norm = np.maximum(np.linalg.norm(counts, axis=0), 1e-9)
    cosine = counts.T @ counts / norm[:, None] / norm
    for got, row in zip(fitted.weights(requests), lists(requests), strict=True):
        expected = sum(0.9**age * cosine[item] for age, item in enumerate(reversed(row)))
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_item_knn_without_implicit(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit", None)
    monkeypatch.setitem(sys.modules, "implicit.nearest_neighbours", None)
    with pytest.raises(MissingExtraError, match=r"temporec\[baselines\]"):
        ItemKnn().fit(dataset)


def test_a_log_without_times() -> None:
    frame = pl.DataFrame({"user": [1, 1, 2, 2, 2], "item": ["a", "b", "a", "b", "c"]})
    data = build_dataset(frame)
    assert not data.interactions.has_time
    assert Popularity(PopularityConfig(half_life_days=1.0)).fit(data).recommend(k=1).ids == ["a"]
    assert Markov().fit(data).recommend(history=["a"], k=1).ids == ["b"]
