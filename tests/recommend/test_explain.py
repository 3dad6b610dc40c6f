"""Explanations: figures equal real re-scoring, every filter is named, and the sentences say the true facts."""

import json
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from temporec.baselines.markov import Markov
from temporec.baselines.popularity import Popularity
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset, build_dataset
from temporec.errors import UnknownIdError
from temporec.ranking.filters import Filters
from temporec.recommend.base import Recommender
from temporec.recommend.explain import explain, explain_many, with_reasons
from temporec.recommend.explanation import Explanation, Fact, FactKind
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.query import Event, Query
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions

T0, DAY = 1_700_000_000, 86_400  # seconds
ITEMS = 20


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Users walk along a circle of items in pairs of moments, with kinds of events; "i19" is in no event."""
    rows = [
        (f"u{u}", f"i{(u + t) % (ITEMS - 1)}", 1000 * (T0 + DAY * (t // 2) + u), "buy" if t % 3 else "view")
        for u in range(30)
        for t in range(6)
    ]
    colours = ["red", "blue"] * (ITEMS // 2)
    items = pl.DataFrame(
        {
            "item": [f"i{i}" for i in range(ITEMS)],
            "title": [f"{colour} thing {i}" for i, colour in enumerate(colours)],
            "colour": pl.Series(colours, dtype=pl.Categorical),
        }
    )
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time", "kind"], orient="row"), items)


def fit(dataset: Dataset, **options: Any) -> NeuralRecommender:
    config = {
        "encoder": {"kind": "gru", "dim": 16, "max_len": 4}, "dropout": 0.0,
        "training": {"epochs": 20, "lr": 0.01, "tokens": 256}, **options,
    }  # fmt: skip
    return fit_recommender(dataset, FitConfig.of(config), RunOptions(precision="fp32")).recommender


@pytest.fixture(scope="module")
def timed(dataset: Dataset) -> NeuralRecommender:
    return fit(dataset, events=["time", "event_kind"])


@pytest.fixture(scope="module")
def untimed(dataset: Dataset) -> NeuralRecommender:
    return fit(dataset, text={"encoder": "none"})


@pytest.fixture(scope="module", params=["timed gru", "untimed gru", "markov"])
def any_model(
    request: pytest.FixtureRequest, dataset: Dataset, timed: NeuralRecommender, untimed: NeuralRecommender
) -> Recommender:
    return {"timed gru": timed, "untimed gru": untimed}.get(request.param) or Markov().fit(dataset, exclude_seen=True)


def one_by_one(model: Recommender, history: Histories, order: list[int], times: list[int]) -> Tensor:
    """Scores of one history with some of its events in another order, or at other times."""
    kinds = None if history.kinds is None else history.kinds[order]
    offsets = np.asarray([0, len(order)])
    changed = replace(history, items=history.items[order], times=np.asarray(times), offsets=offsets, kinds=kinds)
    return model.score(changed)[0].clone()


def rank_of(number: int, scores: Tensor, mask: Tensor) -> int:
    """Place in the sorted list of what may be shown and the item itself."""
    rivals = [i for i in range(len(scores)) if mask[i] or i == number]
    return 1 + sorted(rivals, key=lambda i: (-float(scores[i]), i)).index(number)


@pytest.mark.parametrize(
    "query",
    [
        Query(user="u3", k=4),
        Query(user="u3", history=[Event("i2", T0 + 9 * DAY, "buy"), "i5"], at=T0 + 12 * DAY),
        Query(history=["i1", "i7", "i1"], k=30, filters=Filters(exclude_seen=False)),
    ],
)
def test_figures_are_those_of_real_rescoring_one_by_one(any_model: Recommender, query: Query) -> None:
    history = any_model.histories([query])
    whole, times = list(range(len(history.items))), history.times.tolist()
    scores, mask = any_model.score(history)[0].clone(), any_model.mask(query, history.items)
    count = min(len(whole), any_model.max_len or 50)
    for item in ("i9", "i1", "i19"):
        number = int(any_model.catalog.vocabulary.encode([item])[0])
        found = any_model.explain(item, query)
        assert found.score == float(scores[number])
        assert found.rank == rank_of(number, scores, mask)
        assert sorted(event.events_ago for event in found.events) == list(range(1, count + 1))
        for event in found.events:
            place = len(whole) - event.events_ago
            rest = whole[:place] + whole[place + 1 :]
            without = one_by_one(any_model, history, rest, [times[i] for i in rest])
            assert event.item == any_model.catalog.vocabulary.decode([int(history.items[place])])[0]
            assert event.score_change == pytest.approx(float(without[number] - scores[number]), abs=1e-4)
            assert event.rank_without == rank_of(number, without, mask)
            assert event.seconds == ((times[-1] if query.at is None else 1000 * query.at) - times[place]) / 1000  # type: ignore[operator]
            if found.age_by == "time":
                new = one_by_one(any_model, history, whole, times[:place] + [times[-1]] * event.events_ago)
            else:
                new = one_by_one(any_model, history, [*rest, place], [*(times[i] for i in rest), times[-1]])
            assert event.age_change == pytest.approx(float(new[number] - scores[number]), abs=1e-4)
        changes = [event.score_change for event in found.events]
        assert changes == sorted(changes)  # type: ignore[type-var]


def test_age_is_time_where_the_model_feels_time(timed: NeuralRecommender, untimed: NeuralRecommender) -> None:
    assert timed.explain("i9", user="u3").age_by == "time"
    assert untimed.explain("i9", user="u3").age_by == "position"
    assert timed.explain("i9", history=["i7", "i8"]).age_by == "position"  # their times are equal


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, ITEMS - 1), max_size=9), st.integers(1, 2 * ITEMS), st.booleans(), st.sampled_from([0, 0.6])
)
def test_places_and_probabilities_are_those_of_recommend(
    timed: NeuralRecommender, history: list[int], k: int, seen: bool, diversity: float
) -> None:
    filters = Filters(exclude_seen=seen, blocked=["i4"])
    query = Query(history=[f"i{i}" for i in history], k=k, filters=filters, diversity=diversity)
    answer = timed.recommend(query)
    found = {e.item: e for e in explain_many(timed, query, [f"i{i}" for i in range(ITEMS)])}
    assert {item for item, e in found.items() if e.place is not None} == set(answer.ids)
    for place, row in enumerate(answer.items, 1):
        e = found[row.item]
        assert (e.place, e.score, e.title, e.why_not, e.source) == (place, row.score, row.title, (), answer.source)
        assert e.probability == pytest.approx(row.probability, rel=1e-4)
        assert diversity > 0 or e.rank == place
    for e in found.values():
        assert bool(e.why_not) == (e.place is None)
        assert e.gap == pytest.approx(e.score - min(row.score for row in answer.items), abs=1e-5)
        assert ("blocked" in e.why_not) == (e.item == "i4")
        assert ("seen" in e.why_not) == (seen and e.item in query.history)
        if e.why_not == ("rank",):
            assert e.gap is not None
            assert e.gap <= 0
        assert all(fact.to_text() in e.to_text() for fact in e.facts)
        assert json.loads(json.dumps(e.to_dict()))["rank"] == e.rank


REASONS = {
    "seen": ({}, "i4", "Not shown because the history has it already. By score it would be at rank"),
    "blocked": ({"filters": Filters(blocked=["i9"])}, "i9", "Not shown because it is blocked."),
    "not_allowed": ({"filters": Filters(allowed=["i10"])}, "i9", "Not shown because it is not one of the allowed"),
    "category": ({"filters": Filters(category={"colour": "red"})}, "i9", "Not shown because it is not of a wanted cat"),
    "not_candidate": ({"candidates": ["i10", "i11"]}, "i9", "Not shown because it is not one of the candidates."),
    "rank": ({"k": 1}, "i19", "Not among the 1 items shown: rank"),
}  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_for_a_missing_item(any_model: Recommender, reason: str) -> None:
    fields, item, said = REASONS[reason]
    query = Query(user="u3", **fields)  # type: ignore[arg-type]
    found = any_model.explain(item, query)
    assert found.why_not == (reason,)
    assert found.place is None
    assert found.why.startswith(said)
    assert found.to_text().startswith(found.why)
    assert (found.probability is None) == (reason != "rank")
    assert item not in any_model.recommend(query).ids
    assert 1 <= found.rank <= found.of


def test_all_filters_that_remove_an_item_are_named(any_model: Recommender) -> None:
    filters = Filters(blocked=["i5"], allowed=["i9", "i10"], category={"colour": ["red"]})
    found = any_model.explain("i5", user="u3", filters=filters, candidates=["i9"])
    assert found.why_not == ("seen", "not_allowed", "blocked", "category", "not_candidate")
    assert found.of == 1  # the item alone: nothing is left to show
    assert found.gap is None


def test_a_diverse_list_passes_items_over(timed: NeuralRecommender) -> None:
    query = Query(user="u3", k=3, diversity=0.95)
    answer = timed.recommend(query)
    missing = next(item for item in timed.recommend(user="u3", k=ITEMS).ids if item not in answer.ids)
    found = timed.explain(missing, query)
    assert found.why_not == ("diversity",)
    assert found.rank <= max(timed.explain(item, query).rank for item in answer.ids)
    assert "to keep the list diverse" in found.why


def test_unknown_ids_are_errors(any_model: Recommender) -> None:
    for unknown in ("nothing", "PAD", 0):
        with pytest.raises(UnknownIdError, match=repr(str(unknown)).strip("'")):
            any_model.explain(unknown, user="u3")
    with pytest.raises(UnknownIdError, match="nobody"):
        any_model.explain("i9", user="nobody")


def test_a_user_without_history_gets_popularity(any_model: Recommender) -> None:
    found = any_model.explain("i9", k=3)
    counts = np.bincount(any_model.dataset.interactions.item, minlength=any_model.catalog.size)
    own = int(counts[any_model.catalog.vocabulary.encode(["i9"])[0]])
    assert found.source == "popularity"
    assert found.events == ()
    assert (found.popularity.events, found.popularity.share) == (own, own / counts.sum())
    assert found.popularity.rank == 1 + int((counts > own).sum())
    assert "Nothing is known of this user" in found.to_text()
    assert any_model.explain("i19").popularity.events == 0
    first = any_model.recommend(k=1).ids[0]
    assert any_model.explain(first).why.startswith(f"It is number 1 of {ITEMS} by popularity: ")


def test_the_only_event_has_no_change_of_score(any_model: Recommender) -> None:
    found = any_model.explain("i4", history=["i3"])
    (event,) = found.events
    assert event.score_change is None
    number = int(any_model.catalog.vocabulary.encode(["i4"])[0])
    mask = any_model.mask(Query(), any_model.catalog.vocabulary.encode(["i3"]))
    assert event.rank_without == rank_of(number, any_model.popularity, mask)
    assert "is the only event known" in found.why


def test_a_method_without_history_says_so(dataset: Dataset) -> None:
    found = Popularity().fit(dataset).explain("i9", user="u3", k=ITEMS)
    assert {event.score_change for event in found.events} == {0.0}
    assert "No single one of the last 6 events carries it" in found.to_text()
    assert found.why.startswith("It is number")
    assert found.similarity_by is None


def test_an_item_that_the_user_has_had(any_model: Recommender) -> None:
    found = any_model.explain("i1", history=["i1", "i2", "i1"], filters=Filters(exclude_seen=False), k=ITEMS)
    assert "It is itself in the history: 2 of the last 3 events are about it." in found.to_text()
    assert "repeat" not in {fact.kind for fact in any_model.explain("i3", history=["i1", "i2"]).facts}


def test_similarity_is_by_words_where_the_model_has_read_them(
    timed: NeuralRecommender, untimed: NeuralRecommender, dataset: Dataset
) -> None:
    query = Query(user="u3", k=ITEMS)
    words, items = timed.explain("i9", query), untimed.explain("i9", query)
    assert (words.similarity_by, items.similarity_by) == ("text", "item")
    rows = dataset.catalog.vocabulary.encode(["i9", *(event.item for event in words.events)]) - 1
    assert timed.inputs is not None
    texts = timed.inputs.vectors.vectorizer.transform([dataset.catalog.texts()[row] for row in rows])
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    assert [e.similarity for e in words.events] == pytest.approx((unit[1:] @ unit[0]).tolist(), abs=1e-3)
    vectors = torch.nn.functional.normalize(untimed.item_vectors, dim=1)
    for event in items.events:
        pair = dataset.catalog.vocabulary.encode(["i9", event.item]).astype(np.int64)
        assert event.similarity == pytest.approx(float(vectors[pair[0]] @ vectors[pair[1]]), abs=1e-5)
    best = max(words.events, key=lambda event: event.similarity or 0)
    assert f'"{best.title}"' in next(fact for fact in words.facts if fact.kind == "text_similarity").to_text()


def test_one_call_scores_all_counterfactuals(any_model: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, score = [], any_model.score

    def counted(histories: Histories) -> Tensor:
        calls.append(len(histories))
        return score(histories)

    monkeypatch.setattr(any_model, "score", counted)
    explain_many(any_model, Query(user="u3"), ["i9", "i10", "i11"])
    assert calls == [1, 3 * min(6, any_model.max_len or 50)]


def test_long_histories_are_cut_to_the_last_50_events(dataset: Dataset) -> None:
    found = explain(Markov().fit(dataset), Query(history=[f"i{t % 19}" for t in range(200)]), "i19")
    assert sorted(event.events_ago for event in found.events) == list(range(1, 51))


def test_a_log_without_times(dataset: Dataset) -> None:
    frame = dataset.interactions.to_frame(dataset.catalog.vocabulary).select("user", "item")
    found = Markov().fit(build_dataset(frame)).explain("i9", user="u3", at=T0)
    assert {event.seconds for event in found.events} == {None}
    assert found.title == "i9"
    assert "before" not in found.to_text()


def test_reasons_stand_beside_the_answer(any_model: Recommender) -> None:
    query = Query(user="u3", k=3)
    plain = any_model.recommend(query)
    answer = with_reasons(any_model, query, plain)
    assert answer.ids == plain.ids
    for row, shown in zip(answer.items, answer.to_dict()["items"], strict=True):
        assert row.why == shown["why"] == any_model.explain(row.item, query).why
    assert "why" not in plain.to_dict()["items"][0]
    nothing = Query(user="u3", candidates=["i4"])  # seen
    assert len(with_reasons(any_model, nothing, any_model.recommend(nothing))) == 0


def words(kind: FactKind, **numbers: float) -> str:
    return Fact(kind, ("i1",), ("WHITE LANTERN",), numbers).to_text()


def test_sentences() -> None:
    numbers = {"score_change": -0.8, "rank": 1, "rank_without": 14, "events_ago": 2}
    assert words("carried", **numbers, seconds_before_last=3 * DAY) == (
        'Recommended mainly because of "WHITE LANTERN" (2 events ago, 3 days before the last one): '
        "without it the score falls by 0.80 and the rank from 1 to 14."
    )
    numbers = {"score_change": 0.034, "rank": 1200, "rank_without": 7, "events_ago": 1}
    assert words("opposed", **numbers, seconds_ago=3600) == (
        '"WHITE LANTERN" (the last event, 1 hour before the request) spoke against it: '
        "without it the score rises by 0.034 and the rank from 1,200 to 7."
    )
    numbers = {"score_change": -0.8, "rank": 5, "rank_without": 4, "events_ago": 1}
    assert words("helped", **numbers).endswith("without it the score falls by 0.80 and the rank rises from 5 to 4.")
    assert words("helped", **numbers | {"rank_without": 5}).endswith("by 0.80 and the rank stays 5.")
    assert words("age_by_time", score_change=0.25, events_ago=2).endswith(" the score would be 0.25 higher.")
    assert words("age_by_position", score_change=-0.25, events_ago=2).endswith(" the score would be 0.25 lower.")
    assert words("age_by_position", score_change=1e-5, events_ago=2).endswith(" the score would be the same.")


def test_every_kind_of_fact_has_its_sentence() -> None:
    names = (
        "rank of k shown score gap probability place rank_without score_change events_ago seconds_ago cosine events "
        "share largest_fall times"
    )
    for kind in get_args(FactKind):
        text = words(kind, **dict.fromkeys(names.split(), 0.5))
        assert text[0] in '"' or text[0].isupper()
        assert text.endswith(".")


def test_the_text_is_made_of_true_facts(timed: NeuralRecommender) -> None:
    found: Explanation = timed.explain("i9", user="u3", k=3)
    assert found.place == 1
    main = found.events[0]
    assert found.facts[0].kind == "carried"
    assert found.facts[0].items == (main.item,)
    assert f'Recommended mainly because of "{main.title}" (' in found.why
    assert f"the score falls by {-(main.score_change or 0):.2f} and the rank" in found.why
    for fact in found.facts:
        assert set(fact.items) <= {found.item, *(event.item for event in found.events)}
        assert all(title in found.to_text() for title in fact.titles if fact.kind in {"carried", "helped", "opposed"})
