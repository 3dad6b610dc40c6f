"""What to clean, and what cleaning says about it."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from temporec.config import Config

__all__ = ["CleanConfig", "CleanReport", "RuleResult"]


class CleanConfig(Config):
    """Every cleaning rule with its switch. Defaults are cautious: they drop only what is broken beyond doubt.

    Args:
        time_unit: unit of numeric times; "auto" goes by magnitude; "relative" keeps counts that no calendar fits.
        time_format: chrono format of text times, such as "%d.%m.%Y %H:%M"; None tries ISO and common forms.
        time_zone: zone of text and datetimes that state none.
        mixed_units: where one column holds several units (say s and ms): stop, convert each, or drop the rarer.
        min_time: ISO date; earlier events are impossible.
        max_future_days: events later than now plus these days are impossible.
        duplicates: drop rows equal to an earlier one in every column (in logs with times only).
        repeat_seconds: drop an event that repeats the user's last one on the same item (and kind) within this time.
        consecutive_repeats: drop an event on the same item (and kind) as the user's event just before it.
        kinds: keep only these kinds; empty keeps all.
        drop_items: regular expression; items whose whole id matches are no products (postage, fees, manual entries).
        cancellations: drop cancelled orders (order id C..., negative value) and the purchase that each one undoes.
        negative_values: drop rows with a value of 0 or less; "auto" does so where the log has an order column.
        bots: drop users with inhuman activity, by the three limits below.
        bot_min_events: nobody with fewer events is a bot.
        bot_mad: limit on events per user: this many robust deviations (MAD of log counts) above the median.
        bot_per_minute: limit on distinct event times per minute, over the user's whole span.
        value_outliers: limits by "iqr" (quartiles), "mad" (median), or "off".
        value_factor: width of the limits in interquartile ranges or in robust deviations.
        value_action: move outliers to the limit ("clip") or drop their rows.
        min_user_events, min_item_events: k-core, repeated until it holds for both; 1 is off.
    """

    time_unit: Literal["auto", "s", "ms", "us", "ns", "relative"] = "auto"
    time_format: str | None = None
    time_zone: str = "UTC"
    mixed_units: Literal["error", "mend", "drop"] = "error"
    min_time: str | None = "1990-01-01"
    max_future_days: NonNegativeFloat | None = 1.0
    duplicates: bool = True
    repeat_seconds: NonNegativeFloat | None = None
    consecutive_repeats: bool = False
    kinds: tuple[str, ...] = ()
    drop_items: str | None = None
    cancellations: bool = True
    negative_values: Literal["auto", "drop", "keep"] = "auto"
    bots: bool = True
    bot_min_events: PositiveInt = 1000
    bot_mad: PositiveFloat = 8.0
    bot_per_minute: PositiveFloat = 60.0
    value_outliers: Literal["off", "iqr", "mad"] = "iqr"
    value_factor: PositiveFloat = 10.0
    value_action: Literal["clip", "drop"] = "clip"
    min_user_events: PositiveInt = 1
    min_item_events: PositiveInt = 1


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one rule did.

    Args:
        rule: its name, that of its option in `CleanConfig` where there is one.
        rows: rows dropped, or changed where `action` is "changed".
        share: rows as a share of the rows that the rule saw.
        why: one sentence for a reader.
        examples: up to three of the rows, as they were.
        action: "dropped", "changed" or "noted".
    """

    rule: str
    rows: int
    share: float
    why: str
    examples: tuple[dict[str, Any], ...] = ()
    action: Literal["dropped", "changed", "noted"] = "dropped"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "examples": [{k: _plain(v) for k, v in row.items()} for row in self.examples]}


@dataclass(frozen=True, slots=True)
class CleanReport:
    """Rows in and out, and every rule that found something, in the order in which the rules ran."""

    rows_in: int
    rows_out: int
    rules: tuple[RuleResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"rows_in": self.rows_in, "rows_out": self.rows_out, "rules": [rule.to_dict() for rule in self.rules]}

    def table(self) -> list[tuple[str, str, str, str]]:
        """Cells for a table: rule, action and rows, share, why."""
        return [(r.rule, f"{r.action} {r.rows:,}", f"{r.share:.2%}", r.why) for r in self.rules]

    def to_text(self) -> str:
        """A few lines for people, one per rule, with an example each."""
        lines = [f"{self.rows_in:,} rows in, {self.rows_out:,} rows out ({self.rows_in - self.rows_out:,} dropped)"]
        for (rule, rows, share, why), result in zip(self.table(), self.rules, strict=True):
            lines.append(f"  {rule}: {rows} ({share}): {why}")
            if result.examples:
                shown = ", ".join(f"{k}={_shown(k, v)}" for k, v in result.examples[0].items())
                lines.append(f"      for example {shown}")
        return "\n".join(lines)


def _shown(name: str, value: Any) -> str:
    if name == "time" and type(value) is int and value > 10**11:
        return datetime.fromtimestamp(value / 1000, UTC).isoformat(sep=" ", timespec="seconds")
    return str(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
