"""The leak canary of a fit: the whole way from the mapped frame to scores, on a sample, with other futures planted."""

import math

import polars as pl

from temporec.data.dataset import Dataset
from temporec.data.split import leave_last_out
from temporec.data.times import parse_times
from temporec.errors import DataError
from temporec.evaluation.leakage import CanaryReport, ItemScores, item_scores, leak_canary, past_events
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.workflow.load import Loaded, load_frame
from temporec.workflow.settings import Settings

__all__ = ["run_canary"]


def run_canary(loaded: Loaded, cuts: tuple[int, int] | None, config: FitConfig, settings: Settings) -> CanaryReport:
    """Fit one small epoch on a sample of users per planted future and compare all scores, to the last bit.

    Args:
        loaded: the log, before and after cleaning.
        cuts: (valid_at, test_at) of the split; None = leave-last-out, where each user's last event is the future.
        config: the model; its text, events and losses are kept, its epochs are cut to one.
        settings: the cleaning is that of the run.

    Where the sample is too small to run on, the report has not passed and its sentence says why.
    """
    frame = loaded.mapped
    if "time" in frame.columns:
        frame = frame.with_columns(parse_times(frame["time"], settings.data.clean).time.alias("time")).drop_nulls(
            "time"
        )
    frame = frame.drop_nulls(["user", "item"])
    small = config.override({"training.epochs": 1, "training.average": 0.0})
    run = settings.run.override({"progress": False})
    if cuts is None:
        if "time" in frame.columns:  # cleaning drops repetitions, and what is held out is counted after it
            frame = frame.unique(["user", "item", "time"], keep="first", maintain_order=True)
        cut: pl.Series | int = _last_two(frame)
    else:
        cut = cuts[0]
    probes = past_events(frame, cut, users=50)

    def fit(changed: pl.DataFrame) -> ItemScores:
        whole = load_frame(changed, loaded.items, settings.data, fit_until=None if cuts is None else cuts[0])
        dataset: Dataset = whole.dataset
        if cuts is None:
            dataset = leave_last_out(dataset).train
        else:
            dataset = dataset.restrict(dataset.interactions.time < cuts[0])
        return item_scores(fit_recommender(dataset, small, run).recommender, probes)

    try:
        return leak_canary(frame, cut, fit, seed=settings.run.seed)
    except DataError as error:  # too small a sample must not cost a finished fit; the report says why
        return CanaryReport(False, math.nan, (), None, f"The leak canary did not run, so nothing is shown: {error}")


def _last_two(frame: pl.DataFrame) -> pl.Series:
    """The rows that leave-last-out holds out: each user's last two in time, ties in file order, of three or more."""
    keys = ["user", "time"] if "time" in frame.columns else ["user"]
    ordered = frame.with_row_index("_row").sort(keys, maintain_order=True)
    ordered = ordered.select(
        "_row",
        held=(pl.int_range(pl.len()).over("user") >= pl.len().over("user") - 2) & (pl.len().over("user") >= 3),
    )
    return ordered.sort("_row")["held"]
