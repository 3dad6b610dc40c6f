"""From trials to the data of a report."""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from temporec.data.split import Split
from temporec.evaluation.comparison import Comparison
from temporec.evaluation.leakage import CanaryReport
from temporec.evaluation.report import DataFacts, Example, ModelRow, PairedDifference, Recommended, ReportData
from temporec.recommend.base import Recommender
from temporec.recommend.validation import hide_seen
from temporec.workflow.experiment import Trial, repeat_rate
from temporec.workflow.load import Loaded
from temporec.workflow.settings import Settings

__all__ = ["report_data"]

SHOWN = 6  # examples in a report


def report_data(
    loaded: Loaded,
    parts: tuple[Split, bool],
    trials: Mapping[str, Trial],
    comparison: Comparison,
    settings: Settings,
    canary: CanaryReport | None = None,
) -> ReportData:
    """Everything that report.html and report.json say."""
    made, exclude = parts
    models = [name for name, trial in trials.items() if trial.fitted is not None]
    return ReportData(
        title="Temporec: " + ", ".join(models),
        verdict=comparison.verdict,
        facts=_facts(loaded),
        cleaning=loaded.report.to_dict(),
        split=rules_in_words(made, exclude, settings),
        rows=[_row(trial) for trial in trials.values()],
        differences=[
            PairedDifference(
                model=name, baseline=comparison.best_baseline or "", metric=comparison.metric, mean=gap.mean,
                low=gap.low, high=gap.high, p=gap.p, n=gap.n,
            )
            for name, gap in comparison.differences.items()
        ],
        canary=None if canary is None else canary.to_dict(),
        examples_of=models[0] if models else None,
        examples=_examples(trials[models[0]].recommender, made, exclude) if models else (),
        run={
            "seed": settings.run.seed,
            "precision": settings.run.resolve_precision(),
            "threads": torch.get_num_threads(),
            "machine": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "settings": settings.to_dict(),
        },
    )  # fmt: skip


def rules_in_words(made: Split, exclude: bool, settings: Settings) -> list[str]:
    """How the log was split and how ranks were counted, a sentence each."""
    if made.cuts is None:
        lines = [
            "Leave-last-out: each user's last event is the test, the one before it validation; users with fewer than "
            "three events only train. The test history includes the validation event."
        ]
    else:
        first, second = (_day(cut) for cut in made.cuts)
        lines = [
            f"Global time: everything before {first} trains; each user's first event from {first} to {second} "
            f"validates, and the first one from {second} on is the test. Histories end at the cut."
        ]
    what = "the next event" if made.target == "next_event" else "every item of the next basket"
    return [
        *lines,
        f"The target is {what}. {len(made.train.interactions):,} events train, {len(made.valid):,} users validate, "
        f"{len(made.test):,} users test.",
        f"All {len(made.train.catalog):,} items are ranked, exactly; equal scores count against the model; an item "
        "that the training part does not know is a miss.",
        f"Items that the user already had are {'left out of' if exclude else 'kept in'} the ranking.",
        "The best epoch, and every option of the baselines, were chosen on validation alone.",
    ]


def _facts(loaded: Loaded) -> DataFacts:
    log = loaded.dataset.interactions
    span = f"{_day(int(log.time.min()))} to {_day(int(log.time.max()))}" if log.has_time else None
    return DataFacts(
        events=len(log), users=len(log.users), items=len(loaded.dataset.catalog), span=span,
        repeat_rate=repeat_rate(log), has_time=log.has_time,
    )  # fmt: skip


def _day(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%-d %b %Y")


def _row(trial: Trial) -> ModelRow:
    figures = trial.result.to_dict()
    fitted = trial.fitted
    curve: Sequence[Mapping[str, Any]] = ()
    if fitted is not None:
        curve = [vars(record) for record in fitted.records]
    return ModelRow(
        name=trial.name,
        is_model=fitted is not None,
        metrics=figures["test"],
        intervals={name: (pair[0], pair[1]) for name, pair in figures["interval"].items()},
        fit_seconds=trial.fit_seconds,
        peak_rss_mb=trial.peak_rss_mb,
        epochs=None if fitted is None else fitted.epochs,
        parameters=None if fitted is None else sum(p.numel() for p in fitted.recommender.model.parameters()),
        curve=curve,
        segments=figures["segments"],
    )


def _examples(recommender: Recommender, made: Split, exclude: bool, k: int = 5) -> list[Example]:
    """A few test users with histories of 3 to 12 events, evenly spread over the test."""
    lengths = made.test.histories.lengths
    fit = np.flatnonzero((lengths >= 3) & (lengths <= 12))
    rows = fit[np.linspace(0, len(fit) - 1, min(SHOWN, len(fit))).astype(np.int64)] if len(fit) else fit
    if not len(rows):
        return []
    cases, catalog = made.test.rows(rows), made.train.catalog
    scores = recommender.score(cases.histories).clone()
    if exclude:
        hide_seen(scores, cases.histories)
    chances = torch.softmax(scores, dim=1)
    values, items = torch.topk(scores, k, dim=1)
    shown = []
    for b in range(len(cases)):
        history = cases.histories.items[cases.histories.offsets[b] : cases.histories.offsets[b + 1]]
        truth = cases.targets[cases.offsets[b] : cases.offsets[b + 1]]
        truth = truth[truth > 0]
        top = items[b][torch.isfinite(values[b])].numpy()
        users = cases.histories.users
        user = "" if users is None else str(made.train.interactions.users.decode(users[b : b + 1])[0])
        shown.append(
            Example(
                user=user,
                history=catalog.titles(history),
                recommended=[
                    Recommended(title=title, probability=float(chances[b, item]), hit=bool((truth == item).any()))
                    for title, item in zip(catalog.titles(top), top, strict=True)
                ],
                truth=catalog.titles(truth),
            )
        )
    return shown
