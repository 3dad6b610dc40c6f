"""What every registered baseline promises, built-in or not."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from temporec import registry
from temporec.baselines.base import Baseline
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.errors import CheckpointError, ConfigError, UnknownIdError
from temporec.ranking.filters import Filters
from temporec.recommend.base import Recommender

ITEMS = 12
DAY = 86_400_000


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """A deterministic Markov log: item i is always followed by i + 1; users start anywhere, and stop after 6 events."""
    rows = [
        {"user": f"u{user:02d}", "item": f"i{(user + step) % ITEMS:02d}", "time": (user + step) * DAY}
        for user in range(60)
        for step in range(6)
    ]
    items = pl.DataFrame(
        {
            "item": [f"i{i:02d}" for i in range(ITEMS)] + ["never"],
            "title": [f"Item {i}" for i in range(ITEMS)] + ["Not sold yet"],
            "colour": ["red" if i % 2 else "blue" for i in range(ITEMS)] + ["red"],
        }
    )
    return build_dataset(pl.DataFrame(rows), items)


@pytest.fixture(scope="module", params=registry.names("baseline"))
def baseline(request: pytest.FixtureRequest, dataset: Dataset) -> Baseline:
    if request.param == "item_knn":
        pytest.importorskip("implicit")
    made: Baseline = registry.get("baseline", request.param)().fit(dataset, exclude_seen=True)
    assert made.kind == f"baseline:{request.param}"
    return made


@pytest.fixture(scope="module")
def histories(dataset: Dataset) -> Histories:
    """Lengths 0 to 30, with repeated items, users unknown."""
    draw = np.random.default_rng(0)
    lengths = np.array([0, 1, 2, 30, 5, 0, 9, 1, 3])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.concatenate([np.sort(draw.integers(0, 60 * DAY, n)) for n in lengths])
    return Histories(draw.integers(1, ITEMS + 1, offsets[-1]).astype(np.int32), times, offsets)


def test_scores_are_log_probabilities(baseline: Baseline, histories: Histories) -> None:
    scores = baseline.score(histories)
    assert scores.shape == (len(histories), baseline.catalog.size)
    assert scores.dtype == torch.float32
    assert torch.isneginf(scores[:, 0]).all()
    assert torch.isfinite(scores[:, 1:]).all()
    known = torch.from_numpy(histories.lengths > 0)
    torch.testing.assert_close(torch.logsumexp(scores[known], dim=1), torch.zeros(7), atol=1e-4, rtol=0)


def test_an_empty_history_gets_popularity(baseline: Baseline, histories: Histories) -> None:
    assert torch.equal(baseline.score(histories)[5, 1:], baseline.popularity[1:])
    nobody = histories.rows(np.array([0]))
    assert torch.equal(baseline.score(nobody)[0, 1:], baseline.popularity[1:])
    assert baseline.recommend(k=3).source == "popularity"
    assert baseline.score(histories.rows(np.zeros(0, np.int64))).shape == (0, baseline.catalog.size)


def test_new_items_are_refused(baseline: Baseline) -> None:
    with pytest.raises(ConfigError, match=f"{baseline.kind} knows items by their events alone; fit a model with texts"):
        baseline.add_items(pl.DataFrame({"item": ["new"], "title": ["Item 99"]}))
    assert "new" not in baseline.catalog.vocabulary


def test_one_row_is_the_row_of_a_batch(baseline: Baseline, histories: Histories) -> None:
    batch = baseline.score(histories).clone()
    for row in range(len(histories)):
        one = baseline.score(histories.rows(np.array([row])))
        torch.testing.assert_close(one[0], batch[row], rtol=1e-5, atol=1e-5)


def test_only_the_given_events_count(baseline: Baseline, histories: Histories) -> None:
    """Not who asks, not the other rows, not what the known user did later."""
    before = baseline.score(histories).clone()
    named = dataclasses.replace(histories, users=np.arange(len(histories), dtype=np.int32))
    assert torch.equal(baseline.score(named), before)
    back = np.arange(len(histories))[::-1].copy()
    torch.testing.assert_close(baseline.score(histories.rows(back))[back], before, rtol=1e-5, atol=1e-5)
    assert torch.equal(baseline.score(histories), before)


def test_the_answer_may_be_written_into(baseline: Baseline, histories: Histories) -> None:
    first = baseline.score(histories)
    kept = first.clone()
    first.fill_(7.0)
    assert torch.equal(baseline.score(histories), kept)


def test_state_makes_a_round_trip(baseline: Baseline, histories: Histories, tmp_path: Path) -> None:
    baseline.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    assert isinstance(again, Baseline)
    assert type(again) is type(baseline)
    assert again.config == baseline.config
    assert again.exclude_seen is baseline.exclude_seen
    for name, array in baseline.state().items():
        assert again.state()[name].dtype == array.dtype
        assert np.array_equal(again.state()[name], array)
    assert torch.equal(again.score(histories), baseline.score(histories))
    assert torch.equal(again.popularity, baseline.popularity)
    assert again.recommend(user="u03").to_dict() == baseline.recommend(user="u03").to_dict()


def test_a_damaged_state_is_refused(baseline: Baseline, dataset: Dataset, tmp_path: Path) -> None:
    baseline.save_state(tmp_path)
    (tmp_path / "baseline.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        type(baseline).read(tmp_path, dataset)


def test_every_config_of_the_grid_can_be_fitted(baseline: Baseline, dataset: Dataset, histories: Histories) -> None:
    grid = baseline.grid()
    assert grid[0] == type(baseline).Config()
    assert len({config.to_json() for config in grid}) == len(grid)
    for config in grid:
        fresh = type(baseline)(config).fit(dataset)
        assert torch.isfinite(fresh.score(histories)[:, 1:]).all()
        again = baseline.with_config(config)
        if again is not None:
            assert torch.equal(again.score(histories), fresh.score(histories))
    assert baseline.config == grid[0]


def test_a_config_of_another_baseline_is_refused(baseline: Baseline) -> None:
    with pytest.raises(ConfigError, match="BaselineConfig"):
        type(baseline)(Baseline.Config())


def test_recommend_speaks_external_ids(baseline: Baseline) -> None:
    answer = baseline.recommend(user="u00", k=4)
    seen = {f"i{i:02d}" for i in range(6)}
    assert len(answer) == 4
    assert not seen & set(answer.ids)
    assert answer.items[0].title == f"Item {int(str(answer.ids[0])[1:])}"
    assert [row.score for row in answer.items] == sorted((row.score for row in answer.items), reverse=True)
    assert set(baseline.recommend(user="u00", k=99, filters=Filters(exclude_seen=False)).ids) >= seen


def test_recommend_obeys_filters_and_candidates(baseline: Baseline) -> None:
    reds = baseline.recommend(history=["i02"], k=99, filters=Filters(category={"colour": ["red"]}))
    assert set(reds.ids) == {"i01", "i03", "i05", "i07", "i09", "i11", "never"}
    few = baseline.recommend(history=["i02"], candidates=["i02", "i07", "i04"], filters=Filters(blocked=["i07"]))
    assert few.ids == ["i04"]
    assert few.items[0].probability == pytest.approx(1.0)


def test_unknown_ids_are_named(baseline: Baseline) -> None:
    with pytest.raises(UnknownIdError, match="'nothing'"):
        baseline.recommend(history=["nothing"])
    with pytest.raises(UnknownIdError, match="'nobody'"):
        baseline.recommend(user="nobody")
    with pytest.raises(UnknownIdError, match="'nowhere'"):
        baseline.recommend(history=["i01"], candidates=["nowhere"])


def test_many_users_get_what_one_user_gets(baseline: Baseline) -> None:
    table = baseline.recommend_many(users=["u05", "u17"], k=3)
    for user in ("u05", "u17"):
        rows = table.filter(pl.col("user") == user).sort("rank")
        assert rows["item"].to_list() == baseline.recommend(user=user, k=3).ids


def test_fitting_popularity_again_forgets_the_first_log() -> None:
    first = build_dataset(pl.DataFrame({"user": [1, 1, 2, 2], "item": [1, 2, 1, 1], "time": [1, 2, 1, 2]}))
    second = build_dataset(pl.DataFrame({"user": [1, 1, 2, 2], "item": [2, 2, 1, 2], "time": [1, 2, 1, 2]}))
    cls = registry.get("baseline", "popularity")
    again, fresh = cls().fit(first).fit(second), cls().fit(second)
    assert torch.equal(again.popularity, fresh.popularity)
