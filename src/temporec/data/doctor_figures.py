"""Measure a log: ties, repeats, lengths, drift, cold users and items. Frames in, plain numbers out."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from temporec.data.clean_config import CleanConfig
from temporec.data.clean_history import bots
from temporec.data.clean_rules import Clock, duplicate_rows

__all__ = ["measure"]

_DAY_MS = 86_400_000
_PERIODS = 4


def measure(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """All figures of a log without missing ids; `time` (int64 UTC milliseconds), kind, value and order are optional."""
    figures = {"repeats": _repeats(frame), "users": _users(frame), "items": _items(frame)}
    if "time" in frame.columns:
        figures |= {"time": _time(frame), "drift": _drift(frame), "cuts": {"candidates": _cuts(frame)}}
    if "kind" in frame.columns:
        counts = frame.group_by("kind").len("n").sort(["n", "kind"], descending=[True, False])
        figures["kinds"] = {str(kind): n for kind, n in counts.head(20).iter_rows()}
    if "value" in frame.columns:
        figures["value"] = _value(frame)
    return figures


def _repeats(frame: pl.DataFrame) -> dict[str, Any]:
    """Duplicates are equal rows; a repeat returns to an item of the user (duplicates and negative orders set aside)."""
    doubled = duplicate_rows(frame) if "time" in frame.columns else pl.repeat(False, len(frame), eager=True)
    single = frame.filter(~doubled) if doubled.any() else frame
    if {"order", "value"} <= set(single.columns) and (single["value"] > 0).any():
        single = single.filter(pl.col("value") > 0)
    time = ["time"] if "time" in frame.columns else []
    pairs = single.select("user", "item").unique().height
    ordered = single.select("user", "item", *time).sort("user", *time, maintain_order=True)
    same = (pl.col("user") == pl.col("user").shift()) & (pl.col("item") == pl.col("item").shift())
    return {
        "duplicate_share": float(doubled.mean() or 0.0),  # type: ignore[arg-type]
        "repeat_share": 1 - pairs / len(single),
        "consecutive_repeat_share": ordered.select(same.sum()).item() / len(single),
    }


def _users(frame: pl.DataFrame) -> dict[str, Any]:
    counts = frame.group_by("user").len("n")["n"]
    dropped = bots(frame, CleanConfig(), Clock(0)).results
    return {
        **_quantiles(counts, "events"),
        "one_event_share": float((counts == 1).mean()),  # type: ignore[arg-type]
        "bot_event_share": dropped[0].share if dropped else 0.0,
    }


def _items(frame: pl.DataFrame) -> dict[str, Any]:
    counts = frame.group_by("item").len("n")["n"].sort(descending=True)
    pairs = frame.select("user", "item").unique().height
    rare = counts.filter(counts < 5)
    return {
        **_quantiles(counts, "events"),
        "below_5_events_share": len(rare) / len(counts),
        "events_on_items_below_5_share": int(rare.sum()) / len(frame),
        "events_on_top_1_percent_share": int(counts.head(max(1, len(counts) // 100)).sum()) / len(frame),
        "sparsity": 1 - pairs / (frame["user"].n_unique() * len(counts)),
        "odd_codes": _odd_codes(frame),
    }


def _odd_codes(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Item codes without three digits in a row, where nearly all others have them: postage, fees, manual entries."""
    if frame["item"].dtype != pl.String:
        return []
    counts = frame.group_by("item").len("events").with_columns(pl.col("item").str.contains(r"\d{3}").alias("usual"))
    odd = counts.filter(~pl.col("usual")).sort(["events", "item"], descending=[True, False])
    if odd.is_empty() or len(odd) > 0.05 * len(counts):
        return []
    return odd.select("item", "events").head(20).to_dicts()


def _quantiles(counts: pl.Series, what: str) -> dict[str, Any]:
    named = {"median": 0.5, "p90": 0.9, "p95": 0.95, "most": 1.0}
    return {f"{what}_{name}": int(counts.quantile(q, "nearest") or 0) for name, q in named.items()}


