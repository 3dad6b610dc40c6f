"""fit: from a raw log to a saved recommender with an honest report."""

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from temporec import __version__
from temporec.data.dataset import Dataset
from temporec.data.vocabulary import Id
from temporec.errors import ConfigError
from temporec.evaluation.comparison import Comparison, compare_results
from temporec.evaluation.leakage import CanaryReport
from temporec.evaluation.report import ReportData, write_report
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.training.listeners import CsvLog, Listener, Listeners
from temporec.training.progress import ProgressBar
from temporec.training.trackers import tracker
from temporec.workflow.canary import run_canary
from temporec.workflow.compare import figures_table, trial_dict
from temporec.workflow.experiment import Trial, make_split, try_baselines, try_model
from temporec.workflow.load import Loaded, load
from temporec.workflow.presets import DEFAULT
from temporec.workflow.reporting import report_data
from temporec.workflow.settings import Settings, apply_overrides, model_config

__all__ = ["FitReport", "fit"]


@dataclass(frozen=True, eq=False)
class FitReport:
    """A fitted recommender (on all events) and the figures of its held-out run."""

    recommender: Recommender
    trial: Trial
    baselines: dict[str, Trial]
    comparison: Comparison
    loaded: Loaded
    canary: CanaryReport | None

    def to_dict(self) -> dict[str, Any]:
        """The same fields as `compare`, with the model under its name."""
        return {
            "models": {self.trial.name: trial_dict(self.trial)},
            "baselines": {name: trial_dict(trial) for name, trial in self.baselines.items()},
            "comparison": self.comparison.to_dict(),
            "cleaning": self.loaded.report.to_dict(),
            "canary": None if self.canary is None else self.canary.to_dict(),
            "verdict": self.comparison.verdict,
        }

    @property
    def example_user(self) -> Id:
        """A user with a history of a few events, for a first try."""
        lengths = self.recommender.log.lengths
        return self.recommender.users.decode([int(np.argmin(np.abs(lengths - 8)))])[0]

    def to_text(self) -> str:
        """Cleaning, figures and verdict for people."""
        trials = {self.trial.name: self.trial, **self.baselines}
        parts = [self.loaded.report.to_text(), "", figures_table(trials), "", self.comparison.verdict]
        if self.recommender.profiles is not None:
            parts.append(self.recommender.profiles.sentence)
        return "\n".join(parts if self.canary is None else [*parts, self.canary.sentence])


