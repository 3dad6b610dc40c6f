"""Items without events are placed by their texts, come after the best known ones, and can be added at any time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from temporec.baselines.popularity import Popularity
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.data.split import split
from temporec.errors import ConfigError, DataError, UnknownIdError
from temporec.recommend.base import Recommender
from temporec.recommend.cold import crowding, placed_last
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.query import Words
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.text_map import TextMap
from temporec.runtime import RunOptions

KINDS = ("lamp", "mug", "rug", "clock")
COLOURS = ("red", "blue", "green", "white", "black", "pink")
NEW = ["mug-new", "rug-new"]  # in the items table, in no event


def shop() -> Dataset:
    """Users buy things of one kind, in all colours but one after the other; the colour does not matter."""
    draw = np.random.default_rng(3)
    rows = []
    for user in range(120):
        kind = KINDS[user % len(KINDS)]
        rows += [(user, f"{kind}-{colour}", t) for t, colour in enumerate(draw.permutation(COLOURS))]
    names = [f"{kind}-{colour}" for kind in KINDS for colour in COLOURS]
    items = pl.DataFrame({"item": [*names, *NEW]})
    items = items.with_columns(title=pl.col("item").str.replace("-new", "-violet").str.replace("-", " "))
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), items)


@pytest.fixture(scope="module")
def model() -> NeuralRecommender:
    return fit(cold={"offset": 0.0, "after": 0})


def fit(**options: object) -> NeuralRecommender:
    config = {
        "encoder": {"kind": "gru", "dim": 16}, "dropout": 0.0, "training": {"epochs": 25, "lr": 0.01, "tokens": 256},
        **options,
    }  # fmt: skip
    made = split(shop(), "leave-last-out")
    return fit_recommender(made.train, FitConfig.of(config), RunOptions(precision="fp32"), made.valid).recommender


def test_a_new_item_stands_with_its_kind(model: NeuralRecommender) -> None:
    for kind in ("mug", "rug"):
        near = model.similar(f"{kind}-new", k=4).ids
        assert all(str(item).startswith(kind) for item in near), near
    ids = model.recommend(history=["mug-red", "mug-blue", "mug-green"], k=4).ids
    assert "mug-new" in ids
    assert "rug-new" not in ids


def test_training_does_not_touch_items_without_events() -> None:
    """They are in no denominator: their own rows have no gradient, whatever else is learned."""
    one, two = (fit(training={"epochs": n, "lr": 0.01, "tokens": 256}) for n in (1, 3))
    own = [m.model.state_dict()["items.0.weight"] for m in (one, two)]
    rows = torch.from_numpy(one.catalog.vocabulary.encode(NEW).astype(np.int64))
    assert torch.equal(own[0][rows], own[1][rows])
    assert not torch.equal(own[0], own[1])


def test_new_items_come_after_the_best_known_ones(model: NeuralRecommender) -> None:
    assert model.cold is not None
    history = Histories(
        model.catalog.vocabulary.encode(["mug-red", "mug-blue"]), np.zeros(2, np.int64), np.asarray([0, 2])
    )
    free = model.score(history)[0].clone()
    model.cold.offset, model.cold.after = 50.0, 7
    try:
        held = model.score(history)[0].clone()
    finally:
        model.cold.offset, model.cold.after = 0.0, 0
    new = model.cold.numbers
    hidden = torch.cat([new, torch.from_numpy(history.items.astype(np.int64)), torch.zeros(1, dtype=torch.int64)])
    best = free.index_fill(0, hidden, -torch.inf).topk(9).values
    assert (held[new] < best[7]).all()
    assert (held[new] > best[8]).all()
    assert torch.equal(held[new].argsort(), free[new].argsort())
    rest = torch.ones(len(free), dtype=torch.bool)
    rest[new] = False
    assert torch.equal(free[rest], held[rest])


@given(st.integers(0, 10), st.integers(1, 9), st.integers(1, 15), st.integers(0, 1_000))
def test_the_first_ten_are_those_of_the_rule(known: int, after: int, new: int, seed: int) -> None:
    """The j-th new item must beat the known one that is j-th from the end of ten; those who do stand at the end."""
    draw = np.random.default_rng(seed)
    scores = draw.permutation(np.arange(known + new, dtype=np.float32))
    old, fresh = -np.sort(-scores[:known]), scores[known:]
    ten = np.concatenate([old, np.full(10 - known, -np.inf, np.float32)])
    order = np.argsort(-fresh)
    taken = 0
    while taken < min(10 - after, new) and fresh[order[taken]] > ten[9 - taken]:
        taken += 1
    whole = [*(("old", i) for i in range(min(known, 10 - taken))), *(("new", int(i)) for i in order[:taken])]
    held = placed_last(torch.from_numpy(fresh)[None], torch.from_numpy(ten)[None], 10 - after)[0].numpy()
    names = [*(("old", i) for i in range(known)), *(("new", i) for i in range(new))]
    best = sorted(zip([*old, *held], names, strict=True), key=lambda pair: -pair[0])
    assert [name for _, name in best[: len(whole)]] == whole


@given(st.integers(10, 14), st.integers(4, 30), st.integers(0, 1_000))
def test_new_items_behind_the_first_ten_keep_their_order(known: int, new: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    ten = torch.from_numpy(-np.sort(-draw.normal(0, 5, known).astype(np.float32))[:10])[None]
    fresh = torch.from_numpy(draw.normal(5, 5, new).astype(np.float32))[None]
    held = placed_last(fresh, ten, 3)
    assert torch.equal(
        held.argsort(dim=1, descending=True, stable=True), fresh.argsort(dim=1, descending=True, stable=True)
    )
    assert (held <= fresh).all()
    assert len(held.unique()) == len(fresh.unique())


@pytest.mark.parametrize("cost", [0.0, 0.05, 0.5])
def test_what_new_items_cost_is_kept(cost: float) -> None:
    offsets = {c: fit(cold={"cost": c, "after": 0}).cold for c in (cost, 0.9)}
    low, high = offsets[cost], offsets[0.9]
    assert low is not None
    assert high is not None
    assert low.offset <= high.offset


def test_added_items_are_rankable_and_survive_a_save(model: NeuralRecommender, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    copy = Recommender.load(tmp_path / "m")
    assert isinstance(copy, NeuralRecommender)
    before = copy.recommend(history=["clock-red"], k=10)
    more = pl.DataFrame({"item": ["clock-x", "lamp-x", "lamp-red"], "title": ["violet clock", "a lamp", "known"]})
    assert copy.add_items(more) == 2
    assert copy.add_items(more) == 0
    assert "clock-x" in copy.recommend(history=["clock-red", "clock-blue", "clock-pink"], k=6).ids
    assert copy.recommend(history=["clock-x", "clock-red"], k=3).ids
    old = [
        row for row in copy.recommend(history=["clock-red"], k=12).items if str(row.item) not in {"clock-x", "lamp-x"}
    ]
    assert [row.item for row in old][:10] == before.ids[:10]
    copy.save(tmp_path / "grown")
    again = Recommender.load(tmp_path / "grown")
    assert again.recommend(history=["clock-x"], k=5) == copy.recommend(history=["clock-x"], k=5)


def test_words_and_ids_mix(model: NeuralRecommender) -> None:
    def kinds(answer: object) -> set[str]:
        return {str(item).split("-")[0] for item in answer.ids[:4]}  # type: ignore[attr-defined]

    assert kinds(model.recommend(history=["white mug"], k=4)) == {"mug"}
    assert kinds(model.recommend(history=["rug-red", "green rug", "rug-pink"], k=4)) == {"rug"}
    assert kinds(model.recommend(words="clock", k=4)) == {"clock"}
    assert kinds(model.recommend(history=[Words("lamp")], k=4)) == {"lamp"}
    assert model.recommend(words="clock").source == "model"


def test_what_cannot_be_placed_is_said(model: NeuralRecommender) -> None:
    for asked, said in [
        ({"history": ["mug-rde"]}, "not in the catalog.*'mug-rde'"),
        ({"history": ["qqq zzz"]}, "'qqq zzz' is neither an item id nor in words"),
    ]:
        with pytest.raises(UnknownIdError, match=said):
            model.recommend(**asked)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="words must say what is wanted"):
        model.recommend(words="  ")
    size = len(model.catalog)
    with pytest.raises(DataError, match=r"1 new item\(s\) have no known text, for instance 'x2'"):
        model.add_items(pl.DataFrame({"item": ["x1", "x2"], "title": ["blue mug", None]}))
    assert len(model.catalog) == size
    plain = fit(text={"encoder": "none"})
    with pytest.raises(ConfigError, match="without texts of items"):
        plain.add_items(pl.DataFrame({"item": ["x1"], "title": ["blue mug"]}))
    popular = Popularity().fit(shop())
    with pytest.raises(UnknownIdError, match="cannot read words"):
        popular.recommend(history=["white mug"])


def test_the_map_reads_general_and_local_relations() -> None:
    """A row that depends linearly on the text is found again; a zero text has a zero row; lengths are the table's."""
    draw = np.random.default_rng(0)
    texts = draw.normal(size=(300, 8)).astype(np.float32)
    rows = texts @ draw.normal(size=(8, 5)).astype(np.float32)
    table = torch.from_numpy(np.concatenate([np.zeros((1, 5), np.float32), 3 * rows]))
    trained = np.arange(300) < 250
    found = TextMap.fit(texts, table, trained)
    assert found is not None
    made = found(texts[250:])
    closeness = torch.nn.functional.cosine_similarity(made, table[251:])
    assert closeness.mean() > 0.9
    assert torch.allclose(made.norm(dim=1), torch.full((50,), found.length), rtol=1e-4)
    assert not found(np.zeros((2, 8), np.float32)).any()
    assert TextMap.fit(texts, table, np.arange(300) < 1) is None


