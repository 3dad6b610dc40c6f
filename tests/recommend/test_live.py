"""A live recommender answers as the batch code does on the raw history, whatever comes in whatever order."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from temporec.baselines.popularity import Popularity
from temporec.data.dataset import Dataset, build_dataset
from temporec.errors import ConfigError, UnknownIdError
from temporec.ranking.filters import Filters
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.live import Live
from temporec.recommend.live_log import LogEvent
from temporec.recommend.query import Event, Query
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.snapshot import restore_snapshot, save_snapshot
from temporec.recommend.state import MARK
from temporec.runtime import RunOptions

T0 = 1_700_000_000_000  # milliseconds
ITEMS, WINDOW = 12, 4


def dataset() -> Dataset:
    rows = [(f"u{u}", f"i{(u + t) % ITEMS}", T0 + 1000 * (60 * t + u)) for u in range(10) for t in range(6)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    items = pl.DataFrame(
        {"item": [f"i{i}" for i in range(ITEMS)], "title": [f"thing number {i}" for i in range(ITEMS)]}
    )
    return build_dataset(frame, items)


@pytest.fixture(scope="module", params=["gru", "transformer", "hstu", "tcn"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = FitConfig.of(
        {
            "encoder": {"kind": request.param, "dim": 16, "max_len": WINDOW, "layers": 2}, "events": ["time"],
            "training": {"epochs": 2, "lr": 0.01}, "head": {"request_time": True},
        }
    )  # fmt: skip
    made = tmp_path_factory.mktemp("live") / "model"
    fit_recommender(dataset(), config, RunOptions(precision="fp32")).recommender.save(made)
    return made


@pytest.fixture
def live(folder: Path) -> Live:
    return Live(Recommender.load(folder))


def event(user: str, item: int, second: int, sequence: int) -> LogEvent:
    return LogEvent(user, f"i{item}", T0 + 1000 * second, sequence)


def batch_scores(live: Live, user: str, at: int | None = None) -> torch.Tensor:
    """By `forward` over the raw history."""
    history = live.log.histories([live.log.number(user)], None if at is None else np.asarray([at]))
    rec = live.recommender
    assert isinstance(rec, NeuralRecommender)
    with torch.no_grad():
        query = rec.model.query(rec.batch(history, history.starts()), rec.table(history))
        return rec.score_queries(query, history)[0].clone()


def live_scores(live: Live, user: str, at: int | None = None) -> torch.Tensor:
    number = live.log.number(user)
    histories = live.log.histories([number], None if at is None else np.asarray([at]))
    return live._scores(histories, [number], histories.lengths.tolist())[0].clone()


@settings(max_examples=25)
@given(st.data())
def test_states_equal_forward_on_the_raw_history(folder: Path, data: st.DataObject) -> None:
    """Events of several users, late ones and doubled ones among them, with answers in between."""
    live = Live(Recommender.load(folder))
    count = data.draw(st.integers(1, 12))
    for sequence in range(1, count + 1):
        user = data.draw(st.sampled_from(["u1", "u2", "new"]))
        made = event(user, data.draw(st.integers(0, ITEMS - 1)), data.draw(st.integers(0, 900)), sequence)
        assert live.take([made, made]) == 1
        asked = [user for user in ("u1", "u2", "new") if live.log.number(user) >= 0 and data.draw(st.booleans())]
        live.recommend_batch([Query(user=user) for user in asked])
    for user in ("u1", "u2", "u3"):
        at = data.draw(st.one_of(st.none(), st.integers(T0 + 10**6, T0 + 10**8)))
        torch.testing.assert_close(live_scores(live, user, at), batch_scores(live, user, at), atol=1e-3, rtol=1e-4)


def test_long_histories_and_late_events_between_marks(live: Live) -> None:
    live.take([event("u1", n % ITEMS, 1000 + 10 * n, n + 1) for n in range(3 * MARK)])
    torch.testing.assert_close(live_scores(live, "u1"), batch_scores(live, "u1"), atol=1e-3, rtol=1e-4)
    live.take([event("u1", 7, 1000 + 10 * (2 * MARK) + 5, 9999)])
    torch.testing.assert_close(live_scores(live, "u1"), batch_scores(live, "u1"), atol=1e-3, rtol=1e-4)
    live.take([event("u1", 3, 0, 10_000)])
    torch.testing.assert_close(live_scores(live, "u1"), batch_scores(live, "u1"), atol=1e-3, rtol=1e-4)


def test_answers_are_those_of_the_recommender_after_update(live: Live, folder: Path) -> None:
    plain = Recommender.load(folder)
    events = [("u1", 3, 500), ("u2", 5, 501), ("u1", 8, 502)]
    live.take([event(u, i, s, n) for n, (u, i, s) in enumerate(events, 1)])
    rows = [(u, f"i{i}", T0 + 1000 * s) for u, i, s in events]
    plain.update(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))
    queries = [
        Query(user="u1"), Query(user="u2", k=3, at="2023-12-01"), Query(history=["i1", "i2"]),
        Query(user="u1", history=["i4"]), Query(user="u1", filters=Filters(blocked=["i0"])), Query(),
        Query(user="u5", candidates=["i0", "i9", "i7"]), Query(user="u1", diversity=0.5, k=4),
    ]  # fmt: skip
    for query, answer in zip(queries, live.recommend_batch(queries), strict=True):
        expected = plain.recommend(query)
        assert not isinstance(answer, Exception)
        assert answer.ids == expected.ids
        assert answer.source == expected.source
        np.testing.assert_allclose([r.probability for r in answer], [r.probability for r in expected], rtol=1e-3)


def test_events_after_the_moment_of_the_request_do_not_count(live: Live, folder: Path) -> None:
    """Here as in the recommender, in a batch with other moments and with none, and for explanations too."""
    moment = (T0 + 1000 * (60 * 2 + 1)) / 1000  # u1's third event is of this moment
    plain = Recommender.load(folder)
    queries = [Query(user="u1"), Query(user="u1", at=moment), Query(user="u2"), Query(user="u2", at=moment + 1e6)]
    alone = [live.recommend(query) for query in queries]
    together = live.recommend_batch(queries)
    for query, one, answer in zip(queries, alone, together, strict=True):
        assert not isinstance(answer, Exception)
        expected = plain.recommend(query)
        assert answer.ids == one.ids == expected.ids
        np.testing.assert_allclose([r.score for r in answer], [r.score for r in expected], atol=1e-3)
    then = [Event(f"i{1 + t}", (T0 + 1000 * (60 * t + 1)) / 1000) for t in range(3)]
    as_it_was = plain.recommend(history=then, at=moment, filters=Filters(exclude_seen=False))
    now = live.recommend(user="u1", at=moment, filters=Filters(exclude_seen=False))
    assert as_it_was.ids == now.ids
    assert len(live.explain("i9", user="u1", at=moment).events) == 3
    assert len(live.explain("i9", user="u1").events) == 6 - max(0, 6 - (live.recommender.max_len or 6))


def test_a_changed_title_costs_no_state(live: Live) -> None:
    live.recommend_batch([Query(user=f"u{n}") for n in range(5)])
    assert live.states is not None
    held = len(live.states)
    assert live.put_items(pl.DataFrame({"item": ["i7"], "title": ["another thing"]})) == 0
    assert len(live.states) == held == 5
    titles = {row.item: row.title for row in live.recommend(user="u0", k=ITEMS, filters=Filters(exclude_seen=False))}
    assert titles["i7"] == "another thing"


def test_one_bad_query_spoils_no_other(live: Live) -> None:
    answers = live.recommend_batch([Query(user="u1"), Query(history=["nothing"]), Query(candidates=["no"]), Query()])
    assert [isinstance(answer, UnknownIdError) for answer in answers] == [False, True, True, False]


def test_an_unknown_user_gets_what_is_popular(live: Live) -> None:
    answer = live.recommend(user="nobody")
    assert (answer.source, answer.user) == ("popularity", "nobody")
    live.take([event("nobody", 2, 700, 1)])
    assert live.recommend(user="nobody").source == "model"


def test_unknown_items_are_refused_before_anything_is_taken(live: Live) -> None:
    with pytest.raises(UnknownIdError, match="'i99'"):
        live.take([event("u1", 1, 700, 1), event("u1", 99, 701, 2)])
    assert (live.offset, len(live.history("u1"))) == (0, 6)


def test_absent_items_are_not_shown_until_they_are_put_again(live: Live) -> None:
    first = live.recommend(user="u1", k=3).ids
    live.remove_items(first[:1])
    assert first[0] not in live.recommend(user="u1", k=ITEMS).ids
    assert first[0] not in live.similar("i3", k=ITEMS).ids
    assert live.put_items(pl.DataFrame({"item": first[:1], "title": ["back again"]})) == 0
    assert live.recommend(user="u1", k=1).items[0].title == "back again"


def test_new_items_can_be_recommended_and_bought_at_once(live: Live) -> None:
    assert live.put_items(pl.DataFrame({"item": ["fresh"], "title": ["thing number 3"]})) == 1
    assert "fresh" in live.recommend(user="u1", k=ITEMS + 1).ids
    live.take([LogEvent("u1", "fresh", T0 + 10**6, 1)])
    assert "fresh" not in live.recommend(user="u1", k=ITEMS + 1).ids
    torch.testing.assert_close(live_scores(live, "u1"), batch_scores(live, "u1"), atol=1e-3, rtol=1e-4)


def test_a_forgotten_user_is_nobody(live: Live) -> None:
    live.take([event("u1", 3, 700, 1)])
    live.recommend(user="u1")
    assert live.forget("u1") == 7
    assert live.history("u1") == []
    assert live.recommend(user="u1").source == "popularity"
    live.take([event("u1", 5, 800, 2)])
    assert [one.item for one in live.history("u1")] == ["i5"]


def test_a_snapshot_brings_everything_back(live: Live, folder: Path, tmp_path: Path) -> None:
    live.put_items(pl.DataFrame({"item": ["fresh"], "title": ["thing number 3"]}))
    live.take([event("u1", 3, 30, 1), event("new", 4, 700, 2), LogEvent("u3", "fresh", T0 + 10**6, 5)])
    live.remove_items(["i1"])
    live.forget("u2")
    save_snapshot(live, tmp_path / "snapshot")
    again = Live(Recommender.load(folder))
    restore_snapshot(again, tmp_path / "snapshot")
    users = ["u1", "u2", "u3", "u4", "new"]
    assert again.offset == live.offset == 5
    assert [again.history(user) for user in users] == [live.history(user) for user in users]
    assert again.take([event("u1", 3, 30, 1)]) == 0
    assert [again.recommend(user=user).ids for user in users] == [live.recommend(user=user).ids for user in users]


def test_states_are_bounded(folder: Path) -> None:
    live = Live(Recommender.load(folder))
    assert live.states is not None
    live.states.capacity = 3
    live.warm(live.busiest(10))
    assert len(live.states) == 3


def test_explanations_know_live_events(live: Live) -> None:
    live.take([event("u1", 3, 700, 1)])
    item = live.recommend(user="u1").ids[0]
    made = live.explain(item, user="u1")
    assert made.rank == 1
    assert made.to_dict()["item"] == item


def test_a_baseline_lives_too() -> None:
    popular = Live(Popularity().fit(dataset()))
    before = popular.recommend(user="u1").ids
    popular.take([LogEvent("u1", before[0], T0 + 10**6, 1)])
    answer = popular.recommend(user="u1", filters=Filters(exclude_seen=True))
    assert before[0] not in answer.ids
    with pytest.raises(ConfigError, match="cannot take new items"):
        popular.put_items(pl.DataFrame({"item": ["fresh"]}))


def test_a_log_without_times_keeps_the_order_of_arrival() -> None:
    frame = pl.DataFrame({"user": ["a", "a", "b", "b"], "item": [1, 2, 2, 3]})
    live = Live(Popularity().fit(build_dataset(frame)))
    live.take([LogEvent("a", 3, 5, 1), LogEvent("a", 1, 4, 2)])
    assert [one.item for one in live.history("a")] == [1, 2, 3, 1]
