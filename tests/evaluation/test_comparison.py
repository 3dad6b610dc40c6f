"""Paired differences, and verdicts that say no more than the figures."""

from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.scorer import Scorer, random_dataset

from temporec.data.split import leave_last_out
from temporec.errors import DataError
from temporec.evaluation.comparison import compare_results
from temporec.evaluation.protocol import Result, evaluate
from temporec.metrics.intervals import paired_difference


@pytest.fixture(scope="module")
def result() -> Result:
    made = leave_last_out(random_dataset(users=100, events=1200))
    return evaluate(Scorer(made.train), made.test, train=made.train)


def with_values(result: Result, values: np.ndarray) -> Result:
    return replace(result, values={**result.values, "ndcg@10": values})


@pytest.fixture(scope="module")
def noisy(result: Result) -> dict[str, Result]:
    """Models and baselines of known strength on the same cases."""
    rng = np.random.default_rng(0)
    base = rng.random(len(result.cases))
    lift = {"popularity": -0.2, "knn": 0.0, "gru": 0.1, "lstm": 0.099, "same": 0.0, "bad": -0.3}
    noise = {name: rng.normal(0, 0.05, len(base)) for name in lift}
    return {name: with_values(result, base + by + noise[name]) for name, by in lift.items()}


def pick(noisy: dict[str, Result], *names: str) -> dict[str, Result]:
    return {name: noisy[name] for name in names}


def test_a_clear_winner(noisy: dict[str, Result]) -> None:
    found = compare_results(pick(noisy, "gru"), pick(noisy, "popularity", "knn"))
    gap = found.differences["gru"]
    expected = paired_difference(noisy["gru"].values["ndcg@10"], noisy["knn"].values["ndcg@10"])
    assert gap == expected
    assert (found.best_model, found.best_baseline) == ("gru", "knn")
    low, high = f"{gap.low:.3f}", f"{gap.high:.3f}"
    assert found.verdict == (
        f"gru beats the best baseline, knn, by {gap.mean:.3f} NDCG@10 (95 % interval {low} to {high})."
    )
    assert found.to_dict()["differences"]["gru"]["clear"] is True


def test_no_difference_is_no_win(noisy: dict[str, Result]) -> None:
    found = compare_results(pick(noisy, "same"), pick(noisy, "knn"))
    assert "does not beat the best baseline, knn: the interval includes zero" in found.verdict


def test_a_loser_is_named_so(noisy: dict[str, Result]) -> None:
    found = compare_results(pick(noisy, "bad"), pick(noisy, "knn"))
    assert found.verdict.startswith("bad is worse than the best baseline, knn, by 0.")
    assert "-" not in found.verdict


def test_several_models(noisy: dict[str, Result]) -> None:
    found = compare_results(pick(noisy, "lstm", "bad", "gru"), pick(noisy, "knn", "popularity"))
    assert found.verdict.startswith(f"The best model is {found.best_model} with NDCG@10 ")
    for name in ("lstm", "bad", "gru"):
        assert f"{name} " in found.verdict
    assert set(found.means) == {"lstm", "bad", "gru", "knn", "popularity"}


def test_without_one_side(noisy: dict[str, Result]) -> None:
    assert "no baseline" in compare_results(pick(noisy, "gru"), {}).verdict
    assert "best baseline is knn" in compare_results({}, pick(noisy, "knn", "popularity")).verdict


def test_refusals(noisy: dict[str, Result], result: Result) -> None:
    with pytest.raises(DataError, match="nothing to compare"):
        compare_results({}, {})
    with pytest.raises(DataError, match="name of a model and of a baseline"):
        compare_results(pick(noisy, "gru"), pick(noisy, "gru"))
    made = leave_last_out(random_dataset(users=40, events=600))
    other = evaluate(Scorer(made.train), made.test)
    with pytest.raises(DataError, match="not evaluated on the same cases"):
        compare_results({"a": result}, {"b": other})
    with pytest.raises(DataError, match="not evaluated by ndcg@7"):
        compare_results({"a": result}, {}, metric="ndcg@7")
