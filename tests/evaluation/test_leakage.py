"""The canary sings for each kind of leak, and is silent where there is none."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from tests.evaluation.scorer import DAY, Scorer, random_log

from temporec.baselines.popularity import Popularity
from temporec.data.batch import Histories
from temporec.data.clean import CleanConfig, clean
from temporec.data.dataset import Dataset, build_dataset
from temporec.data.split import leave_last_out
from temporec.data.text_vectors import TextVectorConfig, TextVectorizer
from temporec.errors import DataError
from temporec.evaluation.leakage import CanaryConfig, ItemScores, item_scores, leak_canary, past_events
from temporec.evaluation.planting import plants_for
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.runtime import RunOptions

START = 1_300_000_000_000
CUT = START + 70 * DAY
CORE = CleanConfig(min_user_events=3, min_item_events=6)
WORDS = ("red lipstick", "matte blush", "night cream", "hand soap", "wool scarf", "tea pot")


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    """Each event carries the title of its item."""
    frame = random_log(users=50, items=40, events=800).with_columns(time=pl.col("time") + START)
    titles = [f"{WORDS[i % 6]} {WORDS[i % 5]} no {i}" for i in (frame["item"] - 100).to_list()]
    return frame.with_columns(title=pl.Series(titles))


def training(frame: pl.DataFrame, fit_until: int | None = CUT) -> Dataset:
    """Cleaned, with k-core and titles, cut at CUT."""
    cleaned, _ = clean(frame.select("user", "item", "time"), CORE, fit_until=fit_until)
    past = cleaned.filter(pl.col("time") < CUT)
    titles = frame.filter(pl.col("item").is_in(past["item"].implode())).unique("item", maintain_order=True)
    return build_dataset(past, titles.select("item", "title"))


def popular(frame: pl.DataFrame, events: pl.DataFrame, fit_until: int | None = CUT) -> ItemScores:
    return item_scores(Popularity().fit(training(frame, fit_until)), events)


def counted(frame: pl.DataFrame, events: pl.DataFrame) -> ItemScores:
    """The leak: all events are counted."""
    items = training(frame).catalog.vocabulary.ids
    count = frame.group_by("item").len()
    own = pl.DataFrame({"item": items}).join(count, on="item", how="left", maintain_order="left")["len"].to_numpy()
    return ItemScores(items.to_list(), np.tile(own.astype(np.float64), (events["user"].n_unique(), 1)))


def worded(frame: pl.DataFrame, events: pl.DataFrame, *, future: bool) -> ItemScores:
    """Likeness of titles to those of the history; with `future`, the leak: TF-IDF fitted on all titles of the log."""
    train = training(frame)
    titles = train.catalog.frame["title"].to_list()
    every = frame.unique("item", maintain_order=True).sort("item")["title"].to_list()
    vectorizer = TextVectorizer(TextVectorConfig(dim=8)).fit(every if future else titles)
    vectors = vectorizer.transform(titles)
    users = events["user"].rle_id().to_numpy()
    numbers = train.catalog.vocabulary.encode_series(events["item"])
    history = np.zeros((users.max() + 1, 8))
    np.add.at(history, users[numbers > 0], vectors[numbers[numbers > 0] - 1])
    return ItemScores(train.catalog.vocabulary.ids.to_list(), history @ vectors.T)


def neural(frame: pl.DataFrame, events: pl.DataFrame) -> ItemScores:
    """The whole way: cleaning, k-core, numbering, text vectors, a trained network."""
    config = FitConfig.of({"encoder": {"kind": "gru", "dim": 8}, "training": {"epochs": 1}, "text": {"dim": 8}})
    return item_scores(fit_recommender(training(frame), config, RunOptions(seed=1)).recommender, events)


Pipeline = Callable[[pl.DataFrame, pl.DataFrame], ItemScores]
CLEAN: dict[str, Pipeline] = {
    "popularity": popular,
    "text": lambda frame, events: worded(frame, events, future=False),
    "neural": neural,
}
LEAKY: dict[str, Pipeline] = {
    "k-core over the whole log": lambda frame, events: popular(frame, events, None),
    "popularity of all events": counted,
    "TF-IDF of future titles": lambda frame, events: worded(frame, events, future=True),
}


@pytest.mark.parametrize("name", CLEAN)
def test_silent_where_nothing_leaks(log: pl.DataFrame, name: str) -> None:
    events = past_events(log, CUT, users=20)
    report = leak_canary(log, CUT, lambda frame: CLEAN[name](frame, events))
    assert report.passed, report.sentence
    assert report.max_difference == 0.0
    assert len(report.plants) == 6
    assert report.sentence.startswith("No leak")
    assert report.to_dict()["passed"] is True


@pytest.mark.parametrize("name", LEAKY)
def test_a_planted_leak_is_caught(log: pl.DataFrame, name: str) -> None:
    events = past_events(log, CUT, users=20)
    report = leak_canary(log, CUT, lambda frame: LEAKY[name](frame, events))
    assert not report.passed
    assert report.deterministic is True
    assert report.sentence.startswith("Leak: the future reaches the scores of the past")
    assert any(plant.difference > 0 for plant in report.plants)


def test_a_known_new_item_is_a_leak(log: pl.DataFrame) -> None:
    """Nothing is learned from the future, but its items stand in the catalog."""
    events = past_events(log, CUT)

    def run(frame: pl.DataFrame) -> ItemScores:
        return ItemScores(sorted(set(frame["item"])), np.zeros((len(events), frame["item"].n_unique())))

    report = leak_canary(log, CUT, run)
    assert not report.passed
    assert report.to_dict()["max_difference"] is None
    assert "came into the catalog" in report.sentence


def test_chance_is_not_called_a_leak(log: pl.DataFrame) -> None:
    events = past_events(log, CUT)
    rng = np.random.default_rng(0)

    def run(frame: pl.DataFrame) -> ItemScores:
        found = popular(frame, events)
        return ItemScores(found.items, found.scores + rng.normal(0, 1e-6, found.scores.shape))

    report = leak_canary(log, CUT, run)
    assert (report.passed, report.deterministic) == (False, False)
    assert "Not settled" in report.sentence
    assert leak_canary(log, CUT, run, config=CanaryConfig(tolerance=1e-4)).passed


@pytest.mark.parametrize("text_ids", [False, True])
def test_plants_leave_the_past_alone(log: pl.DataFrame, text_ids: bool) -> None:
    if text_ids:
        log = log.with_columns(item=pl.format("i{}", "item"))
    seen: list[pl.DataFrame] = []

    def run(frame: pl.DataFrame) -> ItemScores:
        seen.append(frame)
        return ItemScores([1], np.ones((1, 1)))

    leak_canary(log, CUT, run, config=CanaryConfig(users=None))
    truth, *planted = seen
    assert truth.equals(log)
    for frame in planted:
        assert frame.schema == log.schema
        assert frame.filter(pl.col("time") < CUT).equals(log.filter(pl.col("time") < CUT))
        assert not frame.equals(log)
    assert all(not a.equals(b) for i, a in enumerate(planted) for b in planted[:i])
    first = list(seen)
    seen.clear()
    leak_canary(log, CUT, run, config=CanaryConfig(users=None))
    assert all(a.equals(b) for a, b in zip(first, seen, strict=True))


def test_leave_last_out(log: pl.DataFrame) -> None:
    """Held-out rows are marked; they keep users and times, so that they stay held out."""
    log = log.sort("user", "time", maintain_order=True).with_columns(item=pl.col("item").cast(pl.Int64))
    held = log.select(pl.int_range(pl.len()).reverse().over("user") < 2).to_series()
    events = log.filter(~held).select("user", "item", "time").filter(pl.col("user") < "u020")

    marked = log.with_columns(held=held)  # a pipeline may need the mark itself

    def run(frame: pl.DataFrame, leaky: bool = False) -> ItemScores:
        assert frame["held"].equals(held)
        dataset = build_dataset(frame.select("user", "item", "time"))
        train = leave_last_out(dataset).train
        found = item_scores(Popularity().fit(train), events)
        if leaky:
            shift = float(np.bincount(dataset.interactions.item).std())
            return ItemScores(found.items, found.scores + shift)
        return found

    config = CanaryConfig(users=None)
    assert leak_canary(marked, held, run, config=config).passed
    assert not leak_canary(marked, held, lambda frame: run(frame, True), config=config).passed


def test_item_scores_is_the_score_of_each_history(log: pl.DataFrame) -> None:
    """A history without items that the catalog lacks; columns by external id."""
    events = past_events(log, CUT, users=5)
    recommender = Scorer(training(log))
    found = item_scores(recommender, events)
    items = recommender.catalog.vocabulary
    assert list(found.items) == items.ids.to_list()
    assert not events["item"].is_in(items.ids.implode()).all()
    for row, user in enumerate(events["user"].unique(maintain_order=True)):
        known = items.encode(events.filter(pl.col("user") == user)["item"].to_list(), unknown="drop")
        one = Histories(known, np.zeros(len(known), np.int64), np.asarray([0, len(known)]))
        assert found.scores[row].tolist() == recommender.score(one)[0, 1:].tolist()


def test_refusals(log: pl.DataFrame) -> None:
    def silent(frame: pl.DataFrame) -> ItemScores:
        return ItemScores([1], np.full((1, 1), np.nan))

    with pytest.raises(DataError, match="both sides of the cut"):
        leak_canary(log, 0, silent)
    with pytest.raises(DataError, match="no finite score"):
        leak_canary(log, CUT, silent)
    with pytest.raises(DataError, match="must be bool"):
        leak_canary(log, pl.Series([True]), silent)
    with pytest.raises(DataError, match="no column 'time'"):
        leak_canary(log.drop("time"), CUT, silent)


def test_a_plant_repeats_no_event_that_stands_already() -> None:
    """Cleaning would drop it, another event would be held out, and the canary would see a leak that is none."""
    draw = np.random.default_rng(0)
    rows = [(user, int(draw.integers(4)), day) for user in range(60) for day in (1, 1, 2, 2, 2)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").unique(maintain_order=True)
    held = frame.select(pl.int_range(pl.len()).over("user") >= pl.len().over("user") - 2).to_series()
    for plant in plants_for(frame, held, seed=0, in_place=True):
        assert not plant.frame.is_duplicated().any(), plant.name
        assert 0 < plant.rows <= held.sum(), plant.name
        assert plant.frame.filter(~held).equals(frame.filter(~held))
    free = [plant.frame.is_duplicated().sum() for plant in plants_for(frame, held, seed=0, in_place=False)]
    assert max(free[:3]) > 0  # without the rule there are some
