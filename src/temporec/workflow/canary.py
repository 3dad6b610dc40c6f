"""The leak canary of a fit: the whole way from the mapped frame to scores, on a sample, with other futures planted."""

import polars as pl

from temporec.data.dataset import Dataset
from temporec.data.times import parse_times
from temporec.errors import DataError, EmptyLogError
from temporec.evaluation.leakage import CanaryReport, ItemScores, item_scores, leak_canary, past_events
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.workflow.load import Loaded, load_frame
from temporec.workflow.settings import Settings

__all__ = ["run_canary"]

_HELD = "_held_out"


def run_canary(
    loaded: Loaded, cuts: tuple[int, int] | None, config: FitConfig, settings: Settings
) -> CanaryReport | None:
    """Fit one small epoch on a sample of users per planted future and compare all scores, to the last bit.

    Args:
        loaded: the log, before and after cleaning.
        cuts: (valid_at, test_at) of the split; None = leave-last-out, where each user's last event is the future.
        config: the model; its text, events and losses are kept, its epochs are cut to one.
        settings: the cleaning is that of the run.

    Returns None where the sample is too small to say anything.
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
        frame = frame.with_columns(pl.int_range(pl.len()).over("user").eq(pl.len().over("user") - 1).alias(_HELD))
        cut: pl.Series | int = frame[_HELD]
    else:
        cut = cuts[0]
    probes = past_events(frame, cut, users=50)

    def fit(changed: pl.DataFrame) -> ItemScores:
        past = changed.filter(~pl.col(_HELD)).drop(_HELD) if cuts is None else changed
        whole = load_frame(past, loaded.items, settings.data, fit_until=None if cuts is None else cuts[0])
        dataset: Dataset = whole.dataset
        if cuts is not None:
            dataset = dataset.restrict(dataset.interactions.time < cuts[0])
        return item_scores(fit_recommender(dataset, small, run).recommender, probes)

    try:
        return leak_canary(frame, cut, fit, seed=settings.run.seed)
    except (DataError, EmptyLogError):
        return None
