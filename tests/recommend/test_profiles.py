"""Users are known by a table too: who has no events gets what such users begin with, by a planted rule."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from temporec.baselines.popularity import Popularity
from temporec.data.dataset import Dataset, build_dataset
from temporec.data.readers import read_users
from temporec.data.split import split
from temporec.errors import CheckpointError, ColumnError, ConfigError, DataError, UnknownIdError
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.live import Live
from temporec.recommend.profile_encoder import ProfileConfig, ProfileEncoder
from temporec.recommend.query import Query, Words
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.texts import TextConfig
from temporec.runtime import RunOptions

KINDS = ("lamp", "mug", "rug", "clock")
COLOURS = ("red", "blue", "green", "white", "black", "pink")
TOWNS = ("Oslo", "Rome", "Lima", "Kyiv")  # of the users who buy lamps, mugs, rugs, clocks
WANTS = ("light for a dark evening", "hot tea every morning", "warm soft floors here", "never late for work")
HISTORY = ["mug-red", "mug-blue", "mug-pink"]
NEW = 900  # the first of four users whom no event knows


def people() -> pl.DataFrame:
    """Town, wishes and age all say what a user buys; the flag says nothing."""
    draw = np.random.default_rng(4)
    users = [*range(120), *range(NEW, NEW + 4)]
    taste = [user % 4 for user in range(124)]
    return pl.DataFrame(
        {
            "user": users,
            "town": [TOWNS[t] for t in taste],
            "wish": [f"{WANTS[t]} {user}" for t, user in zip(taste, users, strict=True)],
            "age": [20.0 + 15 * t + draw.normal() for t in taste],
            "member": [bool(draw.integers(2)) for _ in users],
            "name": [f"n{user}" for user in users],
        }
    )


def shop(users: pl.DataFrame | None) -> Dataset:
    draw = np.random.default_rng(3)
    rows = []
    for user in range(120):
        rows += [(user, f"{KINDS[user % 4]}-{colour}", t) for t, colour in enumerate(draw.permutation(COLOURS))]
    items = pl.DataFrame({"item": [f"{kind}-{colour}" for kind in KINDS for colour in COLOURS]})
    items = items.with_columns(title=pl.col("item").str.replace("-", " "))
    return replace(build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), items), users=users)


def fit(users: pl.DataFrame | None, **options: object) -> NeuralRecommender:
    config = {
        "encoder": {"kind": "gru", "dim": 16}, "dropout": 0.0, "training": {"epochs": 25, "lr": 0.01, "tokens": 256},
        **options,
    }  # fmt: skip
    train = split(shop(users), "leave-last-out").train
    return fit_recommender(train, FitConfig.of(config), RunOptions(precision="fp32")).recommender


@pytest.fixture(scope="module")
def model() -> NeuralRecommender:
    return fit(people())


def kinds(ids: list[int | str]) -> set[str]:
    return {str(item).split("-")[0] for item in ids}


def test_a_new_user_gets_what_such_users_begin_with(model: NeuralRecommender) -> None:
    for i, kind in enumerate(KINDS):
        answer = model.recommend(user=NEW + i, k=5)
        assert kinds(answer.ids) == {kind}
        assert answer.source == "model"
        assert kinds(model.recommend(profile={"town": TOWNS[i]}, k=3).ids) == {kind}
        assert kinds(model.recommend(user="nobody", profile={"wish": WANTS[i]}, k=3).ids) == {kind}
    assert kinds(model.recommend(profile={"age": 18}, k=3).ids) == {"lamp"}
    assert kinds(model.recommend(profile={"age": "67.5"}, k=3).ids) == {"clock"}


def test_a_given_profile_goes_before_the_table(model: NeuralRecommender) -> None:
    told = {"town": "Lima", "wish": WANTS[2], "age": 50}
    assert kinds(model.recommend(user=NEW, profile=told, k=3).ids) == {"rug"}


def test_the_held_out_users_say_what_it_is_worth(model: NeuralRecommender) -> None:
    assert model.profiles is not None
    assert model.profiles.until >= 1
    mean, popular = (float(x) for x in re.findall(r"0\.\d+", model.profiles.sentence)[1:])
    own = float(re.findall(r"events (\d\.\d+), by", model.profiles.sentence)[0])
    assert own > 2 * max(mean, popular)
    empty = fit(people().select("user", "member"))
    assert empty.profiles is not None
    assert empty.profiles.until == 0
    assert "do not count" in empty.profiles.sentence
    answer = empty.recommend(user=NEW)
    assert answer.source == "popularity"
    assert answer.ids == empty.recommend().ids


def test_a_profile_counts_only_while_the_history_is_short(model: NeuralRecommender) -> None:
    assert model.profiles is not None
    kept = model.profiles
    try:
        model.profiles = replace(kept, until=2)
        profile = {"town": "Oslo"}
        lengths = [len(model.histories([Query(history=HISTORY[:n], profile=profile)]).items) for n in range(4)]
        assert lengths == [1, 2, 2, 3]
        one, two = (model.recommend(history=HISTORY[:n], profile=profile, k=12) for n in (1, 2))
        assert one.ids != model.recommend(history=["mug-red"], k=12).ids
        assert two.ids == model.recommend(history=["mug-red", "mug-blue"], k=12).ids
        short = replace(kept, until=9)
        model.profiles = short
        together = model.recommend_many(users=[3, 8], k=4)
        assert together["item"].to_list() == [*model.recommend(user=3, k=4).ids, *model.recommend(user=8, k=4).ids]
        assert len(model.histories([Query(user=3)]).items) == 1 + model.log.lengths[3]
    finally:
        model.profiles = kept


def test_words_and_profile_together(model: NeuralRecommender) -> None:
    assert model.profiles is not None
    kept = model.profiles
    try:
        model.profiles = replace(kept, until=2)
        made = model.histories([Query(user=NEW, words="blue mug"), Query(history=[Words("mug")]), Query(user=NEW + 1)])
        assert made.lengths.tolist() == [2, 1, 1]
        assert made.items.tolist() == [27, 25, 26, 28]  # 24 items and PAD; words are numbered first
        assert made.extra is not None
        assert len(made.extra) == 4
        assert torch.equal(made.extra[3], kept.vectors(kept.encoder.frame([kept.of(Query(user=NEW + 1))]))[0])
        found = model.explain("mug-red", user=NEW, words="blue mug")
        assert {event.title for event in found.events} == {"the user's profile", "blue mug"}
    finally:
        model.profiles = kept


def test_saved_and_loaded(model: NeuralRecommender, tmp_path: Path) -> None:
    model.save(tmp_path / "shop")
    again = Recommender.load(tmp_path / "shop")
    for asked in (Query(user=NEW), Query(profile={"town": "Rome", "age": 40}), Query(profile={"wish": WANTS[2]})):
        assert again.recommend(asked) == model.recommend(asked)
    assert {path.suffix for path in (tmp_path / "shop" / "profiles").iterdir()} == {".parquet", ".json", ".safetensors"}
    table = tmp_path / "shop" / "profiles" / "users.parquet"
    assert pl.read_parquet(table).columns == [
        "user",
        "town",
        "age",
        "member",
        "wish",
    ]  # names are of no use, and not kept
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"users\.parquet is damaged"):
        Recommender.load(tmp_path / "shop")


def test_what_is_missing_or_unseen_says_nothing(model: NeuralRecommender) -> None:
    assert model.profiles is not None
    encoder = model.profiles.encoder
    known = encoder(encoder.frame([{"town": "Oslo"}, {"town": "Oslo", "age": None, "wish": " "}]))
    assert np.array_equal(known[0], known[1])
    mixed = encoder(encoder.frame([{"town": "Paris", "age": 30}, {"age": 30}]))
    assert np.array_equal(mixed[0], mixed[1])


def test_a_live_recommender_answers_as_the_plain_one(model: NeuralRecommender, tmp_path: Path) -> None:
    model.save(tmp_path / "shop")
    live, plain = Live(Recommender.load(tmp_path / "shop")), Recommender.load(tmp_path / "shop")
    for until in (1, 9):
        for each in (live.recommender, plain):
            assert each.profiles is not None
            each.profiles = replace(each.profiles, until=until)
        for query in (Query(user=NEW), Query(user=3), Query(profile={"town": "Rome"}), Query(user=NEW, words="mug")):
            mine, own = live.recommend(query), plain.recommend(query)
            assert (mine.user, mine.source, mine.ids) == (own.user, own.source, own.ids), query


class TestBadInput:
    def test_requests(self, model: NeuralRecommender) -> None:
        with pytest.raises(
            ColumnError, match="no column 'gender' in the profiles of this model; known: town, age, member"
        ):
            model.recommend(profile={"gender": "F"})
        with pytest.raises(DataError, match="age='old' in a profile is not of the column's type"):
            model.recommend(profile={"age": "old"})
        with pytest.raises(DataError, match=r"holds nothing that this model knows; known are town: .*Oslo"):
            model.recommend(profile={"town": "Paris"})
        with pytest.raises(DataError, match="a profile must say something"):
            Query(profile={})
        with pytest.raises(UnknownIdError, match="'nobody' is not among"):
            model.recommend(user="nobody")

    def test_models_without_profiles(self) -> None:
        plain = fit(None, training={"epochs": 1})
        for each in (plain, Popularity().fit(shop(people()))):
            with pytest.raises(ConfigError, match="fitted without a users table"):
                each.recommend(profile={"town": "Oslo"})
        with pytest.raises(ConfigError, match="a semantic recommender knows no profiles"):
            fit(people(), recommender={"kind": "semantic", "levels": 2, "codes": 4}, training={"epochs": 1})

    def test_tables(self) -> None:
        rows = people().head(3)
        assert read_users(pl.concat([rows, rows]).rename({"user": "user_id"})).equals(rows)
        changed = pl.concat([rows, rows.with_columns(town=pl.lit("Bonn"))])
        with pytest.raises(ColumnError, match="different rows for one user, 0; keep one"):
            read_users(changed)
        with pytest.raises(ColumnError, match="no user column found in the users table"):
            read_users(rows.drop("user"))
        with pytest.raises(ColumnError, match="says nothing of the users"):
            read_users(rows.select("user"))
        with pytest.raises(DataError, match="knows 0 of the 120 users of the log"):
            fit(people().with_columns(pl.col("user") + 5000), training={"epochs": 1})

    def test_columns(self) -> None:
        with pytest.raises(ColumnError, match="no column 'job' in the users table; it has: user, town"):
            ProfileEncoder.fit(people(), ProfileConfig.of({"columns": "town,job"}), TextConfig())
        with pytest.raises(ColumnError, match="no column of categories, numbers or texts"):
            ProfileEncoder.fit(people().select("user", "name"), ProfileConfig(), TextConfig())
        coded = ProfileEncoder.fit(people().with_columns(pl.col("member").cast(pl.Int8)), ProfileConfig.of(
            {"columns": "member", "categories": "member"}), TextConfig())  # fmt: skip
        assert coded(coded.frame([{"member": 1}, {"member": "1"}, {"member": 7}])).shape == (3, 2)
