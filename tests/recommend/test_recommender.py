"""A fitted recommender answers known users, new users and anonymous histories, in the caller's own ids."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from temporec.baselines.popularity import Popularity
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.errors import ColumnError, DataError, UnknownIdError
from temporec.ranking.filters import Filters
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.query import Event, Query
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions

T0 = 1_700_000_000  # seconds
USERS, EVENTS, ITEMS = 30, 6, 20


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Users walk along a circle of items; item "i19" stands in the items table only."""
    rows = [
        (f"u{u}", f"i{(u + t) % (ITEMS - 1)}", 1000 * (T0 + 86_400 * t + u))
        for u in range(USERS)
        for t in range(EVENTS)
    ]
    items = pl.DataFrame(
        {
            "item": [f"i{i}" for i in range(ITEMS)],
            "title": [f"thing {i}" for i in range(ITEMS)],
            "colour": pl.Series(["red", "blue"] * (ITEMS // 2), dtype=pl.Categorical),
        }
    )
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), items)


def fit(dataset: Dataset, **options: Any) -> NeuralRecommender:
    config = {
        "encoder": {"kind": "gru", "dim": 16}, "dropout": 0.0, "events": ["time"],
        "training": {"epochs": 30, "lr": 0.01, "tokens": 256}, **options,
    }  # fmt: skip
    return fit_recommender(dataset, FitConfig.of(config), RunOptions(precision="fp32")).recommender


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> NeuralRecommender:
    return fit(dataset)


@pytest.fixture(scope="module", params=["neural", "popularity"])
def any_model(request: pytest.FixtureRequest, dataset: Dataset, model: NeuralRecommender) -> Recommender:
    """What every recommender does alike, tried on a model and on a baseline."""
    return model if request.param == "neural" else Popularity().fit(dataset)


def test_it_has_learned_the_circle(model: NeuralRecommender) -> None:
    assert model.recommend(user="u0", k=1).ids == ["i6"]
    assert model.recommend(history=["i3", "i4", "i5"], k=1).ids == ["i6"]


def test_answers(any_model: Recommender) -> None:
    answer = any_model.recommend(user="u3", k=ITEMS)
    assert answer.source == "model"
    assert answer.user == "u3"
    scores = [row.score for row in answer]
    assert scores == sorted(scores, reverse=True)
    assert sum(row.probability for row in answer) == pytest.approx(1.0, abs=1e-4)
    assert [row.title for row in answer] == [f"thing {str(row.item)[1:]}" for row in answer]
    assert not {"i3", "i4", "i5", "i6", "i7", "i8"} & set(answer.ids)
    assert answer.to_frame()["rank"].to_list() == list(range(1, len(answer) + 1))


def test_the_same_answers_after_save_and_load(any_model: Recommender, tmp_path: Path) -> None:
    any_model.save(tmp_path / "saved")
    again = Recommender.load(tmp_path / "saved")
    assert type(again) is type(any_model)
    assert again.exclude_seen == any_model.exclude_seen
    for query in (
        Query(user="u4"),
        Query(user="u4", at=T0 + 10 * 86_400),
        Query(history=["i1", "i7"], k=3),
        Query(user="u4", history=[Event("i1", T0 + 9 * 86_400)]),
        Query(),
    ):
        assert again.recommend(query) == any_model.recommend(query)
    assert again.recommend_many(k=4).equals(any_model.recommend_many(k=4))
    assert again.similar("i3") == any_model.similar("i3")
    again.save(tmp_path / "saved")  # over itself
    assert Recommender.load(tmp_path / "saved").recommend(user="u4") == any_model.recommend(user="u4")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_one_by_one_is_all_at_once(any_model: Recommender) -> None:
    frame = any_model.recommend_many(k=5)
    assert frame["user"].n_unique() == USERS
    for user in ("u0", "u13", "u29"):
        rows = frame.filter(pl.col("user") == user)
        answer = any_model.recommend(user=user, k=5)
        assert rows["item"].to_list() == answer.ids
        assert rows["probability"].to_list() == pytest.approx([row.probability for row in answer], rel=1e-4)
    some = any_model.recommend_many(["u13", "u2"], k=5)
    assert some["user"].unique(maintain_order=True).to_list() == ["u13", "u2"]


