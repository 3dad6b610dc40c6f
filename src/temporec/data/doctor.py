"""What is wrong with my log, and which options suit it: measure, judge, recommend."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from temporec.data.clean_config import CleanConfig
from temporec.data.doctor_figures import measure
from temporec.data.doctor_report import Advice, Diagnosis, Finding
from temporec.data.times import parse_times
from temporec.errors import ColumnError, EmptyLogError

__all__ = ["Advice", "Diagnosis", "Finding", "diagnose"]

_BUYS = re.compile("buy|purchase|order|transaction|checkout|pay", re.IGNORECASE)
_Figures = Mapping[str, Mapping[str, Any]]


def diagnose(frame: pl.DataFrame, config: CleanConfig | None = None, time_name: str = "time") -> Diagnosis:
    """Examine a mapped log, raw or cleaned (see `map_columns`).

    Rows without a user, item or readable time are counted as findings and set aside; everything else stays, so that
    duplicates, bots and cancellations show. `config` says only how to read times; mixed units are mended and named.
    `time_name` is what the column of times is called in the file, for messages.

    Raises:
        ColumnError: user or item is missing, or the times cannot be understood.
        EmptyLogError: no row has a user, an item and a time.
    """
    for name in ("user", "item"):
        if name not in frame.columns:
            raise ColumnError(
                f"the log has no column {name!r}; it has {', '.join(frame.columns)}; map_columns finds it"
            )
    if frame.is_empty():
        raise EmptyLogError("the log has no events; check the file and the column mapping")
    broken = [
        Finding(f"{frame[name].null_count() / len(frame):.1%} of the rows have no {name}", "cleaning drops them")
        for name in ("user", "item", "time")
        if name in frame.columns and frame[name].null_count()
    ]
    log, unread = _readable(frame, config or CleanConfig(), time_name)
    if log.is_empty():
        raise EmptyLogError(
            f"none of {len(frame):,} rows has a user, an item and a readable time; check the column mapping"
        )
    figures = measure(log)
    return Diagnosis(
        len(frame), log["user"].n_unique(), log["item"].n_unique(), figures,
        (*broken, *unread, *_findings(figures)), tuple(_advice(figures)),
    )  # fmt: skip


def _readable(frame: pl.DataFrame, config: CleanConfig, time_name: str) -> tuple[pl.DataFrame, list[Finding]]:
    found = []
    if "time" in frame.columns:
        raw = frame["time"].alias(time_name)
        parsed = parse_times(raw, config.override({"mixed_units": "mend"}))
        found = [
            Finding(note, "set clean.mixed_units=mend" if parsed.mended else "check this") for note in parsed.notes
        ]
        unread = parsed.time.null_count() - raw.null_count()
        if unread:
            what = f"{unread / len(frame):.2%} of the times cannot be read"
            found.append(Finding(what, "cleaning drops them; clean.time_format states an unusual form"))
        frame = frame.with_columns(parsed.time.alias("time"))
    needed = [name for name in ("user", "item", "time") if name in frame.columns and frame[name].null_count()]
    return (frame.drop_nulls(needed) if needed else frame), found


def _findings(figures: _Figures) -> Iterator[Finding]:
    yield from _event_findings(figures)
    yield from _item_findings(figures)
    if "time" in figures:
        yield from _time_findings(figures)


def _event_findings(figures: _Figures) -> Iterator[Finding]:
    repeats, users, value = figures["repeats"], figures["users"], figures.get("value", {})
    if repeats["duplicate_share"] > 0:
        what = f"{repeats['duplicate_share']:.2%} of the rows repeat an earlier row in every column"
        yield Finding(what, "cleaning drops them; clean.duplicates=false keeps them if they are real events")
    if repeats["consecutive_repeat_share"] > 0.05:
        what = f"{repeats['consecutive_repeat_share']:.1%} of the events repeat the one just before"
        yield Finding(what, "if they are reloads, set clean.consecutive_repeats=true")
    if users["bot_event_share"] > 0:
        what = f"{users['bot_event_share']:.2%} of the events come from users who look like programs"
        yield Finding(what, "cleaning drops them; clean.bots=false keeps them")
    if users["one_event_share"] > 0.2:
        what = f"{users['one_event_share']:.0%} of the users have a single event"
        yield Finding(what, "they teach no order and cannot be tested; they stay as evidence of popularity")
    if value.get("cancelled_share", 0) > 0:
        what = f"{value['cancelled_share']:.2%} of the rows are cancelled orders"
        yield Finding(what, "cleaning drops them together with the purchases that they undo")
    elif value.get("not_positive_share", 0) > 0 and value["not_positive_share"] < 0.2:
        what = f"{value['not_positive_share']:.2%} of the values are 0 or less"
        yield Finding(what, "if value is a quantity, set clean.negative_values=drop")
    if value.get("not_finite_share", 0) > 0:
        yield Finding(
            f"{value['not_finite_share']:.2%} of the values are NaN or infinite", "cleaning marks them as missing"
        )


def _item_findings(figures: _Figures) -> Iterator[Finding]:
    items = figures["items"]
    if items["odd_codes"]:
        codes = [str(code["item"]) for code in items["odd_codes"]]
        pattern = "|".join(re.escape(code).replace("\\ ", " ") for code in codes[:12])
        what = f"item codes such as {', '.join(codes[:6])} look unlike all others and may be no products"
        yield Finding(what, f"look at them; clean.drop_items='{pattern}' removes them")
    if items["below_5_events_share"] > 0.5:
        what = f"{items['below_5_events_share']:.0%} of the items have fewer than 5 events"
        yield Finding(what, "ids alone cannot learn them: give an items table with text (--items)")


def _time_findings(figures: _Figures) -> Iterator[Finding]:
    time, drift, cuts = figures["time"], figures["drift"], figures["cuts"]["candidates"]
    if time["tied_share"] > 0.2:
        what = f"{time['tied_share']:.0%} of the events share their {time['resolution']} with another event of the user"
        yield Finding(what, "ties stay in file order; where that order means nothing, predict the next basket")
    if time["backwards_share"] > 0:
        what = f"the file goes back in time within a user on {time['backwards_share']:.2%} of its rows"
        yield Finding(what, "the log is sorted by user and time before use")
    if time["users_at_one_moment_share"] > 0.5:
        what = f"{time['users_at_one_moment_share']:.0%} of the users have all their events at one moment"
        yield Finding(what, "time gaps say little here; consider leaving them out of the model")
    excess = drift["between_quarters"] - drift["by_chance"]
    if excess > 0.1:
        size = f"{drift['between_quarters']:.2f} bits between quarters, {drift['by_chance']:.2f} by chance"
        what = f"item popularity drifts ({size})"
        yield Finding(what, "test on a global cut in time, weigh recent events more, retrain often")
    if cuts and cuts[1]["cold_item_events"] > 0.1:
        what = f"{cuts[1]['cold_item_events']:.0%} of the events after the 90 % cut are on items never seen before it"
        yield Finding(what, "they cannot be hit from ids; give an items table with text (--items)")


def _advice(figures: _Figures) -> Iterator[Advice]:
    yield from _protocol(figures)
    share = figures["repeats"]["repeat_share"]
    if share > 0.1:
        yield Advice("seen", "include", f"{share:.0%} of the events return to an item that the user had before")
    else:
        yield Advice("seen", "exclude", f"only {share:.1%} of the events return to an item that the user had before")
    yield from _target(figures)
    yield from _sizes(figures)
    kinds = figures.get("kinds", {})
    bought = [kind for kind in kinds if _BUYS.search(kind)]
    if len(kinds) > 1 and bought:
        part = kinds[bought[0]] / sum(kinds.values())
        why = f"to predict it alone ({part:.1%} of the events); all kinds together otherwise"
        yield Advice("clean.kinds", f"[{bought[0]}]", why)


def _protocol(figures: _Figures) -> Iterator[Advice]:
    if "time" not in figures:
        yield Advice("protocol", "leave-last-out", "without times, only the order within a user is known")
        return
    fit = [c for c in figures["cuts"]["candidates"] if c["test_users"] * (1 - c["cold_users"]) >= 200]
    warm = [c for c in fit if c["cold_users"] <= 0.7]
    if not warm:
        worst = figures["cuts"]["candidates"][1]
        new = f"{worst['cold_users']:.0%} of {worst['test_users']:,} users"
        why = f"after the 90 % cut, {new} are new: too few have a history"
        yield Advice("protocol", "leave-last-out", why)
        return
    cut = next((c for c in warm if abs(c["share_before"] - 0.9) < 0.03), warm[-1])
    returning = int(cut["test_users"] * (1 - cut["cold_users"]))
    why = f"the honest split: nothing of the future is known, and {returning:,} users with a history act after the cut"
    yield Advice("protocol", "global-time", why)
    yield Advice("cut", cut["at"], f"{cut['share_before']:.0%} of the events lie before it")


def _target(figures: _Figures) -> Iterator[Advice]:
    time = figures.get("time")
    if time and time["tied_share"] > 0.5 and time["events_per_moment"] >= 3:
        why = f"a moment of a user holds {time['events_per_moment']:.1f} events on average: orders, not steps"
        yield Advice("target", "next_basket", why)
    else:
        tied = "" if time is None else f" ({time['tied_share']:.0%} tie in time)"
        yield Advice("target", "next_event", f"events come one by one{tied}")


def _sizes(figures: _Figures) -> Iterator[Advice]:
    users, items = figures["users"], figures["items"]
    lost = items["events_on_items_below_5_share"]
    if items["below_5_events_share"] > 0.05 and lost < 0.05:
        rare = f"{items['below_5_events_share']:.0%} of the items have fewer than 5 events"
        why = f"{rare}; dropping them costs {lost:.1%} of the events"
        yield Advice("clean.min_item_events", 5, why)
    length = next((n for n in (10, 20, 50, 100, 200) if n >= users["events_p90"]), 200)
    why = f"90 % of the users have at most {users['events_p90']:,} events"
    if length < users["events_p90"]:
        why += ", and beyond 200 a longer window rarely pays"
    yield Advice("max_len", length, why)