def _time(frame: pl.DataFrame) -> dict[str, Any]:
    time = frame["time"]
    start, end = (int(x or 0) for x in (time.min(), time.max()))  # type: ignore[arg-type]
    moments = frame.group_by("user", "time").len("n")["n"]
    gaps = frame.select("user", "time").unique().sort("user", "time")
    gaps = gaps.filter(pl.col("user") == pl.col("user").shift()) if len(gaps) > 1 else gaps.clear()
    back = (pl.col("user") == pl.col("user").shift()) & (pl.col("time") < pl.col("time").shift())
    steps = frame.select("user", "time").sort("user", maintain_order=True).select(back.sum()).item()
    return {
        "start": _iso(start), "end": _iso(end), "span_days": (end - start) / _DAY_MS, "resolution": _resolution(time),
        "tied_share": int(moments.filter(moments > 1).sum()) / len(frame),
        "events_per_moment": len(frame) / len(moments),
        "users_at_one_moment_share": 1 - gaps["user"].n_unique() / frame["user"].n_unique(),
        "backwards_share": steps / len(frame),
    }  # fmt: skip


def _resolution(time: pl.Series) -> str:
    for name, size in (("day", _DAY_MS), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000)):
        if ((time % size) == 0).all():
            return name
    return "millisecond"


def _drift(frame: pl.DataFrame) -> dict[str, Any]:
    """Jensen-Shannon divergence (bits, 0..1) of item popularity between neighbouring quarters of the events.

    Small samples differ by chance alone; `by_chance` is the same figure with the events dealt at random.
    """
    code = frame["item"].rank("dense").to_numpy().astype(np.int64) - 1
    place = frame["time"].rank("ordinal").to_numpy().astype(np.int64) - 1
    period = place * _PERIODS // len(frame)
    months = (
        frame.select(pl.col("time").cast(pl.Datetime("ms")).dt.strftime("%Y-%m").alias("month"))
        .group_by("month").len("events").sort("month")
    )  # fmt: skip
    shuffled = np.random.default_rng(0).permutation(period)
    return {
        "between_quarters": float(np.mean(_divergences(code, period))),
        "by_chance": float(np.mean(_divergences(code, shuffled))),
        "quarters": _divergences(code, period),
        "months": months.to_dicts()[-120:],
    }


def _divergences(code: np.ndarray, period: np.ndarray) -> list[float]:
    counts = np.bincount(period * (code.max() + 1) + code, minlength=_PERIODS * (code.max() + 1))
    parts = counts.reshape(_PERIODS, -1).astype(np.float64)
    parts /= np.maximum(parts.sum(axis=1, keepdims=True), 1)
    return [_jensen_shannon(a, b) for a, b in pairwise(parts)]


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    middle = (p + q) / 2
    total = 0.0
    for part in (p, q):
        seen = part > 0
        total += float((part[seen] * np.log2(part[seen] / middle[seen])).sum()) / 2
    return max(0.0, total)


def _cuts(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """What a test set after 80, 90 or 95 % of the events would look like."""
    first_user = frame.group_by("user").agg(pl.col("time").min().alias("since"))
    first_item = frame.group_by("item").agg(pl.col("time").min().alias("since"))
    found = []
    for share in (0.8, 0.9, 0.95):
        cut = int(frame["time"].quantile(share, "higher") or 0)
        test = frame.filter(pl.col("time") >= cut)
        users = test.select("user").unique().join(first_user, on="user")
        items = test.select("item").join(first_item, on="item")
        found.append({
            "share_before": 1 - len(test) / len(frame), "cut": cut, "at": _iso(cut), "test_events": len(test),
            "test_users": len(users), "cold_users": _share(users["since"] >= cut),
            "cold_item_events": _share(items["since"] >= cut),
        })  # fmt: skip
    return found


def _share(marks: pl.Series) -> float:
    return int(marks.sum()) / max(1, len(marks))


def _value(frame: pl.DataFrame) -> dict[str, Any]:
    value = frame["value"].cast(pl.Float64)
    named = {"least": value.min(), "median": value.median(), "most": value.max()}
    numbers = {name: float(x) for name, x in named.items() if isinstance(x, int | float) and np.isfinite(x)}
    shares = {
        "missing_share": value.null_count() / len(value),
        "not_finite_share": _share(~value.is_finite()),
        "not_positive_share": _share(value <= 0),
    }
    if "order" in frame.columns:
        shares["cancelled_share"] = _share(frame["order"].str.contains(r"^[Cc]\d") & (value < 0))
    return numbers | shares


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