UNKNOWN = {
    "history": {"history": ["i1", "nothing"]},
    "candidates": {"user": "u1", "candidates": ["i1", "nothing"]},
    "blocked": {"user": "u1", "filters": Filters(blocked=["nothing"])},
    "allowed": {"user": "u1", "filters": Filters(allowed=["nothing"])},
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_item_is_named(case: str, any_model: Recommender) -> None:
    with pytest.raises(UnknownIdError, match="'nothing'"):
        any_model.recommend(**UNKNOWN[case])  # type: ignore[arg-type]


def test_unknown_users(any_model: Recommender) -> None:
    with pytest.raises(UnknownIdError, match=r"user 'me' is not among the 30 known users; give a history"):
        any_model.recommend(user="me")
    with pytest.raises(UnknownIdError, match="me"):
        any_model.recommend_many(["u1", "me"])
    with pytest.raises(UnknownIdError, match="'nothing'"):
        any_model.similar("nothing")
    assert any_model.recommend(user="me", history=["i2", "i3"]).ids == any_model.recommend(history=["i2", "i3"]).ids


def test_nothing_known_is_popularity(any_model: Recommender) -> None:
    answer = any_model.recommend(k=3)
    assert answer.source == "popularity"
    counts = np.bincount(any_model.dataset.interactions.item, minlength=any_model.catalog.size)
    assert counts[any_model.catalog.vocabulary.encode(answer.ids)].tolist() == sorted(counts)[::-1][:3]


def test_seen_items(any_model: Recommender) -> None:
    for seen, hidden in ((True, True), (False, False), (None, any_model.exclude_seen)):
        ids = any_model.recommend(user="u1", k=ITEMS, filters=Filters(exclude_seen=seen)).ids
        assert ({f"i{1 + t}" for t in range(EVENTS)} & set(ids) == set()) is hidden
        many = any_model.recommend_many(["u1"], ITEMS, Filters(exclude_seen=seen))
        assert many["item"].to_list() == ids


def test_filters_and_candidates(any_model: Recommender) -> None:
    allowed = ["i10", "i12", "i13", "i14"]
    assert set(any_model.recommend(user="u1", filters=Filters(allowed=allowed)).ids) == set(allowed)
    assert set(any_model.recommend(user="u1", candidates=allowed).ids) == set(allowed)
    both = any_model.recommend(
        user="u1", candidates=allowed, filters=Filters(blocked=["i12"], category={"colour": "red"})
    )
    assert set(both.ids) == {"i10", "i14"}
    assert sum(row.probability for row in both) == pytest.approx(1.0, abs=1e-4)
    assert len(any_model.recommend(user="u1", candidates=["i1"])) == 0  # seen
    with pytest.raises(ColumnError, match="no column 'size' in the catalog to filter by; it has: title, colour"):
        any_model.recommend(user="u1", filters=Filters(category={"size": ["L"]}))


def test_bad_queries_are_refused() -> None:
    for fields, said in [
        ({"k": 0}, "at least 1"), ({"k": True}, "at least 1"), ({"diversity": 1.5}, "between 0 and 1"),
        ({"history": "i1"}, "must be a list"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=said):
            Query(**fields)


def test_the_moment_of_the_request(dataset: Dataset) -> None:
    """`at` enters the head of a model that was told to learn it, however it is spelled; elsewhere it does nothing."""
    aware = fit(dataset, head={"request_time": True}, training={"epochs": 3, "lr": 0.05, "tokens": 64})
    plain = fit(dataset, training={"epochs": 1})

    def scores(model: Recommender, at: Any) -> list[float]:
        return [row.score for row in model.recommend(user="u2", k=5, at=at)]

    soon, late = T0 + 6 * 86_400, T0 + 3000 * 86_400
    assert scores(aware, soon) != scores(aware, late)
    assert scores(aware, soon) != scores(aware, None)
    moment = datetime.fromtimestamp(soon, UTC)
    for same in (float(soon), moment, moment.replace(tzinfo=None), moment.isoformat()):
        assert scores(aware, same) == scores(aware, soon)
    assert scores(plain, soon) == scores(plain, late) == scores(plain, None)
    for bad, said in (("soon", "not ISO 8601"), (soon * 1000, "epoch \\*seconds\\*")):
        with pytest.raises(DataError, match=said):
            aware.recommend(user="u2", at=bad)


def test_given_events_come_after_the_known_ones(model: NeuralRecommender) -> None:
    whole = model.histories([Query(user="u0", history=["i9", Event("i8", T0 + 9 * 86_400)])])
    known = [f"i{t}" for t in range(EVENTS)]
    assert model.catalog.vocabulary.decode(whole.items) == [*known, "i9", "i8"]
    assert whole.times[-1] == 1000 * (T0 + 9 * 86_400)
    assert (np.diff(whole.times) >= 0).all()
    assert model.recommend(user="u0", history=["i6"], k=1).ids == ["i7"]  # without it: "i6", see above


def test_given_times_are_not_those_of_the_request(model: NeuralRecommender) -> None:
    given = ["i0", Event("i1", T0), "i2", Event("i3", T0 + 60), Event("i4", T0 + 30)]
    times = model.histories([Query(history=given, at=T0 + 10**6)]).times
    assert times.tolist() == [1000 * t for t in (T0, T0, T0, T0 + 60, T0 + 60)]
    assert model.histories([Query(history=["i0", "i1"], at=T0)]).times.tolist() == [1000 * T0] * 2


def test_new_events_are_taken_in_without_training(dataset: Dataset, tmp_path: Path) -> None:
    model = fit(dataset, training={"epochs": 5})
    before = model.recommend(user="u5", k=3)
    weights = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    new = pl.DataFrame({"user": ["u5", "new"], "item": ["i14", "i2"], "time": [1000 * (T0 + 20 * 86_400)] * 2})
    assert model.update(new) == 2
    assert "i14" not in model.recommend(user="u5", k=ITEMS).ids
    assert model.recommend(user="u5", k=3) != before
    assert model.recommend(user="new").source == "model"
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.model.state_dict().items())
    with pytest.raises(UnknownIdError, match="'nothing'"):
        model.update(new.with_columns(item=pl.lit("nothing")))
    assert len(model.dataset.interactions) == USERS * EVENTS + 2
    model.save(tmp_path / "m")
    assert Recommender.load(tmp_path / "m").recommend(user="new") == model.recommend(user="new")


def test_similar(any_model: Recommender) -> None:
    answer = any_model.similar("i4", ITEMS)
    assert "i4" not in answer.ids
    assert len(set(answer.ids)) == len(answer.ids) >= ITEMS - 2


def test_diversity_keeps_the_first_and_spreads_the_rest(model: NeuralRecommender) -> None:
    plain = model.recommend(user="u0", k=4).ids
    assert model.recommend(user="u0", k=4, diversity=0.0).ids == plain
    spread = model.recommend(user="u0", k=4, diversity=0.9).ids
    assert spread[0] == plain[0]
    assert len(set(spread)) == 4
    assert spread != plain


def test_integer_ids_come_back_as_integers() -> None:
    frame = pl.DataFrame({"user": [7] * 4 + [8] * 4, "item": [1, 2, 3, 4, 2, 3, 4, 5], "time": [0, 1, 2, 3] * 2})
    model = Popularity().fit(build_dataset(frame))
    answer = model.recommend(user="7", history=["5"], k=2, filters=Filters(exclude_seen=False))
    assert all(isinstance(item, int) for item in answer.ids)
    with pytest.raises(UnknownIdError, match="x7"):
        model.recommend(user="x7")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_chunks_are_the_scores(any_model: Recommender, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temporec.recommend.recommender._TOGETHER", 9)
    draw = np.random.default_rng(0)
    lengths = draw.integers(0, 12, 25)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = draw.integers(1, ITEMS, offsets[-1]).astype(np.int32)
    times = np.concatenate([np.sort(draw.integers(0, 10**9, n)) for n in lengths])
    histories = Histories(items, times, offsets)
    made = [(rows, scores.clone()) for rows, scores in any_model.chunks(histories, size)]
    assert np.concatenate([rows for rows, _ in made]).tolist() == list(range(25))
    assert torch.allclose(torch.cat([scores for _, scores in made]), any_model.score(histories), atol=1e-5)
