"""The doctor: planted faults are found, planted habits are named, and a healthy log is left in peace."""

import json

import numpy as np
import polars as pl
import pytest

from temporec.data.doctor import diagnose
from temporec.data.readers import map_columns
from temporec.data.samples import online_retail
from temporec.errors import ColumnError, EmptyLogError

T0 = 1_600_000_000
DAY = 86_400


def stationary(seed: int = 0, n: int = 20_000, users: int = 400, items: int = 100) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    frame = pl.DataFrame({
        "user": draw.integers(0, users, n), "item": draw.integers(0, items, n), "time": T0 + np.arange(n) * 600,
    })  # fmt: skip
    return frame.unique(["user", "item"], keep="first", maintain_order=True)


def test_a_healthy_log() -> None:
    found = diagnose(stationary())
    assert not found.findings
    assert found.options["protocol"] == "global-time"
    assert found.options["seen"] == "exclude"
    assert found.options["target"] == "next_event"
    drift = found.figures["drift"]
    assert drift["between_quarters"] < 2 * drift["by_chance"] + 0.01
    assert found.figures["repeats"]["repeat_share"] == 0


def test_planted_faults_are_found() -> None:
    log = stationary().with_columns(pl.col("time").cast(pl.Float64), value=pl.lit(1.0))
    log = pl.concat([log, log.head(300)])
    log = log.with_columns(
        user=pl.when(pl.int_range(pl.len()) < 50).then(None).otherwise("user"),
        time=pl.when(pl.int_range(pl.len()).is_between(100, 150)).then(float("nan")).otherwise("time"),
        value=pl.when(pl.int_range(pl.len()).is_between(200, 210)).then(float("inf")).otherwise("value"),
    )
    text = diagnose(log).to_text()
    for words in (
        "have no user",
        "times cannot be read",
        "repeat an earlier row in every column",
        "NaN or infinite",
        "back in time",
    ):
        assert words in text


def test_drift_and_cold_items() -> None:
    log = stationary(n=8000)
    log = log.with_columns(pl.col("item") + pl.int_range(pl.len()) * 11 // pl.len() * 60)
    found = diagnose(log)
    assert found.figures["drift"]["between_quarters"] > 0.3
    text = " ".join(map(str, found.findings))
    assert "popularity drifts" in text
    assert "never seen before" in text


def test_new_users_everywhere_ask_for_leave_last_out() -> None:
    n = 6000
    log = pl.DataFrame({"user": np.arange(n) // 5, "item": np.arange(n) % 97, "time": T0 + np.arange(n) * 60})
    found = diagnose(log)
    assert found.options["protocol"] == "leave-last-out"
    assert "too few have a history" in found.to_text()


def test_baskets_repeats_kinds_and_length() -> None:
    draw = np.random.default_rng(1)
    n = 4000
    log = pl.DataFrame({
        "user": np.arange(n) % 20, "item": draw.integers(0, 12, n), "time": T0 + np.arange(n) // 200 * DAY,
        "kind": draw.choice(["view", "purchase"], n, p=[0.9, 0.1]),
    })  # fmt: skip
    options = diagnose(log).options
    assert options["target"] == "next_basket"
    assert options["seen"] == "include"
    assert options["clean.kinds"] == "[purchase]"
    assert options["max_len"] == 200


def test_without_times() -> None:
    found = diagnose(stationary().drop("time"))
    assert found.options["protocol"] == "leave-last-out"
    assert set(found.figures) == {"repeats", "users", "items"}


def test_tiny_logs_and_mixed_units() -> None:
    one = pl.DataFrame({"user": [1], "item": ["a"], "time": [T0]})
    assert diagnose(one).rows == 1
    mixed = pl.DataFrame({"user": [1, 1, 1], "item": [1, 2, 3], "time": [T0, T0 + 1, (T0 + 2) * 1000]})
    assert "clean.mixed_units=mend" in diagnose(mixed).to_text()
    with pytest.raises(EmptyLogError):
        diagnose(one.clear())
    with pytest.raises(EmptyLogError, match="none of 1 rows"):
        diagnose(one.with_columns(user=None))
    with pytest.raises(ColumnError, match="column 'when' holds 'soon'"):
        diagnose(one.with_columns(time=pl.lit("soon")), time_name="when")
    with pytest.raises(ColumnError):
        diagnose(one.drop("item"))


def test_online_retail_as_it_comes() -> None:
    found = diagnose(map_columns(online_retail().head(60_000)))
    text = found.to_text()
    for words in ("have no user", "cancelled orders", "POST", "share their minute"):
        assert words in text
    assert found.options["target"] == "next_basket"
    assert found.options["seen"] == "include"
    json.dumps(found.to_dict(), allow_nan=False)
    assert ("time", "resolution", "minute") in found.table()
