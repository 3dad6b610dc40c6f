"""Planted challengers: the better is promoted, the worse is not, and what clicks say sends a version back."""

import numpy as np
import pytest

from temporec.errors import ConfigError
from temporec.online.gate import Gate, GateConfig, Trial

RNG = np.random.default_rng(0)


def shadow(gap: float, events: int, spread: float = 0.05) -> Gate:
    """A champion with a mean of 0.5 and a challenger that is `gap` better."""
    gate = Gate()
    champion = RNG.choice([0.0, 1.0], events)
    challenger = champion + gap + RNG.normal(0.0, spread, events)
    gate.add(champion.tolist(), challenger.tolist())
    return gate


@pytest.mark.parametrize(
    ("gap", "verdict"), [(0.05, "better"), (0.0, "fresher"), (-0.002, "fresher"), (-0.05, "worse"), (-0.009, "worse")]
)
def test_the_verdict_on_planted_challengers(gap: float, verdict: str) -> None:
    ruling = shadow(gap, 2_000).rule()
    assert ruling.verdict == verdict
    assert ruling.promotes == (verdict != "worse")
    assert ruling.events == 2_000
    assert ruling.low <= gap <= ruling.high or abs(gap - ruling.low) < 0.003


def test_fewer_than_two_thousand_events_never_decide() -> None:
    gate = shadow(0.5, 1_999)
    assert gate.rule().verdict == "wait"
    gate.add([0.0], [1.0])
    assert gate.rule().verdict == "better"
    with pytest.raises(ConfigError, match="window"):
        GateConfig.of({"window": 1_999})


def test_noise_waits_and_is_dropped_in_the_end() -> None:
    gate = Gate()
    verdicts = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        champion = rng.choice([0.0, 1.0], 2_000)
        challenger = rng.permutation(champion)  # as good, but it hits elsewhere: the interval is wide
        gate.add(champion.tolist(), challenger.tolist())
        verdicts.append(gate.rule().verdict)
    assert verdicts == ["wait"] * 4 + ["worse"]


def test_only_the_newest_window_decides() -> None:
    """A bad first window, too noisy to decide, does not hold up a challenger that the newest one proves."""
    gate = Gate()
    champion = RNG.choice([0.0, 1.0], 2_000)
    gate.add(champion.tolist(), (RNG.permutation(champion) - 0.02).tolist())
    assert gate.rule().verdict == "wait"
    gate.add([0.5] * 1_999, [0.51] * 1_999)
    assert gate.rule().verdict == "wait"
    gate.add([0.5], [0.51])
    ruling = gate.rule()
    assert (ruling.verdict, ruling.events) == ("better", 2_000)
    assert ruling.challenger == pytest.approx(0.51)


def feedback(trial: Trial, version: str, users: int, clicks: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for user in range(users):
        for item in range(10):
            record = {"version": version, "user": f"{version}-{user}", "request": f"r{user}", "item": item}
            trial.take({**record, "action": "shown"})
            if rng.random() < clicks:
                trial.take({**record, "action": "clicked"})


@pytest.mark.parametrize(("clicks", "verdict"), [(0.05, "worse"), (0.1, "fresher"), (0.2, "better")])
def test_live_feedback_of_concurrent_shares(clicks: float, verdict: str) -> None:
    trial = Trial("v2", "v1", GateConfig(patience=3))
    verdicts = []
    for part in range(3):
        feedback(trial, "v1", 200 * (part + 1), 0.1, 1)
        feedback(trial, "v2", 200 * (part + 1), clicks, 2)
        verdicts.append(trial.rule().verdict)
    assert verdicts[-1] == verdict if verdict == "fresher" else verdicts[0] == verdict
    if verdict == "fresher":
        assert verdicts[:2] == ["wait", "wait"]


def test_little_feedback_waits() -> None:
    trial = Trial("v2", "v1")
    feedback(trial, "v1", 1_000, 0.5, 1)
    feedback(trial, "v2", 100, 0.0, 2)
    assert trial.rule().verdict == "wait"


def test_only_what_was_shown_by_the_version_counts_and_only_once() -> None:
    trial = Trial("v2", "v1")
    shown = {"version": "v2", "user": 1, "request": "r", "item": 5, "action": "shown"}
    for _ in range(3):
        trial.take(shown)
    trial.take({**shown, "item": 6, "action": "clicked"})
    trial.take({**shown, "version": "v9"})
    trial.take({**shown, "user": None, "request": None})
    items, clicked = trial.rates("v2")
    assert items.tolist() == [1.0]
    assert clicked.tolist() == [0.0]
    trial.take({**shown, "action": "clicked"})
    trial.take({**shown, "action": "clicked"})
    assert trial.rates("v2")[1].tolist() == [1.0]


def test_many_clicks_of_one_user_are_one_case() -> None:
    """All 2,000 recommendations of the new version went to two users: their zero clicks prove little."""
    trial = Trial("v2", "v1")
    feedback(trial, "v1", 300, 0.1, 1)
    for user, hits in ((1, 0), (2, 190)):
        for item in range(1_000):
            record = {"version": "v2", "user": user, "request": f"r{item}", "item": item}
            trial.take({**record, "action": "shown"})
            if item < hits:
                trial.take({**record, "action": "clicked"})
    ruling = trial.rule()
    assert ruling.verdict == "wait"
    assert ruling.high - ruling.low > 0.15
