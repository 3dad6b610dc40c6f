"""Clean a log: rule after rule, each a function from frame to frame, with a report of what was done and why."""

import time
from dataclasses import replace

import polars as pl

from temporec.data.clean_config import CleanConfig, CleanReport, RuleResult
from temporec.data.clean_history import HISTORY_RULES
from temporec.data.clean_rules import ROW_RULES, Clock
from temporec.errors import ColumnError, EmptyLogError

__all__ = ["CleanConfig", "CleanReport", "RuleResult", "clean"]


def clean(
    frame: pl.DataFrame,
    config: CleanConfig | None = None,
    *,
    fit_until: int | None = None,
    time_name: str = "time",
) -> tuple[pl.DataFrame, CleanReport]:
    """Clean a mapped log (see `map_columns`); rows stay in file order, times become int64 UTC milliseconds.

    Args:
        frame: columns user and item; optional time, kind, value, order and context columns.
        config: which rules apply; the defaults if None.
        fit_until: UTC milliseconds. Thresholds, bots and the k-core are determined on events before this instant
            only, then applied to all; nothing before it depends on an event at or after it. None looks at everything.
        time_name: what the column of times is called in the file, for messages.

    Raises:
        ColumnError: user or item is missing, or the times cannot be understood.
        ConfigError: an option does not fit the log.
        EmptyLogError: no row is left; the message names the rule that dropped most.
    """
    config = config or CleanConfig()
    for name in ("user", "item"):
        if name not in frame.columns:
            raise ColumnError(
                f"the log has no column {name!r}; it has {', '.join(frame.columns)}; call map_columns first"
            )
    rows_in = len(frame)
    clock = Clock(now=time.time_ns() // 1_000_000, fit_until=fit_until, time_name=time_name)
    results: list[RuleResult] = []
    for rule in (*ROW_RULES, *HISTORY_RULES):
        if frame.is_empty():
            break
        outcome = rule(frame, config, clock)
        frame = outcome.frame
        results.extend(outcome.results)
    if frame.is_empty():
        raise EmptyLogError(_nothing_left(rows_in, results))
    shares = [replace(result, share=result.rows / rows_in) for result in results]
    return frame, CleanReport(rows_in, len(frame), tuple(shares))


def _nothing_left(rows_in: int, results: list[RuleResult]) -> str:
    dropped = [result for result in results if result.action == "dropped"]
    if not dropped:
        return "the log has no events; check the file and the column mapping"
    worst = max(dropped, key=lambda result: result.rows)
    found = f"rule {worst.rule!r} dropped {worst.rows:,} of them: {worst.why}"
    return f"cleaning left none of {rows_in:,} rows; {found}; change that option"
