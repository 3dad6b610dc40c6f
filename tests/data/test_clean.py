"""Cleaning: one small log per rule, and nothing before the cut may depend on anything after it."""

import json
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from temporec.data.clean import CleanConfig, CleanReport, clean
from temporec.data.times import parse_times
from temporec.errors import ColumnError, ConfigError, EmptyLogError

T0 = 1_600_000_000  # seconds, September 2020
DAY = 86_400


def log(**columns: Any) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    return pl.DataFrame({"user": [1] * n, "item": list(range(n)), "time": [T0 + i for i in range(n)]} | columns)


def only(report: CleanReport) -> tuple[str, int]:
    assert len(report.rules) == 1, report.to_text()
    return report.rules[0].rule, report.rules[0].rows


def test_a_clean_log_stays_as_it_is_and_in_file_order() -> None:
    frame = log(time=[T0 + 5, T0, T0 + 3], value=[1.0, 2.0, 3.0])
    out, report = clean(frame)
    assert_frame_equal(out, frame.with_columns(pl.col("time") * 1000))
    assert report.to_dict() == {"rows_in": 3, "rows_out": 3, "rules": []}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", ["int", "float", "text"])
def test_units_are_found_by_size(unit: str, kind: str) -> None:
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    whole = [T0 * per, (T0 + 1) * per]
    forms: dict[str, list[Any]] = {"int": whole, "float": [float(x) for x in whole], "text": [str(x) for x in whole]}
    column = pl.Series("t", forms[kind])
    assert parse_times(column).time.to_list() == [T0 * 1000, T0 * 1000 + 1000]


def test_fractions_of_seconds_survive() -> None:
    assert parse_times(pl.Series([T0 + 0.123, T0 + 0.999])).time.to_list() == [T0 * 1000 + 123, T0 * 1000 + 999]
    assert parse_times(pl.Series([f"{T0}.123", f"{T0}"])).time.to_list() == [T0 * 1000 + 123, T0 * 1000]


INSTANT = int(datetime(2011, 12, 3, 8, 26, tzinfo=UTC).timestamp() * 1000)
FORMS = [
    "2011-12-03T08:26:00Z", "2011-12-03 08:26:00", "2011-12-03T08:26", "2011-12-03 08:26", "2011-12-03T16:26:00+08:00",
    "2011-12-03T16:26:00.000+0800", "2011/12/03 08:26:00", "03.12.2011 08:26", "20111203082600",
    "Sat, 03 Dec 2011 08:26:00 +0000",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_text_times(text: str) -> None:
    assert parse_times(pl.Series([text, None])).time.to_list() == [INSTANT, None]


def test_text_times_of_mixed_forms_and_zones_keep_their_rows() -> None:
    forms = [form for form in FORMS if form != "20111203082600"]
    assert parse_times(pl.Series([*forms, "soon", *forms])).time.to_list() == [INSTANT] * 9 + [None] + [INSTANT] * 9


def test_slashed_dates_say_how_they_were_read() -> None:
    doubt = parse_times(pl.Series(["12/3/2011 8:26"]))
    assert doubt.time[0] == INSTANT
    assert "nothing in the column settles it" in doubt.notes[0]
    day_first = parse_times(pl.Series(["3/12/2011 8:26", "13/12/2011 8:26"]))
    assert day_first.time[0] == INSTANT
    assert "day/month/year" in day_first.notes[0]


def test_dates_datetimes_and_zones() -> None:
    naive = pl.Series([datetime(2011, 12, 3, 8, 26)])
    assert parse_times(naive).time[0] == INSTANT
    assert parse_times(naive.dt.replace_time_zone("Asia/Shanghai")).time[0] == INSTANT - 8 * 3_600_000
    shanghai = CleanConfig(time_zone="Asia/Shanghai")
    assert parse_times(naive, shanghai).time[0] == INSTANT - 8 * 3_600_000
    assert parse_times(pl.Series(["2011-12-03T08:26:00", "2011-12-03T08:26:00Z"]), shanghai).time[1] == INSTANT
    assert parse_times(pl.Series([date(2020, 9, 13)])).time[0] == 1_599_955_200_000
    assert parse_times(pl.Series([20200913])).time[0] == 1_599_955_200_000
    with pytest.raises(ConfigError, match="Mars"):
        parse_times(naive, CleanConfig(time_zone="Mars"))


def test_numbers_that_are_no_unix_times_need_a_word() -> None:
    with pytest.raises(ColumnError, match="from 1 to 3, which are no Unix times"):
        clean(log(time=[1, 2, 3]))
    out, report = clean(log(time=[1, 2, 3]), CleanConfig(time_unit="relative"))
    assert out["time"].to_list() == [1000, 2000, 3000]
    assert not report.rules
    with pytest.raises(ColumnError, match="List"):
        clean(log(time=[[1], [2]]))


def test_mixed_units_stop_are_mended_or_dropped() -> None:
    frame = log(time=[T0, T0 + 1, (T0 + 2) * 1000])
    with pytest.raises(ColumnError, match=r"mixes units of time \(2 in s and 1 in ms\).*clean.mixed_units=mend"):
        clean(frame)
    out, report = clean(frame, CleanConfig(mixed_units="mend"))
    assert out["time"].to_list() == [T0 * 1000, T0 * 1000 + 1000, T0 * 1000 + 2000]
    assert only(report) == ("time_unit", 1)
    out, report = clean(frame, CleanConfig(mixed_units="drop"))
    assert len(out) == 2


def test_missing_unreadable_and_impossible() -> None:
    frame = log(
        user=[1, None, 1, 1, 1, 1, 1], item=["a", "b", None, "d", "e", "f", "g"],
        time=[float(T0), T0, T0, None, float("nan"), float("inf"), 5.0],
    )  # fmt: skip
    out, report = clean(frame)
    assert out["item"].to_list() == ["a"]
    found = {rule.rule: rule.rows for rule in report.rules}
    assert found == {"missing_user": 1, "missing_item": 1, "missing_time": 1, "unreadable_times": 2, "early_times": 1}
    json.dumps(report.to_dict(), allow_nan=False)
    _, report = clean(log(time=[T0, 3 * T0]))
    assert only(report) == ("future_times", 1)
    with pytest.raises(EmptyLogError, match="none of 1 rows; rule 'early_times'"):
        clean(log(time=["1970-01-01"]))


def test_a_time_column_that_cannot_be_read_at_all() -> None:
    with pytest.raises(ColumnError, match=r"^column 'when' holds 'soon'; none .* can be read; .*clean.time_format="):
        clean(log(time=[None, "soon"], user=[1, 1]), time_name="when")
    with pytest.raises(ColumnError, match="can be read as '%Y'"):
        clean(log(time=["2020-01-01"]), CleanConfig(time_format="%Y"))
    with pytest.raises(ColumnError, match=r"column 'when' mixes units"):
        clean(log(time=[T0, T0 * 1000]), time_name="when")
    with pytest.raises(ConfigError, match=r"clean.min_time 'soon' is no date"):
        clean(log(time=[T0]), CleanConfig(min_time="soon"))


def test_duplicates_are_whole_rows_and_need_times() -> None:
    frame = log(item=[1, 1, 1, 2], time=[T0, T0, T0, T0], value=[1.0, 1.0, 2.0, 1.0])
    out, report = clean(frame, CleanConfig(value_outliers="off"))
    assert only(report) == ("duplicates", 1)
    assert out.select("item", "value").rows() == [(1, 1.0), (1, 2.0), (2, 1.0)]
    assert len(clean(frame, CleanConfig(duplicates=False))[0]) == 4
    assert len(clean(frame.drop("time"))[0]) == 4


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from([1.0, None])), min_size=1, max_size=30))
def test_duplicates_agree_with_a_slow_twin(rows: list[tuple[int, int, float | None]]) -> None:
    frame = pl.DataFrame(rows, schema=["user", "item", "value"], orient="row").with_columns(time=pl.lit(T0))
    out, _ = clean(frame, CleanConfig(value_outliers="off"))
    assert out.select("user", "item", "value").rows() == list(dict.fromkeys(rows))


