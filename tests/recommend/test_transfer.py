"""A model of one shop starts that of another one that shares no ids: their texts are the bridge."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from temporec.data.dataset import Dataset, build_dataset
from temporec.data.split import split
from temporec.errors import ConfigError
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import Fitted, fit_recommender
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions

THINGS = ("lamp", "mug", "rug", "clock", "vase", "bowl", "chair", "shelf")


def shop(prefix: str, users: int, seed: int) -> Dataset:
    """Things follow one another in the same order everywhere; colours are drawn and do not matter."""
    draw = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        first = int(draw.integers(len(THINGS)))
        for t in range(6):
            rows.append((user, f"{prefix}{(first + t) % len(THINGS)}-{draw.integers(3)}", t))
    names = [
        (f"{prefix}{i}-{c}", f"{thing} {colour}")
        for i, thing in enumerate(THINGS)
        for c, colour in enumerate(("red", "blue", "green"))
    ]
    items = pl.DataFrame(names, schema=["item", "title"], orient="row")
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), items)


def renamed(data: Dataset) -> Dataset:
    """The same shop, whose titles stand in a column of another name beside one that says nothing."""
    frame = data.catalog.frame.select("item", name="title", note=pl.lit("lamp mug rug clock vase bowl chair shelf"))
    return build_dataset(data.interactions.to_frame(data.catalog.vocabulary), frame)


def fit(data: Dataset, **options: Any) -> Fitted:
    config = {
        "encoder": {"kind": "gru", "dim": 16},
        "dropout": 0.1,
        "training": {"epochs": 15, "lr": 0.01, "tokens": 128},
    }
    made = split(data, "leave-last-out")
    return fit_recommender(made.train, FitConfig.of({**config, **options}), RunOptions(precision="fp32"), made.valid)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "model"
    fit(shop("a", 300, 1)).recommender.save(folder)
    return folder


def test_what_was_learned_elsewhere_helps_a_small_shop(source: Path) -> None:
    small = shop("b", 12, 2)
    one = {"epochs": 1, "lr": 1e-5, "tokens": 128}
    scratch, moved = fit(small, training=one), fit(small, training=one, start_from=str(source))
    assert (moved.records[0].validation or 0) > 1.5 * (scratch.records[0].validation or 0)
    best = moved.recommender.recommend(history=["b0-0", "b1-1"], k=1).ids[0]
    assert str(best).startswith("b2-")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoder": {"kind": "gru", "dim": 8}}, "encoder="),
        ({"fuse": "only"}, "fuse=only"),
        ({"head": {"temperature": 0.5}}, "head="),
    ],
)
def test_another_network_is_refused(source: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"{said}.*needs the same network"):
        fit(shop("b", 12, 2), start_from=str(source), **options)


def test_another_shop_may_have_other_columns(source: Path, tmp_path: Path) -> None:
    """Which columns are read is said anew, stands in the saved model, and is what its new items are read by."""
    one = {"epochs": 1, "lr": 1e-5, "tokens": 128}
    options = {"training": one, "start_from": str(source), "text": {"columns": ["name"]}}
    same = fit(shop("b", 12, 2), training=one, start_from=str(source))
    other = fit(renamed(shop("b", 12, 2)), **options)
    assert other.records[0].validation == pytest.approx(same.records[0].validation, abs=1e-6)
    other.recommender.save(tmp_path / "other")
    copy = Recommender.load(tmp_path / "other")
    assert isinstance(copy, NeuralRecommender)
    assert isinstance(copy.model.config, FitConfig)
    assert copy.model.config.text.columns == ("name",)
    assert copy.add_items(pl.DataFrame({"item": ["new"], "name": ["clock violet"], "note": ["vase"]})) == 1
    assert str(copy.similar("new", k=1).ids[0]).startswith("b3-")


def test_an_item_that_the_old_model_never_learned_starts_at_its_text(tmp_path: Path) -> None:
    data = shop("a", 300, 1)
    extra = pl.DataFrame({"item": ["a-new"], "title": ["clock violet"]})
    known = build_dataset(
        data.interactions.to_frame(data.catalog.vocabulary), pl.concat([data.catalog.frame, extra], how="vertical")
    )
    fit(known).recommender.save(tmp_path / "old")
    moved = fit(known, training={"epochs": 1, "lr": 1e-9, "tokens": 128}, start_from=str(tmp_path / "old")).recommender
    number = int(moved.catalog.vocabulary.encode(["a-new"])[0])
    assert moved.cold is not None
    row = moved.model.item_table()[number]
    told = Recommender.load(tmp_path / "old").word_vectors(["clock violet"])[0]
    assert torch.allclose(row, told, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"text": {"dim": 8}}, r"text.dim=256, this fit 8.*only text.columns and text.template"),
        ({"features": {"columns": ["title"]}}, "features.columns"),
    ],
)
def test_other_texts_and_features_are_refused(source: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        fit(shop("b", 12, 2), start_from=str(source), **options)
