"""Cleaning rules that look at single rows and their past: frame in, frame and what was done out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from temporec.data.clean_config import CleanConfig, RuleResult
from temporec.data.times import parse_times
from temporec.errors import ColumnError, ConfigError

__all__ = ["ROW_RULES", "Clock", "Outcome", "Rule", "before", "drop_where", "duplicate_rows"]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """The frame after a rule, and what it did (empty if it found nothing)."""

    frame: pl.DataFrame
    results: tuple[RuleResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Clock:
    """The two instants that rules need: now, and the cut before which statistics may look (None: no cut). UTC ms.

    `time_name`: what the column of times is called in the file, for messages.
    """

    now: int
    fit_until: int | None = None
    time_name: str = "time"


Rule = Callable[[pl.DataFrame, CleanConfig, Clock], Outcome]


def drop_where(frame: pl.DataFrame, bad: pl.Series, rule: str, why: str) -> Outcome:
    """Drop the marked rows (null counts as unmarked) and report them."""
    rows = int(bad.sum())
    if not rows:
        return Outcome(frame)
    return Outcome(frame.filter(~bad.fill_null(False)), (_result(frame, bad, rule, why),))


def before(frame: pl.DataFrame, cut: int | None) -> pl.DataFrame:
    """The events before the cut; all without one."""
    return frame if cut is None or "time" not in frame.columns else frame.filter(pl.col("time") < cut)


def missing(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Rows without a user, an item or a time cannot be learnt from."""
    outcome = Outcome(frame)
    found: list[RuleResult] = []
    for name in ("user", "item", "time"):
        if name in frame.columns and outcome.frame[name].null_count():
            why = f"the {name} is missing"
            outcome = drop_where(outcome.frame, outcome.frame[name].is_null(), f"missing_{name}", why)
            found.extend(outcome.results)
    return Outcome(outcome.frame, tuple(found))