def test_repeats() -> None:
    frame = log(user=[1, 1, 2, 1, 1], item=[7, 7, 7, 8, 7], time=[T0, T0 + 5, T0 + 6, T0 + 7, T0 + 60])
    out, report = clean(frame, CleanConfig(repeat_seconds=10))
    assert only(report) == ("repeat_seconds", 1)
    assert out["time"].to_list() == [t * 1000 for t in (T0, T0 + 6, T0 + 7, T0 + 60)]
    out, report = clean(frame[[4, 0, 1, 2, 3]], CleanConfig(consecutive_repeats=True))
    assert only(report) == ("consecutive_repeats", 1)
    assert out["time"].to_list() == [t * 1000 for t in (T0 + 60, T0, T0 + 6, T0 + 7)]


def test_kinds_and_items() -> None:
    frame = log(item=["a", "POST", "POSTER"], kind=["buy", "buy", "view"])
    assert clean(frame, CleanConfig(drop_items="POST|D"))[0]["item"].to_list() == ["a", "POSTER"]
    assert clean(frame, CleanConfig(kinds=("view",)))[0]["item"].to_list() == ["POSTER"]
    with pytest.raises(ConfigError, match="no kind 'sell'; it has: buy, view"):
        clean(frame, CleanConfig(kinds=("sell",)))
    with pytest.raises(ConfigError, match="no kind column"):
        clean(frame.drop("kind"), CleanConfig(kinds=("view",)))
    with pytest.raises(ConfigError, match="no regular expression"):
        clean(frame, CleanConfig(drop_items="("))


def retail() -> pl.DataFrame:
    return log(
        item=["a", "a", "b", "a", "c", "d"], order=["1", "2", "3", "C4", "5", "6"], value=[3, 3, 1, -3, -2, 5],
        time=[T0 + i * DAY for i in range(6)],
    )  # fmt: skip


