"""The best config of a grid, on validation."""

import numpy as np
import polars as pl
import pytest

from temporec import registry
from temporec.baselines.base import Baseline
from temporec.baselines.tuning import tune
from temporec.data.dataset import build_dataset
from temporec.data.split import Split, leave_last_out
from temporec.errors import UnknownNameError


@pytest.fixture(scope="module")
def parts() -> Split:
    """Users walk on a circle of 15 items, every fourth step is noise."""
    draw = np.random.default_rng(0)
    rows = []
    for user in range(80):
        item = int(draw.integers(15))
        for step in range(8):
            item = (item + 1) % 15 if draw.random() < 0.75 else int(draw.integers(15))
            rows.append((user, item, (user + step) * 86_400_000))
    return leave_last_out(build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")))


@pytest.mark.parametrize("name", registry.names("baseline"))
def test_the_best_of_the_grid_is_kept(name: str, parts: Split) -> None:
    if name == "item_knn":
        pytest.importorskip("implicit")
    tuned = tune(name, parts.train, parts.valid, exclude_seen=False, limit=50)
    cls: type[Baseline] = registry.get("baseline", name)
    assert [row["config"] for row in tuned.table] == [config.to_dict() for config in cls.grid()]
    final = [row for row in tuned.table if row["cases"] == 80]
    assert len(final) == 3 or len(final) == len(tuned.table) <= 3
    assert all(row["cases"] in (50, 80) for row in tuned.table)
    best = max(final, key=lambda row: float(row["ndcg@10"]))
    assert tuned.config.to_dict() == best["config"]
    assert tuned.recommender.config == tuned.config
    assert tuned.recommender.exclude_seen is False
    fresh = cls(tuned.config).fit(parts.train)
    assert (tuned.recommender.score(parts.test.histories) == fresh.score(parts.test.histories)).all()


def test_the_sample_is_a_function_of_the_seed(parts: Split) -> None:
    def table(seed: int, limit: int = 20) -> list[float]:
        return [row["ndcg@10"] for row in tune("markov", parts.train, parts.valid, limit=limit, seed=seed).table]

    assert table(1, 8) == table(1, 8)
    assert table(1, 8) != table(2, 8)
    assert table(1) == table(1)
    assert table(1) != table(2)
    assert table(1, 1000) == table(2, 1000)


def test_markov_beats_popularity_where_order_matters(parts: Split) -> None:
    def best(name: str) -> float:
        return max(float(row["ndcg@10"]) for row in tune(name, parts.train, parts.valid, exclude_seen=False).table)

    assert best("markov") > best("popularity") + 0.2


def test_unknown_name(parts: Split) -> None:
    with pytest.raises(UnknownNameError, match="markov"):
        tune("nothing", parts.train, parts.valid)
