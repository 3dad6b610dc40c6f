"""Options that reach from `--set` into training, the saved folder and the answers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from temporec import workflow
from temporec.config import parse_overrides
from temporec.data.dataset import Dataset, build_dataset
from temporec.data.split import leave_last_out
from temporec.embeddings.features import FeatureEmbedding
from temporec.embeddings.one_hot import OneHotEmbedding
from temporec.errors import CheckpointError, ColumnError
from temporec.ranking.filters import Filters
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import Fitted, fit_recommender
from temporec.recommend.query import Event, Query
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions
from temporec.training.listeners import Silent
from temporec.workflow.settings import Settings, apply_overrides

ITEMS = 24
DAY = 86_400_000
RUN = RunOptions(precision="fp32", threads=1)
SMALL = ["training.epochs=2", "training.tokens=64", "encoder.dim=8", "encoder.max_len=6", "text.encoder=none"]


def events() -> pl.DataFrame:
    """Buys of what stands three places on, views in between; values of 1 to 5, some missing."""
    rows = [
        (u, 1 + (u * 7 + t * 3) % ITEMS, 10**12 + u * DAY + t * DAY * (1 + u % 3), ("view", "buy")[t % 2], t % 5 + 1.0)
        for u in range(50)
        for t in range(9)
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "time", "kind", "value"], orient="row")
    return frame.with_columns(value=pl.when(pl.col("item") % 6 == 0).then(None).otherwise(pl.col("value")))


def items(count: int = ITEMS) -> pl.DataFrame:
    numbers = range(1, count + 1)
    return pl.DataFrame(
        {
            "item": numbers,
            "title": [("red", "green", "blue")[i % 3] + f" lamp {i % 5}" for i in numbers],
            "brand": [f"b{i % 4}" if i % 5 else None for i in numbers],
            "price": [float(i) for i in numbers],
        }
    )


def dataset(table: pl.DataFrame | None = None) -> Dataset:
    return build_dataset(events(), table)


def config(*options: str) -> FitConfig:
    """As the command line makes it."""
    rest = apply_overrides(Settings(), parse_overrides([*SMALL, *options]))[1]
    return FitConfig.of({"encoder": {"kind": "gru"}}).override(rest)


def fitted(*options: str, data: Dataset | None = None, **how: Any) -> Fitted:
    return fit_recommender(data or dataset(), config(*options), RUN, **how)


def weights(made: Fitted) -> dict[str, torch.Tensor]:
    return made.recommender.model.state_dict()


def same(one: Fitted, two: Fitted) -> bool:
    return all(torch.equal(tensor, weights(two)[name]) for name, tensor in weights(one).items())


RUNNING = ["run.threads=1", "run.precision=fp32"]
AUGMENT = ["augment.crop=0.3", "augment.prefix=0.1", "augment.mask=0.1", "augment.reorder=0.3"]


class TestAugment:
    @pytest.mark.parametrize("option", [*AUGMENT, "augment.substitute=0.3"])
    def test_every_part_changes_training_and_is_a_function_of_the_seed(self, option: str) -> None:
        once = fitted(option)
        assert same(once, fitted(option))
        assert not same(once, fitted())

    def test_off_by_default(self) -> None:
        assert same(fitted(), fitted("augment.span=3", "augment.nearest=2"))

    def test_text_decides_on_substitutes_where_there_is_any(self) -> None:
        option, table = "augment.substitute=0.5", dataset(items())
        by_log = fitted(option, data=table)
        by_text = fitted(option, "text.encoder=tfidf", "fuse=one_hot", "encoder.dim=24", data=table)
        as_log = fitted(option, "text.encoder=none", "fuse=one_hot", "encoder.dim=24", data=table)
        assert same(by_log, fitted(option))
        assert not same(by_text, as_log)

    def test_items_stay_usable_and_pad_is_never_shown(self) -> None:
        made = fitted("augment.mask=0.5").recommender
        found = made.recommend(history=[1, 4], k=ITEMS)
        assert sorted(found.ids) == [i for i in range(1, ITEMS + 1) if i not in (1, 4)]
        assert sum(row.probability for row in found) == pytest.approx(1, abs=1e-5)

    def test_interrupted_and_resumed_gives_the_same_bits(self, tmp_path: Path) -> None:
        options = [*AUGMENT, "augment.substitute=0.3", "training.epochs=3", "training.average=0.9"]
        with pytest.raises(KeyboardInterrupt):
            fitted(*options, listener=Stop(after=1), resume=tmp_path)
        assert same(fitted(*options, resume=tmp_path), fitted(*options))


class Stop(Silent):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, after: int) -> None:
        self.after = after

    def step(self, epoch: int, step: int, loss: float, events: int) -> None:
        if epoch == self.after and step == 3:
            raise KeyboardInterrupt


class TestFeatures:
    @pytest.mark.parametrize("options", [["features.columns=brand,price"], ["features.columns=brand", "fuse=only"]])
    def test_same_answers_after_load(self, options: list[str], tmp_path: Path) -> None:
        made = fitted(*options, data=dataset(items())).recommender
        assert any(isinstance(part, FeatureEmbedding) for part in made.model.items)
        made.save(tmp_path / "m")
        again = Recommender.load(tmp_path / "m")
        assert again.recommend(user=3, k=5) == made.recommend(user=3, k=5)
        assert again.recommend(history=[2, 5], k=5) == made.recommend(history=[2, 5], k=5)
        again.save(tmp_path / "twice")
        assert Recommender.load(tmp_path / "twice").recommend(user=3, k=5) == made.recommend(user=3, k=5)

    def test_off_by_default(self) -> None:
        assert same(fitted(data=dataset(items())), fitted())

    def test_an_item_of_the_table_without_events_is_placed_by_its_brand_and_never_fitted_on(self) -> None:
        table = pl.concat([items(), items(ITEMS + 1).tail(1).with_columns(price=pl.lit(1e9), brand=pl.lit("new"))])
        made = fitted("features.columns=brand,price", data=dataset(table)).recommender
        assert made.inputs is not None
        encoder = made.inputs.features
        assert encoder is not None
        assert encoder.categories["brand"].categories == ["b0", "b1", "b2", "b3"]
        assert encoder.numbers["price"].shift == pytest.approx(np.mean(range(1, ITEMS + 1)))
        assert ITEMS + 1 in made.recommend(history=[1], k=ITEMS).ids

    def test_a_damaged_file_and_a_wrong_name_are_named(self, tmp_path: Path) -> None:
        with pytest.raises(ColumnError, match=r"no column 'colour'.*known: title, brand, price"):
            fitted("features.columns=colour", data=dataset(items()))
        made = fitted("features.columns=brand", data=dataset(items())).recommender

        def damage(folder: Path) -> None:
            (folder / "features.json").write_text('{"config": {}, "categories": {"brand": {"kind": "one_hot"}}}')

        made.save(tmp_path / "m", damage)
        with pytest.raises(CheckpointError, match="one_hot encoder is damaged"):
            Recommender.load(tmp_path / "m")


def fit_and_load(tmp_path: Path, *options: str, table: pl.DataFrame | None = None) -> list[NeuralRecommender]:
    """`temporec fit --set ...`: what it returns and what it saved."""
    settings, rest = apply_overrides(
        Settings(), parse_overrides([*SMALL, "canary=false", "baselines=[popularity]", *RUNNING, *options])
    )
    report = workflow.fit(events(), table, config().override(rest), settings=settings, out=tmp_path / "m")
    both = [report.recommender, Recommender.load(tmp_path / "m")]
    return [each for each in both if isinstance(each, NeuralRecommender)]


class TestEvents:
    def test_kinds_values_and_times_through_fit(self, tmp_path: Path) -> None:
        made, again = fit_and_load(tmp_path, "events=time,event_kind,event_value")
        assert len(made.model.events) == 3
        for event in made.model.events:
            assert all(bool(weight.detach().any()) for weight in event.parameters())
        for user in range(10):
            assert made.recommend(user=user, k=5) == again.recommend(user=user, k=5)
        everybody = made.recommend_many(k=3)
        assert everybody.equals(again.recommend_many(k=3))
        assert everybody.filter(pl.col("user") == 4)["item"].to_list() == made.recommend(user=4, k=3).ids

    @pytest.mark.parametrize("name", ["event_kind", "event_value"])
    def test_what_an_event_was_enters_the_answer(self, name: str) -> None:
        made = fitted(f"events={name}").recommender
        known = made.log.rows(np.arange(5))
        blank = replace(known, kinds=None, values=None)
        assert not torch.equal(made.score(known).clone(), made.score(blank))
        one = made.recommend(user=2, k=3, filters=Filters(exclude_seen=False))
        assert [row.score for row in one] == pytest.approx(made.score(known)[2].topk(3).values.tolist(), abs=1e-5)

    def test_a_kind_that_comes_later_does_not_renumber_the_others(self) -> None:
        made = fitted("events=event_kind").recommender
        before, others = made.recommend(user=2, k=3), made.recommend_many(users=[3], k=3)
        event = {"user": 2, "item": 7, "time": 2 * 10**12, "kind": "gift"}
        made.update(pl.DataFrame([event]))
        assert made.dataset.interactions.kinds == ("buy", "gift", "view")
        assert made.recommend_many(users=[3], k=3).equals(others)
        assert made.recommend(user=2, k=3) != before

    def test_a_kind_of_the_future_changes_no_bit_of_training(self) -> None:
        last = pl.col("time") == pl.col("time").max().over("user")
        later = events().with_columns(kind=pl.when(last).then(pl.lit("add")).otherwise("kind"))
        plain, changed = (leave_last_out(build_dataset(frame)).train for frame in (events(), later))
        assert same(fitted("events=event_kind", data=plain), fitted("events=event_kind", data=changed))

    def test_events_given_with_a_request(self) -> None:
        """Their kind and value count; without a kind, or with a new one, it is unknown, and the value is the mean."""
        made = fitted("events=event_kind,event_value").recommender
        known = made.log.rows(np.asarray([2]))
        given = [5, Event(6, kind="view", value=4.0), Event(7, kind="gift")]
        asked = made.histories([Query(history=[Event(8, kind="buy")]), Query(user=2, history=given)])
        assert known.kinds is not None
        assert known.values is not None
        assert asked.kinds is not None
        assert asked.values is not None
        assert asked.kinds.tolist() == [0, *known.kinds.tolist(), -1, 1, -1]
        np.testing.assert_array_equal(asked.values, [np.nan, *known.values.tolist(), np.nan, 4.0, np.nan])
        plain, viewed, bought = (
            made.recommend(user=2, history=[event], k=3) for event in (6, Event(6, kind="view"), Event(6, kind="buy"))
        )
        assert all(np.isfinite(row.score) for row in plain)
        assert plain != viewed != bought


def test_the_moment_of_the_request_changes_the_answer(tmp_path: Path) -> None:
    made, again = fit_and_load(tmp_path, "head.request_time=true", "training.epochs=4")
    last = int(made.log.rows(np.asarray([3])).times[-1]) / 1000
    soon, late, never = (made.recommend(user=3, k=5, at=at) for at in (last + 86_400, last + 3 * 86_400, None))
    assert soon != late
    assert soon != never
    assert again.recommend(user=3, k=5, at=last + 86_400) == soon


def test_one_hot_items_through_fit(tmp_path: Path) -> None:
    made, again = fit_and_load(tmp_path, "fuse=one_hot", f"encoder.dim={ITEMS}", table=items())
    assert isinstance(made.model.items[0], OneHotEmbedding)
    assert torch.equal(made.model.item_table()[1:], torch.eye(ITEMS))
    assert made.recommend(user=3, k=5) == again.recommend(user=3, k=5)
