"""New items with texts stand where their texts say, before and after their first events."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from temporec.data.dataset import build_dataset
from temporec.online.catalog_growth import refit_texts, start_new_items
from temporec.online.continue_training import Continuation
from temporec.online.replay import Piece, Replay
from temporec.online.versions import twin
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions

KINDS = ("lamp", "mug", "rug", "clock")
COLOURS = ("red", "blue", "green", "white", "black", "pink")
NEW = pl.DataFrame({"item": ["mug-new", "nothing"], "title": ["mug violet", None]})


@pytest.fixture(scope="module")
def fitted() -> NeuralRecommender:
    """Users buy things of one kind in all colours."""
    draw = np.random.default_rng(3)
    rows = []
    for user in range(80):
        kind = KINDS[user % len(KINDS)]
        rows += [(user, f"{kind}-{colour}", t) for t, colour in enumerate(draw.permutation(COLOURS))]
    items = pl.DataFrame({"item": [f"{kind}-{colour}" for kind in KINDS for colour in COLOURS]})
    items = items.with_columns(title=pl.col("item").str.replace("-", " "))
    config = {
        "encoder": {"kind": "gru", "dim": 16}, "dropout": 0.0, "cold": {"offset": 0.0, "after": 0},
        "training": {"epochs": 15, "lr": 0.01, "tokens": 256},
    }  # fmt: skip
    train = build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), items)
    return fit_recommender(train, FitConfig.of(config), RunOptions(precision="fp32")).recommender


def copy_of(fitted: NeuralRecommender) -> NeuralRecommender:
    return NeuralRecommender(twin(fitted), fitted.dataset, fitted.exclude_seen, fitted.inputs, fitted.cold)


def near(recommender: NeuralRecommender) -> list[str]:
    return [str(item) for item in recommender.similar("mug-new", k=3).ids]


def test_items_come_with_and_without_texts_and_old_scores_stay(fitted: NeuralRecommender) -> None:
    made = copy_of(fitted)
    assert made.admit(NEW) == 2
    size, (_, nothing) = fitted.catalog.size, made.catalog.vocabulary.encode(["mug-new", "nothing"]).tolist()
    assert made.catalog.size == size + 2
    assert all(item.startswith("mug") for item in near(made))
    queries = fitted.log.rows(np.arange(10))
    scores = made.score(queries)
    torch.testing.assert_close(scores[:, :size], fitted.score(queries))
    assert torch.isneginf(scores[:, nothing]).all()  # no event and no text: in no answer
    assert len(made.similar("nothing")) == 0
    assert "nothing" not in made.similar("mug-new", k=size).ids
    assert made.admit(NEW) == 0


def test_the_first_events_take_over_from_the_text(fitted: NeuralRecommender, tmp_path: Path) -> None:
    made = copy_of(fitted)
    made.admit(NEW)
    counts = np.bincount(made.log.items, minlength=made.catalog.size)
    training = Continuation(twin(made), counts)
    mug, nothing = made.catalog.vocabulary.encode(["mug-new", "nothing"]).tolist()
    lamp = int(made.catalog.vocabulary.encode(["lamp-red"])[0])
    items = np.asarray([lamp, mug, nothing, lamp], np.int32)
    pieces = [Piece("u", items, np.arange(4, dtype=np.int64), 4)]
    assert made.cold is not None
    placed = made.cold.place(made.model.item_table().detach())[mug].clone()
    assert start_new_items(training, made, pieces).tolist() == [mug, nothing]
    table = training.model.item_table().detach()
    torch.testing.assert_close(table[mug], placed)
    assert torch.cosine_similarity(table[nothing], table[lamp], dim=0) > 0.5
    assert made.cold.trained[[mug - 1, nothing - 1]].all()
    for _ in range(15):
        training.learn(pieces * 20, Replay())
    made.model.load_state_dict(training.published())
    made.cold = refit_texts(made.cold, made.model.item_table())
    made.refresh()
    made.save(tmp_path / "grown")
    again = Recommender.load(tmp_path / "grown")
    assert "mug-new" in again.recommend(history=["lamp-red"], k=2).ids
