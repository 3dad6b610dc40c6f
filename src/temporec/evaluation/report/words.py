"""Numbers and text as a reader wants them: escaped, with sensible digits."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Any

from temporec.evaluation.report.data import clean_text, known

__all__ = [
    "NAMES",
    "bytes_of",
    "count",
    "duration",
    "flat",
    "interval",
    "metric_name",
    "moment",
    "name",
    "score",
    "share",
    "signed",
    "text",
]

LONGEST = 300  # characters of one text
NONE = "–"
NAMES = {
    "ndcg": "NDCG",
    "hit_rate": "Hit rate",
    "hr": "HR",
    "mrr": "MRR",
    "map": "MAP",
    "recall": "Recall",
    "precision": "Precision",
    "f1": "F1",
    "accuracy": "Accuracy",
}  # the metrics of accuracy, which stand in one table


def text(value: Any, longest: int = LONGEST) -> str:
    """Escaped text, cut where it is endless. Titles are data: nothing in them is markup."""
    line = clean_text(value)
    return escape(line if len(line) <= longest else line[: longest - 1] + "…", quote=True)


def name(value: Any) -> str:
    """Escaped text that keeps its own writing direction."""
    return f"<bdi>{text(value)}</bdi>"


def metric_name(metric: str) -> str:
    """Give "NDCG@10" for "ndcg@10"; unknown names with blanks for underscores. Not escaped."""
    base, at, k = metric.partition("@")
    return NAMES.get(base, base.replace("_", " ").capitalize()) + at + k


def moment(value: Any) -> Any:
    """Milliseconds since 1970 as a date and time in UTC; anything else as it is."""
    if type(value) is not int or not 1e11 < value < 1e14:
        return value
    return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def count(value: Any) -> str:
    """A whole number with separators."""
    number = known(value)
    return NONE if number is None else f"{number:,.0f}"


def score(value: Any) -> str:
    """A metric: four decimals below 10, fewer above, two digits of what is tiny."""
    number = known(value)
    if number is None:
        return NONE
    if number and abs(number) < 0.00095:
        return f"{number:.2g}".replace("-", "−")
    return (f"{number:.4f}" if abs(number) < 10 else f"{number:,.1f}").replace("-", "−")


def signed(value: Any) -> str:
    """A difference: with its sign."""
    number = known(value)
    return NONE if number is None else ("+" if number >= 0 else "−") + score(abs(number))


def interval(pair: Any) -> str:
    """Both limits, or nothing."""
    if pair is None or len(pair) != 2 or None in (known(pair[0]), known(pair[1])):
        return ""
    return f"{score(pair[0])} to {score(pair[1])}"


def share(value: Any) -> str:
    """A share as percent with three significant digits: 0.0003 is 0.03 %, 0.4271 is 42.7 %."""
    number = known(value)
    if number is None:
        return NONE
    percent = 100 * number
    digits = 1 if percent == 0 else max(0, min(3, 2 - math.floor(math.log10(abs(percent)))))
    return f"{percent:.{digits if abs(percent) < 100 else 0}f}\u202f%"


def duration(value: Any) -> str:
    """Seconds for people."""
    seconds = known(value)
    if seconds is None:
        return NONE
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def bytes_of(megabytes: Any) -> str:
    """Megabytes, from 10,000 on gigabytes."""
    number = known(megabytes)
    if number is None:
        return NONE
    return f"{number:,.0f} MB" if number < 10_000 else f"{number / 1000:,.1f} GB"


def flat(facts: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Pairs of a nested mapping: {"versions": {"torch": "2"}} gives ("versions torch", "2")."""
    for key, value in facts.items():
        label = f"{above} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from flat(value, label)
        elif isinstance(value, list | tuple):
            yield label, ", ".join(map(str, value))
        elif isinstance(value, bool):
            yield label, "yes" if value else "no"
        elif value is not None:
            yield label, value
