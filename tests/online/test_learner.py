"""The learner on a stream whose world has changed: versions, proofs, the way back, items and users that come and go."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from temporec.baselines.popularity import Popularity
from temporec.data.synthetic import markov_log
from temporec.errors import ConfigError, StoreError
from temporec.online.learner import Learner, LearnerConfig, Report, only_one
from temporec.online.stream import read_round
from temporec.recommend.base import Recommender
from temporec.recommend.recommender import NeuralRecommender
from temporec.store.events import EventLog, open_event_log
from temporec.store.records import Record
from temporec.store.reports import read_reports
from temporec.store.versions import Home

Events = Callable[..., list[Record]]


def follow(home: Home, log: EventLog, config: LearnerConfig) -> tuple[Learner, list[Report]]:
    learner = Learner(home, log, config)
    return learner, list(learner.follow(once=True))


def news(reports: list[Report]) -> str:
    return "\n".join(line for report in reports for line in report.news)


@pytest.fixture
def changed(home: Home, log: EventLog, small: LearnerConfig, events: Events) -> tuple[Learner, list[Report]]:
    """500 users of a new world have come by."""
    log.append(events("new", 500))
    return follow(home, log, small)


@pytest.mark.slow
def test_a_changed_world_is_learned_and_the_version_that_knows_it_answers(
    home: Home, log: EventLog, changed: tuple[Learner, list[Report]]
) -> None:
    learner, reports = changed
    predicted = [report for report in reports if report.ndcg is not None]
    assert predicted[-1].ndcg > 2 * predicted[0].ndcg  # type: ignore[operator]
    assert "v2 promoted: better over 2," in news(reports)
    pointer = home.pointer()
    assert (pointer.current, pointer.previous, pointer.control, pointer.share) == ("v2", "v1", "v1", 0.1)
    versions = {info.name: info for info in home.versions()}
    assert versions["v2"].log_offset == 2_000
    assert versions["v2"].parent == "v1"
    assert versions["v3"].parent == "v2"
    assert versions["v3"].metrics["ndcg@10"] > versions["v2"].metrics["ndcg@10"]
    lines = read_reports(home)
    assert [line["offset"] for line in lines] == [report.offset for report in reports]
    assert learner.student.offset == log.end()


@pytest.mark.slow
def test_a_change_on_the_way_is_found_and_raises_the_rate(
    home: Home, log: EventLog, small: LearnerConfig, events: Events
) -> None:
    log.append(events("old", 200))
    change = log.end()
    log.append(events("new", 100, first_user=3_000))
    _, reports = follow(home, log, small)
    found = [report.offset for report in reports if report.drift]
    assert found
    assert change < found[0] <= change + 1_000
    assert {report.rate for report in reports if report.offset <= change} == {1.0}
    assert max(report.rate for report in reports) > 2.0


@pytest.mark.slow
def test_a_version_holds_every_event_up_to_its_offset_once(
    home: Home, log: EventLog, changed: tuple[Learner, list[Report]]
) -> None:
    recommender = Recommender.load(home.folder("v2"))
    own = Recommender.load(home.folder("v1")).dataset.interactions
    table = recommender.dataset.interactions.to_frame(recommender.catalog.vocabulary)
    bodies = [record.body for record in log.read(0, 2_000)]
    assert len(table) == len(own) + 2_000
    came = table.filter(pl.col("user") >= 1_000).select("user", "item", "time").sort("user", "time")
    assert came.equals(pl.DataFrame(bodies).select("user", "item", "time").sort("user", "time").cast(came.schema))


@pytest.mark.slow
def test_the_learner_goes_on_from_the_offset_of_the_newest_version(
    home: Home, log: EventLog, changed: tuple[Learner, list[Report]], small: LearnerConfig, events: Events
) -> None:
    first, _ = changed
    newest = home.versions()[-1]
    again = Learner(home, log, small)
    assert again.challenger_name == newest.name
    assert again.student.offset == newest.log_offset
    list(again.follow(once=True))
    assert again.student.offset == first.student.offset == log.end()
    assert len(again.gate) == len(first.gate)
    one, two = (learner.student.training.tensors() for learner in (first, again))
    assert torch_close(one["model.items.0.weight"], two["model.items.0.weight"])


def torch_close(a: object, b: object) -> bool:
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1] > 0.95  # type: ignore[call-overload]


@pytest.mark.parametrize("damaged", ["challenger", "champion"])
@pytest.mark.slow
def test_the_better_of_champion_and_planted_challenger_answers(
    home: Home, log: EventLog, small: LearnerConfig, events: Events, damaged: str
) -> None:
    def write(folder: Path) -> None:
        recommender = Recommender.load(home.folder("v1"))
        assert isinstance(recommender, NeuralRecommender)
        with torch.no_grad():
            for parameter in recommender.model.parameters():
                parameter.normal_()
        recommender.save(folder)

    def copy(folder: Path) -> None:
        Recommender.load(home.folder("v1")).save(folder)

    if damaged == "champion":
        home.activate(home.add(write, parent=None, log_offset=0, metrics={}))
        planted = home.add(copy, parent="v2", log_offset=0, metrics={})
    else:
        planted = home.add(write, parent="v1", log_offset=0, metrics={})
    champion = home.pointer().current
    log.append(events("old", 240))
    learner = Learner(home, log, small)
    assert learner.challenger_name == planted
    told = news(list(learner.follow(once=True)))
    if damaged == "champion":
        assert f"{planted} promoted: better over 2," in told
        assert home.pointer().current == planted
    else:
        assert f"{planted} dropped: worse over 2," in told
        assert home.pointer().current == champion


def test_the_catalog_grows_with_items_and_their_first_events(
    home: Home, log: EventLog, small: LearnerConfig, events: Events
) -> None:
    log.append([Record(f"i{item}", "items", {"action": "put", "item": item}) for item in (501, 502)])
    log.append(events("old", 30))
    follows = [Record(f"n{u}-{t}", "events", {"user": u, "item": item, "time": 10**12 + t}, u)
               for u in range(5_000, 5_150) for t, item in enumerate((501, 7, 503, 7))]  # fmt: skip
    log.append(follows)
    learner, _ = follow(home, log, small)
    student = learner.student
    assert len(student.recommender.catalog) == 33
    assert learner.champion.catalog.size == student.recommender.catalog.size
    numbers = student.recommender.catalog.vocabulary.encode([501, 502, 503])
    assert (student.training.counts[numbers] > 0).tolist() == [True, False, True]
    assert learner.finish() == "v2"
    saved = Recommender.load(home.folder("v2"))
    assert 503 in [each.item for each in saved.recommend(history=[501, 7], k=2).items]
    again = Learner(home, log, small)
    assert again.student.training.model.item_table().shape[0] == 34


def test_a_forgotten_user_leaves_histories_replay_and_the_next_version(
    home: Home, log: EventLog, small: LearnerConfig, events: Events
) -> None:
    log.append(events("old", 40))
    log.forget(1_003)
    log.forget(5)  # known from the fit
    log.append([Record("later", "events", {"user": 1_003, "item": 3, "time": 2 * 10**12}, 1_003)])
    learner, reports = follow(home, log, small)
    assert read_reports(home) == json.loads(json.dumps([report.to_dict() for report in reports]))
    owners = {piece.owner for piece in learner.student.replay.draw(10**6)}
    assert "1004" in owners
    assert "6" in owners
    assert not owners & {"1003", "5"}
    name = learner.finish()
    assert name is not None
    saved = Recommender.load(home.folder(name))
    assert 5 not in saved.users
    assert saved.log.lengths[saved.users.encode([1_003])].tolist() == [1]  # only what came after
    owner = pl.read_parquet(home.folder(name) / "learner" / "replay.parquet")["owner"]
    assert not owner.is_in(["1003", "5"]).any()


@pytest.mark.slow
def test_live_feedback_rolls_a_version_back_and_learning_goes_on_from_there(
    home: Home, log: EventLog, small: LearnerConfig, changed: tuple[Learner, list[Report]], events: Events
) -> None:
    learner, _ = changed
    serial = home.pointer().serial
    log.append(feedback("v2", 0.02) + feedback("v1", 0.2))
    reports = iter(learner.follow(once=True))
    assert any("v2 rolled back to v1: clicks per item shown -0." in line for each in reports for line in each.news)
    pointer = home.pointer()
    assert (pointer.current, pointer.control) == ("v1", None)
    assert pointer.serial == serial + 1
    assert learner.pointer == pointer
    assert learner.student.name == "v1"  # none of the versions that came from the bad one
    assert learner.student.offset == 0
    assert learner.challenger is None
    assert len(list(reports)) >= 20
    assert learner.student.offset == log.end()


@pytest.mark.slow
def test_good_feedback_ends_the_trial(
    home: Home, log: EventLog, small: LearnerConfig, changed: tuple[Learner, list[Report]]
) -> None:
    log.append(feedback("v2", 0.2) + feedback("v1", 0.05))
    again = Learner(home, log, small)  # also a learner that was started meanwhile sees the feedback
    reports = list(again.follow(once=True))
    assert "v2 has passed its trial" in news(reports)
    assert home.pointer().control is None
    assert home.pointer().current == "v2"
    assert home.pointer().previous == "v1"


def feedback(version: str, clicks: float) -> list[Record]:
    rng = np.random.default_rng(0)
    made = []
    for user in range(250):
        for item in range(1, 11):
            body = {"version": version, "request": f"r{user}", "item": item, "time": 1}
            name = f"{version}-{user}-{item}"
            made.append(Record(f"s-{name}", "feedback", {**body, "action": "shown"}, f"{version}-{user}"))
            if rng.random() < clicks:
                made.append(Record(f"c-{name}", "feedback", {**body, "action": "clicked"}, f"{version}-{user}"))
    return made


def test_somebody_else_may_change_the_current_version(
    home: Home, log: EventLog, small: LearnerConfig, events: Events
) -> None:
    log.append(events("old", 30))
    learner, _ = follow(home, log, small)
    name = learner.finish()
    assert name is not None
    home.activate(name)
    log.append(events("old", 30, first_user=3_000))
    reports = list(learner.follow(once=True))
    assert reports[0].news == (f"{name} is current; going on from offset 300",)
    assert learner.student.offset == log.end()
    assert learner.student.name == name


def test_events_that_come_late_take_their_place_and_are_taken_once(
    home: Home, log: EventLog, small: LearnerConfig
) -> None:
    times = {1: 300, 2: 100, 3: 200}
    log.append([Record(f"x{item}", "events", {"user": 9_000, "item": item, "time": at}, 9_000)
                for item, at in times.items()])  # fmt: skip
    learner, _ = follow(home, log, small)
    student = learner.student
    assert student.log.events(student.log.number(9_000))[0].tolist() == [2, 3, 1]
    again = read_round(log, 0, 10)
    assert again is not None
    assert student.take(again.events) == (None, [])
    assert student.new_events == 3


def test_events_that_a_new_fit_has_learned_are_not_learned_again(
    home: Home, log: EventLog, small: LearnerConfig, events: Events
) -> None:
    """The log holds events of the fit from before it: they are of the fit, also after the next version."""
    made = Recommender.load(home.folder("v1"))
    rows = (
        made.dataset.interactions.to_frame(made.catalog.vocabulary).head(20).select("user", "item", "time").to_dicts()
    )
    log.append([Record(f"known{n}", "events", row, row["user"]) for n, row in enumerate(rows[:10])])
    log.append(events("old", 3))
    log.append([Record(f"known{n}", "events", row, row["user"]) for n, row in enumerate(rows[10:], 10)])
    home.activate(home.add(made.save, parent=None, log_offset=0, metrics={}))
    learner = Learner(home, log, LearnerConfig.of({**small.to_dict(), "round": 20}))
    learner.step()
    assert learner.student.new_events == 10
    assert learner.finish() == "v3"
    list(learner.follow(once=True))
    assert learner.student.new_events == 20
    assert learner.student.offset == log.end()


def test_versions_that_nobody_needs_go_with_each_new_one(
    home: Home, log: EventLog, small: LearnerConfig, events: Events
) -> None:
    for _ in range(6):
        home.add(Recommender.load(home.folder("v1")).save, parent=None, log_offset=0, metrics={})
    log.append(events("old", 5))
    learner, _ = follow(home, log, small.override({"keep": 2}))
    assert learner.finish() == "v8"
    assert [info.name for info in home.versions()] == ["v1", "v7", "v8"]


def test_another_log_is_refused_and_an_empty_one_goes_on_behind(
    home: Home, log: EventLog, small: LearnerConfig, tmp_path: Path, events: Events
) -> None:
    home.activate(home.add(Recommender.load(home.folder("v1")).save, parent="v1", log_offset=700, metrics={}))
    with open_event_log(tmp_path / "new.db") as new:
        learner = Learner(home, new, small)
        new.append(events("old", 2))
        report = learner.step()
        assert report is not None
        assert (report.events, report.offset) == (20, 720)
    log.append(events("old", 2))
    with pytest.raises(StoreError, match="another log or an older copy"):
        Learner(home, log, small)


def test_only_one_learner_per_home(home: Home) -> None:
    with only_one(home), pytest.raises(StoreError, match="another process learns"), only_one(home):
        pass
    with only_one(home):
        pass


def test_a_baseline_does_not_learn_in_steps(home: Home, log: EventLog) -> None:
    plain = Popularity().fit(markov_log(20, 5))
    home.activate(home.add(plain.save, parent=None, log_offset=0, metrics={}))
    with pytest.raises(ConfigError, match="does not learn in small steps"):
        Learner(home, log)


def test_it_rests_between_rounds_unless_a_full_one_waits(
    home: Home, log: EventLog, small: LearnerConfig, events: Events
) -> None:
    learner = Learner(home, log, small)
    began = time.monotonic()
    learner._rest(began + 0.3, lambda: False)
    assert time.monotonic() - began >= 0.3
    learner._rest(time.monotonic() + 600, lambda: True)
    log.append(events("new", 1 + small.round // 4))
    assert log.end() >= small.round
    learner._rest(time.monotonic() + 600, lambda: False)
    assert time.monotonic() - began < 300