def mixed_ids(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Whole numbers beside text in one id column: all of it is text, so 7 and 007 are two ids. Only said."""
    found: list[RuleResult] = []
    for name in ("user", "item"):
        if frame[name].dtype != pl.String:
            continue
        text = ~frame[name].str.contains(r"^-?\d+$")
        if 0 < text.sum() < len(frame):
            example = frame[name].filter(text)[0]
            why = f"{name} ids are whole numbers and text such as {example!r}; all of them are read as text"
            found.append(_result(frame, text, "mixed_ids", why, "noted"))
    return Outcome(frame, tuple(found))


def read_times(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Times become int64 UTC milliseconds; what cannot be read is dropped."""
    if "time" not in frame.columns or frame.is_empty():
        return Outcome(frame)
    parsed = parse_times(frame["time"].alias(clock.time_name), config)
    notes = tuple(
        RuleResult(
            "time_unit", parsed.mended, parsed.mended / len(frame), note, (), "changed" if parsed.mended else "noted"
        )
        for note in parsed.notes
    )
    outcome = drop_where(
        frame, parsed.time.is_null(), "unreadable_times", "the time cannot be read as a date or a number"
    )
    time = parsed.time.drop_nulls() if outcome.results else parsed.time
    return Outcome(outcome.frame.with_columns(time.alias("time")), notes + outcome.results)


def impossible_times(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Times before the web or after tomorrow are clock errors, not events."""
    if "time" not in frame.columns or config.time_unit == "relative":
        return Outcome(frame)
    found: list[RuleResult] = []
    if config.min_time is not None:
        why = f"the time lies before {config.min_time}"
        outcome = drop_where(frame, frame["time"] < _instant(config.min_time), "early_times", why)
        frame, found = outcome.frame, [*outcome.results]
    if config.max_future_days is not None:
        last = clock.now + int(config.max_future_days * DAY_MS)
        outcome = drop_where(frame, frame["time"] > last, "future_times", "the time lies in the future")
        frame, found = outcome.frame, [*found, *outcome.results]
    return Outcome(frame, tuple(found))


def kinds(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Keep only the kinds of event that were asked for."""
    if not config.kinds:
        return Outcome(frame)
    if "kind" not in frame.columns:
        raise ConfigError(
            f"clean.kinds asks for {', '.join(config.kinds)}, but the log has no kind column; name it with --kind-col"
        )
    present = sorted(frame["kind"].drop_nulls().unique().to_list())
    unknown = [kind for kind in config.kinds if kind not in present]
    if unknown:
        raise ConfigError(
            f"clean.kinds: the log has no kind {unknown[0]!r}; it has: {', '.join(map(str, present[:20]))}"
        )
    other = ~frame["kind"].is_in(list(config.kinds)).fill_null(False)
    return drop_where(frame, other, "kinds", f"the kind is not {' or '.join(config.kinds)}")


def drop_items(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Item codes that are no products, such as postage and fees."""
    if config.drop_items is None:
        return Outcome(frame)
    try:
        re.compile(config.drop_items)
        codes = frame["item"].unique().drop_nulls()
        matched = codes.filter(codes.cast(pl.String).str.contains(f"^(?:{config.drop_items})$"))
    except (re.error, pl.exceptions.PolarsError) as error:
        raise ConfigError(
            f"clean.drop_items {config.drop_items!r} is no regular expression: {str(error).splitlines()[0]}"
        ) from None
    bad = frame["item"].is_in(matched.implode()).fill_null(False)
    return drop_where(frame, bad, "drop_items", f"{len(matched)} item codes are no products by the rule given")


def duplicates(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Rows equal to an earlier row in every column; the first stays. Without times a repeat is an event of its own."""
    if not config.duplicates or "time" not in frame.columns:
        return Outcome(frame)
    return drop_where(frame, duplicate_rows(frame), "duplicates", "the row repeats an earlier one in every column")


def duplicate_rows(frame: pl.DataFrame) -> pl.Series:
    """True where a row equals an earlier one. Hashes find candidates, which are then compared in full."""
    hashes = frame.hash_rows(seed=0)
    first = hashes.is_first_distinct()
    if first.all():
        return ~first
    doubtful = hashes.is_in(hashes.filter(~first).unique().implode())
    exact = frame.filter(doubtful).select(pl.struct(pl.all()).is_first_distinct().alias("first")).to_series()
    return (~first).scatter(doubtful.arg_true(), ~exact)


def repeats(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Reloads and double clicks: the same user on the same item again; the first event stays."""
    outcome = Outcome(frame)
    found: list[RuleResult] = []
    if config.repeat_seconds is not None and "time" in frame.columns:
        bad = _repeated(frame, ["user", "item"], config.repeat_seconds)
        why = f"the user did the same less than {config.repeat_seconds:g} s before"
        outcome = drop_where(frame, bad, "repeat_seconds", why)
        found.extend(outcome.results)
    if config.consecutive_repeats:
        bad = _repeated(outcome.frame, ["user"], None)
        outcome = drop_where(outcome.frame, bad, "consecutive_repeats", "the user's event just before was the same")
        found.extend(outcome.results)
    return Outcome(outcome.frame, tuple(found))


def _repeated(frame: pl.DataFrame, within: list[str], seconds: float | None) -> pl.Series:
    """True where the event before (in time order, per `within` group) is on the same user, item and kind."""
    same = [name for name in ("user", "item", "kind") if name in frame.columns]
    group = list(dict.fromkeys([*within, *(same if seconds is not None else [])]))
    time = ["time"] if "time" in frame.columns else []
    ordered = frame.select([*same, *time]).with_row_index("row").sort([*group, *time], maintain_order=True)
    bad = pl.all_horizontal([pl.col(name).eq_missing(pl.col(name).shift()) for name in same]) & (
        pl.int_range(pl.len()) > 0
    )
    if seconds is not None:
        bad = bad & (pl.col("time").diff() <= int(seconds * 1000))
    rows = ordered.filter(bad)["row"]
    return _mark(len(frame), rows)


def cancellations(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """A cancelled order and the purchase that it undoes: same user and item, opposite value, the last one before it.

    A cancellation after the cut leaves purchases before the cut alone: at that moment nobody knew.
    """
    if not config.cancellations or not {"order", "value", "time"} <= set(frame.columns):
        return Outcome(frame)
    cancelled = (frame["order"].str.contains(r"^[Cc]\d") & (frame["value"] < 0)).fill_null(False)
    if not cancelled.any():
        return Outcome(frame)
    undone = _undone(frame, cancelled, clock.fit_until)
    results = [_result(frame, cancelled, "cancellations", "the order is a cancellation (its number starts with C)")]
    if undone.any():
        results.append(_result(frame, undone, "cancelled_purchases", "a later cancellation undoes this purchase"))
    return Outcome(frame.filter(~(cancelled | undone)), tuple(results))


def _undone(frame: pl.DataFrame, cancelled: pl.Series, cut: int | None) -> pl.Series:
    rows = frame.select("user", "item", "time", pl.col("value").abs().alias("value"), pl.Series("off", cancelled))
    rows = rows.with_row_index("row").filter(pl.col("off") | (frame["value"] > 0)).sort("time", maintain_order=True)
    bought = rows.filter(~pl.col("off")).select(
        "user", "item", "value", "time", "row", pl.col("time").alias("bought_at")
    )
    found = rows.filter("off").drop("row").join_asof(
        bought, on="time", by=["user", "item", "value"], strategy="backward", check_sortedness=False
    )  # fmt: skip
    found = found.drop_nulls("row")
    if cut is not None:
        found = found.filter((pl.col("time") < cut) | (pl.col("bought_at") >= cut))
    return _mark(len(frame), found["row"].unique())


def finite_values(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """NaN and infinite values become missing; the event itself stays."""
    if "value" not in frame.columns or not frame["value"].dtype.is_float():
        return Outcome(frame)
    bad = ~frame["value"].is_finite()
    if not bad.any():
        return Outcome(frame)
    result = _result(frame, bad, "finite_values", "the value is NaN or infinite and counts as missing", "changed")
    return Outcome(frame.with_columns(frame["value"].set(bad.fill_null(False), None)), (result,))


def negative_values(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """In a log of orders, a quantity of 0 or less is a return, a correction or a write-off."""
    wanted = config.negative_values == "drop" or (config.negative_values == "auto" and "order" in frame.columns)
    if not wanted or "value" not in frame.columns:
        return Outcome(frame)
    why = "the value is 0 or less, which is no purchase"
    return drop_where(frame, frame["value"] <= 0, "negative_values", why)


def _mark(n: int, rows: pl.Series) -> pl.Series:
    marks = pl.repeat(False, n, eager=True)
    return marks.scatter(rows, True) if len(rows) else marks


def _result(
    frame: pl.DataFrame, bad: pl.Series, rule: str, why: str, action: Literal["dropped", "changed", "noted"] = "dropped"
) -> RuleResult:
    rows = int(bad.sum())
    examples = frame[bad.arg_true().head(3)].to_dicts()
    return RuleResult(rule, rows, rows / len(frame), why, tuple(examples), action)


def _instant(text: str) -> int:
    try:
        return int(parse_times(pl.Series("min_time", [text])).time[0])
    except ColumnError:
        raise ConfigError(f"clean.min_time {text!r} is no date; write it like 1990-01-01") from None


ROW_RULES: tuple[Rule, ...] = (
    missing, mixed_ids, read_times, impossible_times, kinds, finite_values,
    duplicates, drop_items, cancellations, negative_values, repeats,
)  # fmt: skip