def fit(
    log: Any,
    items: Any = None,
    model: str | FitConfig = DEFAULT,
    *,
    users: Any = None,
    settings: Settings | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> FitReport:
    """Clean a log, fit a model, test it honestly beside baselines, refit on all events, save.

    Args:
        log: anything that `load` takes.
        items: items table, or None.
        model: preset name or config.
        users: table of what is known of users (`profiles.` options), or None.
        settings: data, protocol, run.
        overrides: dotted options, for instance {"training.epochs": 2, "clean.min_item_events": 5}.
        out: folder to save to; `OUT.resume` holds the state of an unfinished run (`settings.resume` goes on with it).
    """
    settings, rest = apply_overrides(settings or Settings(), overrides or {})
    name = model_config(model, rest, settings.judge.target).name  # bad options come to light before any work
    loaded = load(log, items, settings.data, users)
    parts = make_split(loaded.dataset, settings.judge)
    config = model_config(model, rest, settings.judge.target, parts[0].train.interactions)
    with _work_folder(out, config, settings) as work:
        listen = _listeners(name, settings, work)
        trial = try_model(name, parts, config, settings.run, listener=listen("train"), resume=_part(work, "train"))
        baselines = try_baselines(parts, settings.run, settings.baselines)
        comparison = compare_results({name: trial.result}, {n: t.result for n, t in baselines.items()})
        canary = run_canary(loaded, parts[0].cuts, config, settings) if settings.canary else None
        recommender: Recommender = trial.recommender
        if settings.refit:
            recommender = _refit(loaded.dataset, config, settings, trial, listen("refit"), _part(work, "refit"))
        if out is not None:
            data = report_data(loaded, parts, {name: trial, **baselines}, comparison, settings, canary)
            facts = _run_facts(config, settings, loaded)
            recommender.save(out, lambda folder: _write_extra(folder, trial, data, facts, work))
            _forget(work)
    return FitReport(recommender, trial, baselines, comparison, loaded, canary)


def _write_extra(folder: Path, trial: Trial, data: ReportData, facts: dict[str, Any], work: Path | None) -> None:
    """Report, figures and predictions of the held-out run, and the facts of the run."""
    write_report(folder, data)
    trial.result.predictions.write_parquet(folder / "predictions.parquet")
    (folder / "figures.json").write_text(json.dumps(trial_dict(trial)), encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    if work is not None and (work / "log.csv").exists():
        shutil.copyfile(work / "log.csv", folder / "log.csv")


def _refit(
    dataset: Dataset, config: FitConfig, settings: Settings, trial: Trial, listener: Listener, resume: Path | None
) -> Recommender:
    """Train anew on all events, for the number of epochs that validation chose."""
    assert trial.fitted is not None
    again = config.override({"training.epochs": max(1, trial.fitted.epochs)})
    exclude, cold = trial.recommender.exclude_seen, trial.fitted.recommender.cold
    if cold is not None:
        again = again.override({"cold.offset": cold.offset, "cold.fade": trial.fitted.fade})
    return fit_recommender(
        dataset, again, settings.run, exclude_seen=exclude, listener=listener, resume=resume
    ).recommender


@contextmanager
def _work_folder(out: str | Path | None, config: FitConfig, settings: Settings) -> Iterator[Path | None]:
    """`OUT.resume`, emptied unless its run is to go on; a run that fails before its first state leaves nothing."""
    if out is None:
        yield None
        return
    out = Path(out)
    if out.exists() and not (out / "manifest.json").exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise ConfigError(f"--out {out} exists and is not a model folder of Temporec; choose another name")
    work = out.with_name(out.name + ".resume")
    marks = json.dumps(
        [config.to_dict(), settings.override({"run.progress": False, "resume": False}).to_dict()], sort_keys=True
    )
    same = (work / "settings.json").exists() and (work / "settings.json").read_text(encoding="utf-8") == marks
    if settings.resume and work.exists() and not same:
        raise ConfigError(
            f"the unfinished run in {work} was started with other settings; use the same, or leave out --resume"
        )
    try:
        if not (settings.resume and same):
            _forget(work)
            work.mkdir(parents=True)
            (work / "settings.json").write_text(marks, encoding="utf-8")
        yield work
    except BaseException:
        if not any(work.glob("*/current")):
            _forget(work)
        raise


def _listeners(name: str, settings: Settings, work: Path | None) -> Callable[[str], Listener]:
    def build(stage: str) -> Listener:
        parts: list[Listener] = []
        if settings.run.progress:
            parts.append(ProgressBar(name if stage == "train" else f"{name} ({stage})"))
        if work is not None and stage == "train":
            parts.append(CsvLog(work / "log.csv"))
        if settings.track != "none" and stage == "train":
            parts.append(tracker(settings.track, Path("runs"), name))
        return Listeners(parts)

    return build


def _part(work: Path | None, name: str) -> Path | None:
    return None if work is None else work / name


def _forget(work: Path | None) -> None:
    if work is not None:
        shutil.rmtree(work, ignore_errors=True)


def _run_facts(config: FitConfig, settings: Settings, loaded: Loaded) -> dict[str, Any]:
    """What is needed to repeat the run: seed, versions, settings, hash of the cleaned events."""
    log = loaded.dataset.interactions
    digest = hashlib.sha256(log.user.tobytes() + log.item.tobytes() + log.time.tobytes()).hexdigest()
    return {
        "seed": settings.run.seed,
        "versions": {"temporec": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "hardware": {"machine": platform.machine(), "threads": torch.get_num_threads()},
        "precision": settings.run.resolve_precision(),
        "data_hash": digest,
        "log_offset": len(log),
        "model": config.to_dict(),
        "settings": settings.to_dict(),
    }
