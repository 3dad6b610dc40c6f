"""Cleaning rules that need statistics of the log: bots, outliers, k-core. They learn from events before the cut only.

Each rule learns a ban or a limit on the events before `fit_until` and applies it to all events. Users and items that
appear only after the cut were never judged, so they stay.
"""

import polars as pl

from temporec.data.clean_config import CleanConfig, RuleResult
from temporec.data.clean_rules import Clock, Outcome, Rule, before, drop_where

__all__ = ["HISTORY_RULES", "bots"]

_MINUTE_MS = 60_000


def bots(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Users with far more events than anyone, or faster than a hand can click."""
    if not config.bots:
        return Outcome(frame)
    known = before(frame, clock.fit_until)
    counts = known.group_by("user").len("n")
    heavy = counts.filter(pl.col("n") >= config.bot_min_events)
    if heavy.is_empty():
        return Outcome(frame)
    limit = _count_limit(counts["n"], config.bot_mad)
    banned = heavy.filter(pl.col("n") > limit)["user"]
    if "time" in frame.columns:
        banned = pl.concat([banned, _fast_users(known, heavy["user"], config.bot_per_minute)]).unique()
    why = (
        f"{len(banned):,} users look like programs: over {limit:,.0f} events, "
        f"or {config.bot_min_events:,} or more at over {config.bot_per_minute:g} a minute"
    )
    return drop_where(frame, frame["user"].is_in(banned.implode()), "bots", why)


def _count_limit(counts: pl.Series, factor: float) -> float:
    """Median times e to the (factor robust deviations) of the log counts; a deviation of 0 counts as 10 %."""
    logs = counts.cast(pl.Float64).log()
    middle = float(logs.median())  # type: ignore[arg-type]
    spread = 1.4826 * float((logs - middle).abs().median())  # type: ignore[arg-type]
    exponent = min(middle + factor * max(spread, 0.1), 700.0)
    return float(pl.Series([exponent]).exp()[0])


def _fast_users(known: pl.DataFrame, users: pl.Series, per_minute: float) -> pl.Series:
    rates = (
        known.lazy()
        .filter(pl.col("user").is_in(users.implode()))
        .group_by("user")
        .agg(pl.col("time").n_unique().alias("n"), (pl.col("time").max() - pl.col("time").min()).alias("span"))
        .filter((pl.col("n") > 1) & (pl.col("n") - 1 > per_minute * pl.col("span") / _MINUTE_MS))
        .collect()
    )
    return rates["user"]


def value_outliers(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Values far outside the usual range are typing errors or bulk orders: moved to the limit, or dropped."""
    if config.value_outliers == "off" or "value" not in frame.columns:
        return Outcome(frame)
    limits = _limits(before(frame, clock.fit_until)["value"].drop_nulls().cast(pl.Float64), config)
    if limits is None:
        return Outcome(frame)
    low, high = limits
    bad = (frame["value"] < low) | (frame["value"] > high)
    spreads = f"{config.value_factor:g} {config.value_outliers.upper()}s"
    why = f"the value lies outside {low:g} to {high:g}, {spreads} from the middle"
    outcome = drop_where(frame, bad, "value_outliers", why)
    if not outcome.results or config.value_action == "drop":
        return outcome
    done = outcome.results[0]
    changed = RuleResult(
        done.rule, done.rows, done.share, f"{why}; it was moved to the limit", done.examples, "changed"
    )
    return Outcome(frame.with_columns(pl.col("value").cast(pl.Float64).clip(low, high)), (changed,))


def _limits(values: pl.Series, config: CleanConfig) -> tuple[float, float] | None:
    """Lower and upper limit; None where the middle half of the values is a single number."""
    if values.is_empty():
        return None
    low, middle, high = (float(values.quantile(q, "linear") or 0.0) for q in (0.25, 0.5, 0.75))
    if config.value_outliers == "mad":
        spread = 1.4826 * float((values - middle).abs().median() or 0.0)  # type: ignore[arg-type]
        low = high = middle
    else:
        spread = high - low
    return None if spread == 0 else (low - config.value_factor * spread, high + config.value_factor * spread)


def k_core(frame: pl.DataFrame, config: CleanConfig, clock: Clock) -> Outcome:
    """Users and items with too few events, again and again until none is left."""
    least = {"user": config.min_user_events, "item": config.min_item_events}
    if max(least.values()) <= 1:
        return Outcome(frame)
    known = before(frame, clock.fit_until).select("user", "item")
    banned: dict[str, list[pl.Series]] = {"user": [], "item": []}
    changed = True
    while changed:
        changed = False
        for name, k in least.items():
            counts = known.group_by(name).len("n") if k > 1 else known.clear().group_by(name).len("n")
            rare = counts.filter(pl.col("n") < k)[name]
            if len(rare):
                banned[name].append(rare)
                known, changed = known.filter(~pl.col(name).is_in(rare.implode())), True
    bad = pl.repeat(False, len(frame), eager=True)
    for name, parts in banned.items():
        if parts:
            bad = bad | frame[name].is_in(pl.concat(parts).implode())
    users, items = (sum(map(len, banned[name])) for name in ("user", "item"))
    why = (
        f"{users:,} users with fewer than {least['user']} events and {items:,} items with fewer than {least['item']}, "
        "counted again after each drop"
    )
    return drop_where(frame, bad, "k_core", why)


HISTORY_RULES: tuple[Rule, ...] = (bots, value_outliers, k_core)
