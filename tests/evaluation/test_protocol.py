"""Evaluation against a slow twin, and the rules that it states."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.evaluation.scorer import DAY, Scorer, random_dataset

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.data.split import Cases, Split, global_time, leave_last_out, split
from temporec.errors import ConfigError, DataError
from temporec.evaluation.protocol import EvaluationConfig, Result, evaluate
from temporec.evaluation.segments import popularity_bands
from temporec.metrics.ranks import NEVER


@pytest.fixture(scope="module")
def made() -> Split:
    return leave_last_out(random_dataset())


@pytest.fixture(scope="module")
def result(made: Split) -> Result:
    return evaluate(Scorer(made.train), made.test, train=made.train)


def naive_ranks(recommender: Scorer, cases: Cases, exclude: bool) -> list[list[int]]:
    """Sort in words: every item not worse than the target, itself included, unless another target is tied with it."""
    ranks = []
    for b in range(len(cases)):
        one = cases.rows(np.asarray([b]))
        scores = recommender.score(one.histories)[0].tolist()
        hidden = {0, *(one.histories.items.tolist() if exclude else [])}
        shown = [item for item in range(len(scores)) if item not in hidden]
        targets = list(dict.fromkeys(one.targets.tolist()))
        case = []
        for target in targets:
            if target in hidden:
                case.append(NEVER)
                continue
            others = [i for i in shown if scores[i] >= scores[target] and i not in targets]
            own = [t for t in targets if t in shown and (-scores[t], t) <= (-scores[target], target)]
            case.append(len(others) + len(own))
        ranks.append(case)
    return ranks


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("target", ["next_event", "next_basket"])
def test_slow_twin(exclude: bool, target: str) -> None:
    dataset = random_dataset(seed=3)
    days = dataset.interactions.time // (5 * DAY) * (5 * DAY)  # many events tie: baskets
    baskets = Dataset(replace(dataset.interactions, time=days), dataset.catalog)
    made = split(baskets, "leave-last-out", target)  # type: ignore[arg-type]
    recommender = Scorer(made.train)
    found = evaluate(recommender, made.test, EvaluationConfig(exclude_seen=exclude), train=made.train)
    ranks = naive_ranks(recommender, made.test, exclude)
    assert found.answers.ranks.tolist() == [rank for case in ranks for rank in case]
    for k in (5, 10, 20):
        hits = [[rank <= k for rank in case] for case in ranks]
        gain = [sum(1 / math.log2(1 + r) for r in case if r <= k) for case in ranks]
        best = [sum(1 / math.log2(1 + r) for r in range(1, min(k, len(case)) + 1)) for case in ranks]
        expected = {
            f"hit_rate@{k}": np.mean([any(case) for case in hits]),
            f"recall@{k}": np.mean([sum(case) / len(case) for case in hits]),
            f"precision@{k}": np.mean([sum(case) / k for case in hits]),
            f"ndcg@{k}": np.mean([g / b for g, b in zip(gain, best, strict=True)]),
            f"mrr@{k}": np.mean([1 / min(case) if min(case) <= k else 0 for case in ranks]),
        }
        assert {name: found.metrics[name] for name in expected} == pytest.approx(expected)


def test_equal_scores_never_help(made: Split) -> None:
    flat = evaluate(Scorer(made.train, levels=1), made.test, EvaluationConfig(exclude_seen=False))
    assert (flat.answers.ranks[made.test.targets > 0] == len(made.train.catalog)).all()
    assert flat.metrics["hit_rate@20"] == 0.0


def test_rows_asked_for_at_once_do_not_matter(made: Split, monkeypatch: pytest.MonkeyPatch, result: Result) -> None:
    recommender = Scorer(made.train)
    whole = recommender.chunks
    monkeypatch.setattr(recommender, "chunks", lambda histories: whole(histories, 7))
    again = evaluate(recommender, made.test, train=made.train)
    assert recommender.calls > 5
    assert again.to_dict() == result.to_dict()
    assert again.predictions.equals(result.predictions)


def test_seen_and_unknown_targets_are_misses(made: Split) -> None:
    """A target that may not be shown is a miss at every k, also where k exceeds the catalog."""
    cases = made.test.rows(np.arange(2))
    seen = int(cases.histories.items[0])
    cases = replace(cases, targets=np.asarray([seen, 0], dtype=np.int32))
    config = EvaluationConfig(ks=(1000,), exclude_seen=True)
    found = evaluate(Scorer(made.train), cases, config)
    assert found.metrics["hit_rate@1000"] == 0.0
    assert (found.counts["hidden_targets"], found.counts["unknown_targets"]) == (1, 1)
    assert found.predictions["rank"].to_list() == [None, None]
    assert found.predictions["targets"].to_list()[1] == [None]


def test_cold_users_are_a_segment_not_a_headline() -> None:
    dataset = random_dataset(users=200, events=800)
    made = global_time(dataset, 30 * DAY, 40 * DAY)
    lengths = made.test.histories.lengths
    assert 0 < (lengths == 0).sum() < len(lengths)
    found = evaluate(Scorer(made.train), made.test, train=made.train)
    warm = evaluate(Scorer(made.train), made.test.rows(np.flatnonzero(lengths > 0)), train=made.train)
    assert found.metrics == pytest.approx(warm.metrics, nan_ok=True)
    assert found.counts["cold_users"] == (lengths == 0).sum()
    cold = next(part for part in found.segments if "cold" in part.name and part.group == "history length")
    assert cold.cases == found.counts["cold_users"]
    assert f"{found.counts['cases']:,} cases with at least one known event" in " ".join(found.rules)
    assert sum(part.cases for part in found.segments if part.group == "history length") == len(lengths)


def test_all_cold(made: Split) -> None:
    empty = Histories(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(3, np.int64))
    cases = Cases(empty, np.asarray([1, 2], dtype=np.int32), np.asarray([0, 1, 2]))
    found = evaluate(Scorer(made.train), cases).to_dict()
    assert found["cases"] == 0
    assert found["test"]["ndcg@10"] is None
    json.dumps(found, allow_nan=False)


def test_popularity_bands() -> None:
    bands = popularity_bands(np.asarray([0, 3, 1, 0, 2, 3]))
    assert bands.tolist() == [3, 0, 2, 3, 2, 1]


def test_target_segments_part_the_targets(made: Split, result: Result) -> None:
    parts = [part for part in result.segments if part.group == "target popularity"]
    assert sum(part.cases for part in parts) == len(made.test)
    mean = sum(part.cases * part.values["ndcg@10"] for part in parts) / len(made.test)
    assert mean == pytest.approx(result.metrics["ndcg@10"])


def test_json(result: Result) -> None:
    figures = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    for name in ("hit_rate@10", "ndcg@10", "recall@5", "precision@20", "f1@10", "mrr@10", "map@10", "accuracy@1"):
        low, high = figures["interval"][name]
        assert low <= figures["test"][name] <= high
    for name in ("coverage@10", "novelty@10", "popularity@10", "diversity@10"):
        assert isinstance(figures["test"][name], float)
    assert "training users" in figures["rules"]  # no categories, vectors or texts here
    assert figures["cases"] == 60


def test_predictions_speak_external_ids(made: Split, result: Result) -> None:
    recommender = Scorer(made.train)
    frame = result.predictions
    assert frame["user"].to_list() == made.train.interactions.users.ids.to_list()
    row = frame.row(5, named=True)
    case = made.test.rows(np.asarray([5]))
    scores = recommender.score(case.histories)[0].clone()
    scores[[0, *case.histories.items.tolist()]] = -torch.inf
    order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))[:10]
    assert row["items"] == made.train.catalog.vocabulary.decode(order)
    assert row["probabilities"] == pytest.approx(torch.softmax(scores, 0)[order].tolist())
    assert row["targets"] == made.train.catalog.vocabulary.decode(case.targets)
    assert row["known_events"] == case.histories.lengths[0]


def test_short_lists_end(made: Split) -> None:
    found = evaluate(Scorer(made.train), made.test, EvaluationConfig(list_k=1000))
    rows = found.predictions
    seen = [len(set(made.test.rows(np.asarray([b])).histories.items.tolist())) for b in range(len(made.test))]
    assert rows["items"].list.len().to_list() == [len(made.train.catalog) - n for n in seen]
    assert rows["probabilities"].list.sum().to_list() == pytest.approx([1.0] * len(rows), abs=1e-5)


def test_refusals(made: Split) -> None:
    recommender = Scorer(made.train)
    with pytest.raises(DataError, match="no cases"):
        evaluate(recommender, made.test.rows(np.zeros(0, np.int64)))
    with pytest.raises(DataError, match="catalog"):
        evaluate(recommender, made.test, train=random_dataset(items=10))
    with pytest.raises(ConfigError, match="ks"):
        EvaluationConfig.of({"ks": []})
