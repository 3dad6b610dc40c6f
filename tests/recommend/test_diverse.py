"""Diverse lists: MMR over the best candidates, told apart by item vectors or by what follows each item."""

import pytest
import torch
from torch import Tensor

from temporec.baselines.markov import Markov
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.data.synthetic import random_log
from temporec.model import ModelConfig, ModelInputs, SequenceModel
from temporec.ranking.diversify import mmr
from temporec.ranking.topk import top_k
from temporec.recommend.base import Recommender
from temporec.recommend.query import Query
from temporec.recommend.recommender import NeuralRecommender


@pytest.fixture(scope="module")
def log() -> Dataset:
    return build_dataset(random_log(600, 40, 80))


@pytest.fixture(scope="module")
def neural(log: Dataset) -> NeuralRecommender:
    config = ModelConfig.of({"encoder": {"kind": "gru", "dim": 8}})
    return NeuralRecommender(SequenceModel(config, ModelInputs(log.catalog.size)), log)


def by_hand(made: Recommender, vectors: Tensor, k: int, diversity: float) -> list[object]:
    """MMR over the best 10 k items that user 3 has not seen, with one vector per item number."""
    query = Query(user=3)
    history = made.histories([query])
    scores = made.score(history)[0].masked_fill(~made.mask(query, history.items), -torch.inf)
    values, items = (row[0] for row in top_k(scores[None, :], 10 * k))
    items = items[torch.isfinite(values)]
    picked = mmr(torch.softmax(scores[items], dim=0), vectors[items], k, diversity)
    return list(made.catalog.vocabulary.decode(items[picked].numpy()))


@pytest.mark.parametrize("diversity", [0.3, 1.0])
def test_a_neural_list_is_diverse_by_its_item_vectors(neural: NeuralRecommender, diversity: float) -> None:
    answer = neural.recommend(user=3, k=5, diversity=diversity)
    assert answer.ids == by_hand(neural, neural.item_vectors, 5, diversity)
    assert answer.ids != neural.recommend(user=3, k=5).ids


def test_without_vectors_items_are_compared_by_what_follows_them(log: Dataset) -> None:
    made = Markov().fit(log)
    assert made.item_vectors is None
    after = torch.stack([made.item_scores(number) for number in range(1, made.catalog.size)]).nan_to_num(neginf=0.0)
    query = Query(user=3)
    history = made.histories([query])
    scores = made.score(history)[0].masked_fill(~made.mask(query, history.items), -torch.inf)
    candidates = top_k(scores[None, :], 50)[1][0]
    candidates = candidates[torch.isfinite(scores[candidates])]
    vectors = torch.zeros(made.catalog.size, len(candidates))
    vectors[1:] = after[:, candidates]
    answer = made.recommend(user=3, k=5, diversity=1.0)
    assert answer.ids == by_hand(made, vectors, 5, 1.0)
    assert answer.ids != made.recommend(user=3, k=5).ids


def test_the_catalog_is_scored_for_all_candidates_at_once(log: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made, calls = Markov().fit(log), []
    score = made.score

    def counted(histories: Histories) -> Tensor:
        calls.append(len(histories))
        return score(histories)

    monkeypatch.setattr(made, "score", counted)
    made.recommend(user=3, k=5, diversity=0.5)
    assert len(calls) == 2
    assert calls[0] == 1
    assert 5 < calls[1] <= 50
