"""What a report says, before anyone decides how it looks. Every part but title and verdict may be missing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

__all__ = [
    "DataFacts",
    "Example",
    "ModelRow",
    "PairedDifference",
    "Recommended",
    "ReportData",
    "clean_text",
    "known",
    "plain",
]

Interval = tuple[float, float]
Numbers = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The log after cleaning. `span` is text for a reader ("1 Dec 2010 to 9 Dec 2011"), `repeat_rate` a share."""

    events: int
    users: int
    items: int
    span: str | None = None
    repeat_rate: float | None = None
    has_time: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model (`is_model`) or baseline on the test cases.

    Args:
        name: as in the command that ran it.
        is_model: False for a baseline.
        metrics: {"ndcg@10": 0.06, ...}; higher is better where it has an interval.
        intervals: 95 % limits of some of them, {"ndcg@10": (0.057, 0.063)}.
        fit_seconds: time of fitting, tuning included.
        peak_rss_mb: peak memory of the process.
        epochs: epochs of the fitted model.
        parameters: trained numbers.
        curve: a dict per epoch: epoch, loss, validation (or None), seconds, best; more keys are kept in report.json.
        segments: {"history length": {"1-4": {"cases": 812, "ndcg@10": 0.05}, ...}, ...}.
    """

    name: str
    is_model: bool
    metrics: Numbers
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    fit_seconds: float | None = None
    peak_rss_mb: float | None = None
    epochs: int | None = None
    parameters: int | None = None
    curve: Sequence[Mapping[str, Any]] = ()
    segments: Mapping[str, Mapping[str, Numbers]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """`model` minus `baseline` in `metric` over the same `n` cases, with its 95 % interval."""

    model: str
    baseline: str
    metric: str
    mean: float
    low: float
    high: float
    p: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommended:
    """One recommended item; `hit`: it is what the user truly took next."""

    title: str
    probability: float | None = None
    hit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One user of the test: history (oldest first), what was recommended (best first), what came next."""

    user: str
    history: Sequence[str]
    recommended: Sequence[Recommended]
    truth: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything in a report.

    Args:
        title: heading of the page.
        verdict: one plain sentence.
        metric: the metric of verdict, first chart and segments.
        facts: of the data.
        cleaning: `CleanReport.to_dict()`.
        split: how the log was split and how ranks were counted; a sentence each.
        rows: models and baselines.
        differences: each model against the best baseline.
        canary: {"passed": bool, "sentence": str, ...}, or None where it did not run.
        examples_of: name of the model that the examples come from.
        examples: histories with what was recommended.
        run: seed, versions, hardware, precision, data hash; nested mappings are welcome.
    """

    title: str
    verdict: str
    metric: str = "ndcg@10"
    facts: DataFacts | None = None
    cleaning: Mapping[str, Any] | None = None
    split: Sequence[str] = ()
    rows: Sequence[ModelRow] = ()
    differences: Sequence[PairedDifference] = ()
    canary: Mapping[str, Any] | None = None
    examples_of: str | None = None
    examples: Sequence[Example] = ()
    run: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinite numbers become None."""
        result: dict[str, Any] = plain(self)
        return result

    @property
    def main_metric(self) -> str | None:
        """`metric` where some row has it, else the first metric of the first row that has one."""
        names = [name for row in self.rows for name in row.metrics]
        return self.metric if self.metric in names else next(iter(names), None)

    def ranked(self, metric: str) -> list[ModelRow]:
        """Rows that have the metric, best first; equals in the order given."""
        rows = [row for row in self.rows if known(row.metrics.get(metric)) is not None]
        return sorted(rows, key=lambda row: -(known(row.metrics[metric]) or 0.0))


def known(value: Any) -> float | None:
    """A finite number, or None."""
    if value is None or isinstance(value, str):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def plain(value: Any) -> Any:
    """JSON values of dataclasses, mappings, sequences and numbers of any library."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {clean_text(key): plain(each) for key, each in value.items()}
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):  # a number or an array of NumPy or torch
        return plain(value.tolist())
    if isinstance(value, Sequence | set | frozenset):
        return [plain(each) for each in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)]
    return clean_text(value)


def clean_text(value: Any) -> str:
    """Text that any file can hold: no lone surrogates, no control characters but line breaks and tabs."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return "".join(c if c >= " " or c in "\n\t" else "\ufffd" for c in text)