def test_cancellations_take_the_last_matching_purchase_with_them() -> None:
    out, report = clean(retail())
    assert out["order"].to_list() == ["1", "3", "6"]
    found = {rule.rule: rule.rows for rule in report.rules}
    assert found == {"cancellations": 1, "cancelled_purchases": 1, "negative_values": 1}
    kept, _ = clean(retail(), CleanConfig(cancellations=False, negative_values="keep"))
    assert len(kept) == 6
    assert len(clean(retail().drop("order"))[0]) == 6  # negative ratings are no returns


def test_a_cancellation_after_the_cut_leaves_the_past_alone() -> None:
    out, _ = clean(retail(), fit_until=(T0 + 2 * DAY) * 1000)
    assert out["order"].to_list() == ["1", "2", "3", "6"]


def test_value_outliers_and_infinite_values() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 1e6, float("nan"), float("-inf")]
    out, report = clean(log(value=values))
    assert [rule.rule for rule in report.rules] == ["finite_values", "value_outliers"]
    assert out.filter(pl.col("value") > 100).is_empty()
    assert out["value"].null_count() == 2
    for method in ("iqr", "mad"):
        assert len(clean(log(value=values), CleanConfig(value_outliers=method, value_action="drop"))[0]) == 7
    assert clean(log(value=values[:6]), CleanConfig(value_outliers="off"))[0]["value"].max() == 1e6


def test_bots_by_count_and_by_speed() -> None:
    people = pl.DataFrame({"user": np.repeat(np.arange(50), 10), "item": 1, "time": T0 + np.arange(500) * 60})
    busy = pl.DataFrame({"user": 90, "item": np.arange(2000), "time": T0 + np.arange(2000) * DAY // 50})
    fast = pl.DataFrame({"user": 91, "item": np.arange(1000), "time": T0 * 1.0 + np.arange(1000) / 10})
    frame = pl.concat([people, busy, fast], how="vertical_relaxed")
    out, report = clean(frame, CleanConfig(bot_min_events=100))
    assert only(report) == ("bots", 3000)
    assert set(out["user"]) == set(range(50))
    assert len(clean(frame, CleanConfig(bots=False))[0]) == 3500
    basket = fast.with_columns(time=pl.lit(float(T0)))  # one order of many lines is no bot
    assert len(clean(pl.concat([people, basket], how="vertical_relaxed"), CleanConfig(bot_mad=90.0))[0]) == 1500


def test_k_core_is_repeated_until_stable() -> None:
    frame = log(user=[1, 1, 2, 2, 3, 3], item=["a", "b", "a", "b", "b", "c"])
    out, report = clean(frame, CleanConfig(min_user_events=2, min_item_events=2))
    assert out["user"].to_list() == [1, 1, 2, 2]
    assert only(report) == ("k_core", 2)
    with pytest.raises(EmptyLogError, match="'k_core'"):
        clean(frame, CleanConfig(min_item_events=9))


STRICT = CleanConfig(
    min_user_events=2, min_item_events=2, bot_min_events=5, bot_mad=1.0, value_factor=1.0, value_action="drop",
    repeat_seconds=60, consecutive_repeats=True, negative_values="drop",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 39))
def test_the_future_never_changes_the_past(seed: int, cut: int) -> None:
    """Whatever comes at or after the cut, the rows before it are cleaned as if it did not exist."""
    draw = np.random.default_rng(seed)
    n, until = 40, (T0 + cut * 30) * 1000
    frame = pl.DataFrame({
        "user": draw.integers(0, 5, n), "item": draw.integers(0, 6, n), "time": T0 + np.arange(n) * 30,
        "value": draw.integers(-2, 9, n).astype(float), "order": draw.choice(["C1", "2"], n),
    })  # fmt: skip
    past = frame.filter(pl.col("time") * 1000 < until)
    try:
        alone = clean(past, STRICT, fit_until=until)[0]
    except EmptyLogError:
        alone = frame.clear()
    try:
        whole = clean(frame, STRICT, fit_until=until)[0].filter(pl.col("time") < until)
    except EmptyLogError:
        whole = frame.clear()
    assert whole.rows() == alone.rows()


def test_users_and_items_of_the_future_stay() -> None:
    frame = log(user=[1, 1, 2, 3, 2], item=["a", "a", "a", "new", "a"])
    config = CleanConfig(min_user_events=2)
    assert clean(frame, config, fit_until=(T0 + 3) * 1000)[0]["user"].to_list() == [1, 1, 3]
    assert clean(frame, config)[0]["user"].to_list() == [1, 1, 2, 2]


def test_the_report_reads_well() -> None:
    _, report = clean(retail())
    text = report.to_text()
    assert text.startswith("6 rows in, 3 rows out (3 dropped)")
    assert "for example user=1, item=a, time=2020-09-16 12:26:40" in text
    assert report.table()[0] == ("cancellations", "dropped 1", "16.67%", report.rules[0].why)
    assert len(report.rules[0].examples) == 1


def test_clean_needs_mapped_columns() -> None:
    with pytest.raises(ColumnError, match="call map_columns first"):
        clean(pl.DataFrame({"user_id": [1], "item": [1]}))
    with pytest.raises(EmptyLogError, match="no events"):
        clean(log(user=[1]).clear())
