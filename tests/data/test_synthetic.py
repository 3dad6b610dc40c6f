"""Synthetic logs: the stated best score is reached by whoever knows the rule, and by nobody else."""

import numpy as np
import pytest

from temporec.data.dataset import Dataset
from temporec.data.split import split
from temporec.data.synthetic import MarkovProcess, lag_log, markov_log, random_log, sine_series, time_log
from temporec.errors import DataError


def table(dataset: Dataset) -> np.ndarray:
    """Items as [users, length], in the external ids, which are the item numbers."""
    log = dataset.interactions
    assert dataset.catalog.vocabulary.decode(np.unique(log.item)) == np.unique(log.item).tolist()
    return log.item.reshape(len(log.users), -1)


@pytest.mark.parametrize("order", [1, 2])
def test_markov_best_hit_rate_is_what_the_process_itself_reaches(order: int) -> None:
    process = MarkovProcess(items=12, order=order, concentration=0.1, seed=3)
    dataset = process.sample(users=4000, length=8)
    cases = split(dataset, "leave-last-out").test
    for k in (1, 3):
        best = process.best_hit_rate(cases.histories, k)
        items = table(dataset)
        ranked = np.argsort(-process.table[process.contexts(items[:, -1 - order : -1])], axis=1)[:, :k] + 1
        assert (ranked == items[:, -1:]).any(axis=1).mean() == pytest.approx(best, abs=0.02)
        assert best < 0.98


def test_markov_ends() -> None:
    sure = MarkovProcess(items=20, concentration=1e-4)
    assert sure.best_hit_rate(split(sure.sample(50, 10), "leave-last-out").test.histories) > 0.97
    noise = MarkovProcess(items=20, concentration=1e3)
    assert noise.best_hit_rate(split(noise.sample(50, 10), "leave-last-out").test.histories) == pytest.approx(
        0.05, abs=0.01
    )
    assert np.array_equal(table(markov_log(5, 6, seed=1)), table(markov_log(5, 6, seed=1)))
    assert not np.array_equal(table(markov_log(5, 6, seed=1)), table(markov_log(5, 6, seed=2)))
    with pytest.raises(DataError, match="too many"):
        MarkovProcess(items=1000, order=3)
    with pytest.raises(DataError, match="concentration"):
        MarkovProcess(concentration=0.0)


@pytest.mark.parametrize("lag", [1, 5, 20])
def test_the_answer_is_decided_lag_events_before(lag: int) -> None:
    items = table(lag_log(lag, users=300, items=20, blocks=3, seed=lag))
    answers = items[:, -1]
    assert (answers == items[:, -1 - lag] + 5).all()
    assert set(answers) == {6, 7, 8, 9, 10}
    assert ((items > 5) & (items <= 10)).sum() == 300 * 3
    if lag > 1:  # nothing in between says anything: knowing the last event helps no more than guessing
        last = items[:, -2]
        assert (last > 10).all()
        best = sum(np.bincount(answers[last == filler]).max() for filler in set(last)) / 300
        assert best < 0.45
    with pytest.raises(DataError, match="items >= 8"):
        lag_log(2, items=6)


@pytest.mark.parametrize("decided_by", ["last_gap", "target_gap"])
def test_time_decides(decided_by: str) -> None:
    dataset = time_log(400, 12, items=10, decided_by=decided_by, seed=2)  # type: ignore[arg-type]
    items, times = table(dataset), dataset.interactions.time.reshape(400, 12)
    is_long = np.diff(times, axis=1) > 24 * 3_600_000
    gap = is_long[:, :-1] if decided_by == "last_gap" else is_long[:, 1:]
    keys = np.stack([items[:, 1:-1], gap], axis=-1).reshape(-1, 2)
    answers: dict[tuple[int, int], set[int]] = {}
    for (item, is_late), answer in zip(keys.tolist(), items[:, 2:].ravel().tolist(), strict=True):
        answers.setdefault((item, is_late), set()).add(answer)
    assert all(len(some) == 1 for some in answers.values())
    assert all(answers[item, 0] != answers[item, 1] for item in range(1, 11))
    assert gap.mean() == pytest.approx(0.5, abs=0.05)


def test_random_log() -> None:
    frame = random_log(1_000_000, users=1000, items=500, exponent=1.0, seed=0)
    counts = np.sort(np.bincount(frame["item"].to_numpy(), minlength=501)[1:])[::-1]
    expected = 1 / np.arange(1, 501)
    assert counts[:20] / 1e6 == pytest.approx((expected / expected.sum())[:20], rel=0.05)
    assert frame["user"].n_unique() == 1000
    assert frame.equals(random_log(1_000_000, users=1000, items=500, exponent=1.0, seed=0))
    assert random_log(10, 3, 4)["item"].is_between(1, 4).all()


def test_sine_series() -> None:
    series = sine_series(20_000, period=50, noise=0.3, seed=1)
    errors = series.values - series.clean
    assert np.sqrt((errors**2).mean()) == pytest.approx(series.best_rmse, rel=0.03)
    assert np.abs(errors).mean() == pytest.approx(series.best_mae, rel=0.03)
    assert series.clean[:50] == pytest.approx(series.clean[50:100], abs=1e-9)
