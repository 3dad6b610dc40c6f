"""One honest trial: split, fit, test; the same for models and baselines."""

import re
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from temporec.baselines.tuning import tune
from temporec.config import Config
from temporec.data.dataset import Dataset
from temporec.data.interactions import Interactions
from temporec.data.split import Split, split
from temporec.errors import MissingExtraError
from temporec.evaluation.protocol import EvaluationConfig, Result, evaluate
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import Fitted, fit_recommender
from temporec.runtime import RunOptions
from temporec.training.listeners import Listener

__all__ = [
    "BASELINES",
    "ProtocolConfig",
    "Trial",
    "make_split",
    "peak_rss_mb",
    "repeat_rate",
    "try_baselines",
    "try_model",
]

BASELINES = ("popularity", "markov", "session_knn", "item_knn", "ease")
EASE_ITEMS = 15_000  # more items than that take minutes and gigabytes


class ProtocolConfig(Config):
    """How models are judged.

    Args:
        protocol: global-time (default) or leave-last-out.
        cuts: shares of events before validation and before test (global-time).
        target: the next event, or the next basket (events of one user at one time).
        seen: leave a user's seen items out of the ranking; "auto" leaves them out where under 10 % of events repeat.
    """

    protocol: Literal["global-time", "leave-last-out"] = "global-time"
    cuts: tuple[float, float] = (0.8, 0.9)
    target: Literal["next_event", "next_basket"] = "next_event"
    seen: Literal["auto", "exclude", "include"] = "auto"


@dataclass(frozen=True, eq=False)
class Trial:
    """A fitted recommender with its test result and its costs."""

    name: str
    recommender: Recommender
    result: Result
    fit_seconds: float
    peak_rss_mb: float
    fitted: Fitted | None = None  # of a model
    tuning: tuple[dict[str, Any], ...] = ()  # of a baseline: what was tried


def make_split(dataset: Dataset, protocol: ProtocolConfig) -> tuple[Split, bool]:
    """The split, and whether seen items are left out (decided on the training part alone)."""
    made = split(dataset, protocol.protocol, protocol.target, protocol.cuts)
    if protocol.seen != "auto":
        return made, protocol.seen == "exclude"
    return made, repeat_rate(made.train.interactions) < 0.1


def repeat_rate(log: Interactions) -> float:
    """Share of events on an item that the user had before, among events that are not a user's first."""
    pairs = log.user.astype(np.int64) * (int(log.item.max()) + 1) + log.item
    later = len(log) - int((np.diff(log.offsets) > 0).sum())
    return float((len(log) - len(np.unique(pairs))) / max(1, later))


def try_model(
    name: str,
    parts: tuple[Split, bool],
    config: FitConfig,
    options: RunOptions,
    *,
    listener: Listener | None = None,
    resume: Path | None = None,
) -> Trial:
    """Fit on the training part, stop by validation, evaluate on test."""
    made, exclude = parts
    _reset_peak()
    began = time.perf_counter()
    fitted = fit_recommender(
        made.train, config, options, made.valid, exclude_seen=exclude, listener=listener, resume=resume
    )
    seconds, peak = time.perf_counter() - began, peak_rss_mb()
    result = evaluate(fitted.recommender, made.test, _judge(exclude, options), train=made.train)
    return Trial(name, fitted.recommender, result, seconds, peak, fitted)


def try_baselines(parts: tuple[Split, bool], options: RunOptions, names: Sequence[str] = BASELINES) -> dict[str, Trial]:
    """Every baseline, tuned on validation; one whose extra is not installed, or that is too large, is left out."""
    made, exclude = parts
    trials = {}
    for name in names:
        if name == "ease" and len(made.train.catalog) > EASE_ITEMS:
            continue
        _reset_peak()
        began = time.perf_counter()
        try:
            tuned = tune(name, made.train, made.valid, exclude_seen=exclude, seed=options.seed)
        except MissingExtraError:
            continue
        seconds, peak = time.perf_counter() - began, peak_rss_mb()
        result = evaluate(tuned.recommender, made.test, _judge(exclude, options), train=made.train)
        trials[name] = Trial(name, tuned.recommender, result, seconds, peak, tuning=tuple(tuned.table))
    return trials


def _judge(exclude: bool, options: RunOptions) -> EvaluationConfig:
    return EvaluationConfig(exclude_seen=exclude, seed=options.seed)


def _reset_peak() -> None:
    """Let the kernel count peak memory anew (Linux only)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_rss_mb() -> float:
    """Peak resident memory of this process in MB, since the last reset where the system has one."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))):
        return round(int(found.group(1)) / 1024, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)
