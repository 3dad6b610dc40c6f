"""doctor and evaluate: what is wrong with a log, and how a saved recommender does."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from temporec.data.columns import find_column, map_columns
from temporec.data.doctor import Diagnosis, diagnose
from temporec.data.readers import read_table
from temporec.errors import CheckpointError
from temporec.evaluation.protocol import EvaluationConfig, evaluate
from temporec.recommend.base import Recommender
from temporec.recommend.folder import read_manifest
from temporec.workflow.answers import save_frame
from temporec.workflow.load import load
from temporec.workflow.newer import newer_cases
from temporec.workflow.settings import Settings

__all__ = ["EvaluateReport", "doctor", "evaluate_folder"]


def doctor(log: Any, *, settings: Settings | None = None) -> Diagnosis:
    """What is wrong with a log, how to mend it, and which options fit it."""
    data = (settings or Settings()).data
    frame = read_table(log, encoding=data.encoding, query=data.query)
    time_name = find_column("time", frame, data.columns.time)
    return diagnose(map_columns(frame, data.columns), data.clean, time_name or "time")


@dataclass(frozen=True)
class EvaluateReport:
    """Figures of a saved recommender, with the sentence that says on what."""

    figures: dict[str, Any]
    on: str

    def to_dict(self) -> dict[str, Any]:
        return {**self.figures, "on": self.on}

    def to_text(self) -> str:
        rows = [
            f"  {name:<14} {value:.4f}{_interval(self.figures, name)}" for name, value in self.figures["test"].items()
        ]
        return "\n".join([self.on, *rows])


def _interval(figures: dict[str, Any], name: str) -> str:
    pair = figures.get("interval", {}).get(name)
    return "" if pair is None else f"   95 % interval {pair[0]:.4f} to {pair[1]:.4f}"


def evaluate_folder(
    folder: str | Path, log: Any = None, *, settings: Settings | None = None, predictions: str | Path | None = None
) -> EvaluateReport:
    """Figures of the held-out run of `fit`, or of a newer log.

    Without a log, these are the figures that `fit` measured before it refitted on all events (a model must not be
    tested on what it has learned). With a log, each user's first event after the last one that the model knows is
    predicted from everything before it.

    Args:
        folder: what `fit` wrote.
        log: a newer log, or None.
        settings: columns and cleaning of that log.
        predictions: Parquet or CSV file to write, a row per case.
    """
    folder = Path(folder)
    if log is None:
        read_manifest(folder)
        report = folder / "figures.json"
        if not report.exists():
            raise CheckpointError(f"{folder} was saved without a held-out run; give a newer log to evaluate on")
        if predictions is not None:
            save_frame(_flat(pl.read_parquet(folder / "predictions.parquet"), predictions), predictions)
        return EvaluateReport(json.loads(report.read_text(encoding="utf-8")), "held-out run of fit (before the refit)")
    recommender = Recommender.load(folder)
    cases = newer_cases(recommender, load(log, None, (settings or Settings()).data).dataset)
    result = evaluate(recommender, cases, EvaluationConfig(exclude_seen=recommender.exclude_seen))
    if predictions is not None:
        save_frame(_flat(result.predictions, predictions), predictions)
    return EvaluateReport(result.to_dict(), f"{len(cases):,} users' first events after the end of training")


def _flat(frame: pl.DataFrame, path: str | Path) -> pl.DataFrame:
    """Lists as text where the file is CSV."""
    if Path(path).suffix != ".csv":
        return frame
    lists = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
    return frame.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join(" ") for name in lists)