def test_neighbours_are_told_by_the_columns_that_tell_them_best() -> None:
    """Two encoders side by side: the rows follow the second, the first is noise."""
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 20, 400)
    noise, told = draw.normal(size=(400, 12)), np.eye(20)[kind] + 0.1 * draw.normal(size=(400, 20))
    texts = np.concatenate([noise, told], axis=1).astype(np.float32)
    rows = torch.from_numpy(draw.normal(size=(20, 6))[kind]).float()
    table = torch.cat([torch.zeros(1, 6), rows])
    events = (np.arange(400) < 350).astype(np.int64)
    found = TextMap.fit(texts, table, events, spans=[(0, 32), (0, 12), (12, 32)])
    assert found is not None
    assert found.span == (12, 32)
    again = TextMap.of(found.tensors())
    assert again.span == found.span
    assert torch.equal(again(texts[350:]), found(texts[350:]))
    texts[350:, 12:] = 0.0  # one encoder has nothing to say: the other one's regression alone
    assert found(texts[350:]).any(dim=1).all()


@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 1_000))
def test_what_is_close_to_everybody_gives_way(users: int, new: int, seed: int) -> None:
    """The slow twin of the correction; trained rows have none in the mean, and lengths do not matter."""
    draw = np.random.default_rng(seed)
    crowd = draw.normal(size=(users, 5)).astype(np.float32)
    rows, trained = draw.normal(size=(new, 5)).astype(np.float32), draw.normal(size=(7, 5)).astype(np.float32)

    def closest(row: np.ndarray) -> float:
        found = sorted((row / np.linalg.norm(row)) @ crowd.T)
        return float(np.mean(found[-max(1, round(0.05 * users)) :]))

    level = np.mean([closest(row) for row in trained])
    expected = [(closest(row) - level) / 4 for row in rows]
    told, known, queries = (torch.from_numpy(each) for each in (rows, trained, crowd))
    assert crowding(told, known, queries).numpy() == pytest.approx(np.array(expected), abs=1e-4)
    assert crowding(3 * told, known, queries).numpy() == pytest.approx(np.array(expected), abs=1e-4)
    assert float(crowding(known, known, queries).mean()) == pytest.approx(0.0, abs=1e-4)
    assert not crowding(told, known, queries[:0]).any()


def test_the_scores_of_new_items_are_corrected(model: NeuralRecommender) -> None:
    assert model.cold is not None
    histories = model.log.rows(np.arange(20))
    scores = model.score(histories).clone()
    plain = model.queries(histories) @ model.item_vectors.T
    new = model.cold.numbers
    assert len(model.cold.crowd) == 120
    assert model.cold.shift.any()
    assert torch.allclose(scores[:, new], plain[:, new] + model.cold.shift, atol=1e-4)
    closest = (model.queries(model.log) @ model.item_vectors[new].T).topk(6, dim=0).values.mean(dim=0)
    assert torch.allclose(model.cold.shift[0] - model.cold.shift[1], (closest[1] - closest[0]) / 4, atol=1e-4)


def test_words_are_events_of_an_explanation_too(model: NeuralRecommender) -> None:
    found = model.explain("mug-black", history=["mug-red", "white mug"], words="a mug")
    assert [event.title for event in sorted(found.events, key=lambda e: -e.events_ago)] == [
        "mug red",
        "white mug",
        "a mug",
    ]
