"""compare: several models and all baselines on one honest split, with a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporec.baselines.base import Baseline
from temporec.data.interactions import Interactions
from temporec.errors import ConfigError
from temporec.evaluation.comparison import Comparison, compare_results
from temporec.evaluation.report import write_report
from temporec.recommend.fit_config import FitConfig
from temporec.training.listeners import Listener
from temporec.training.progress import ProgressBar
from temporec.workflow.experiment import Trial, make_split, try_baselines, try_model
from temporec.workflow.load import Loaded, load
from temporec.workflow.presets import DEFAULT
from temporec.workflow.reporting import report_data
from temporec.workflow.settings import Settings, apply_overrides, model_config

__all__ = ["CompareReport", "compare"]


@dataclass(frozen=True, eq=False)
class CompareReport:
    """Trials of models and baselines on one split."""

    models: dict[str, Trial]
    baselines: dict[str, Trial]
    comparison: Comparison
    loaded: Loaded

    def to_dict(self) -> dict[str, Any]:
        """{"models": {name: {"test", "interval", "fit_seconds", "epochs", "peak_rss_mb", ...}}, "verdict": ...}."""
        return {
            "models": {name: trial_dict(trial) for name, trial in self.models.items()},
            "baselines": {name: trial_dict(trial) for name, trial in self.baselines.items()},
            "comparison": self.comparison.to_dict(),
            "cleaning": self.loaded.report.to_dict(),
            "verdict": self.comparison.verdict,
        }

    def to_text(self) -> str:
        """Figures and verdict for people."""
        return "\n".join([figures_table({**self.models, **self.baselines}), "", self.comparison.verdict])


def figures_table(trials: Mapping[str, Trial]) -> str:
    """One line per model: the main figures on test, with the 95 % interval of NDCG@10."""
    lines = [f"{'':<14}{'HR@10':>8}{'NDCG@10':>9}   95 % interval      {'MRR@10':>7}{'top-1':>8}{'fit s':>8}{'MB':>7}"]
    rows = [(name, trial.result.to_dict(), trial) for name, trial in trials.items()]
    for name, figures, trial in sorted(rows, key=lambda row: -row[1]["test"]["ndcg@10"]):
        test, (low, high) = figures["test"], figures["interval"]["ndcg@10"]
        lines.append(
            f"{name:<14}{test['hit_rate@10']:>8.4f}{test['ndcg@10']:>9.4f}   {low:.4f} to {high:.4f}  "
            f"{test['mrr@10']:>7.4f}{test['accuracy@1']:>8.4f}{trial.fit_seconds:>8.1f}{trial.peak_rss_mb:>7.0f}"
        )
    return "\n".join(lines)


def trial_dict(trial: Trial) -> dict[str, Any]:
    """Figures of one trial as JSON values."""
    figures = {**trial.result.to_dict(), "fit_seconds": round(trial.fit_seconds, 2), "peak_rss_mb": trial.peak_rss_mb}
    if trial.fitted is not None:
        figures["epochs"] = trial.fitted.epochs
        figures["epochs_run"] = len(trial.fitted.records)
        figures["parameters"] = sum(p.numel() for p in trial.fitted.recommender.model.parameters())
    if isinstance(trial.recommender, Baseline):
        figures["config"] = trial.recommender.config.to_dict()
    return figures


def compare(
    log: Any,
    items: Any = None,
    models: Sequence[str | FitConfig] | Mapping[str, FitConfig] = (DEFAULT,),
    *,
    settings: Settings | None = None,
    overrides: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> CompareReport:
    """Fit several models on the training part of one split and test them beside tuned baselines.

    Args:
        log: anything that `load` takes.
        items: items table, or None.
        models: preset names or configs; a mapping names them.
        settings: data, protocol, run.
        overrides: dotted options, for instance {"training.epochs": 2}; they hold for every model.
        out: folder for report.html and report.json.
    """
    if out is not None and Path(out).is_file():
        raise ConfigError(f"--out {out} is a file; give the name of a folder")
    settings, rest = apply_overrides(settings or Settings(), overrides or {})
    _named(models, rest, settings)  # bad options come to light before any work
    loaded = load(log, items, settings.data)
    parts = make_split(loaded.dataset, settings.judge)
    configs = _named(models, rest, settings, parts[0].train.interactions)
    baselines = try_baselines(parts, settings.run, settings.baselines)
    trials: dict[str, Trial] = {}
    for name, config in configs.items():
        listener: Listener | None = ProgressBar(name) if settings.run.progress else None
        trials[name] = try_model(name, parts, config, settings.run, listener=listener)
    comparison = compare_results(
        {name: trial.result for name, trial in trials.items()},
        {name: trial.result for name, trial in baselines.items()},
    )
    report = CompareReport(trials, baselines, comparison, loaded)
    if out is not None:
        write_report(Path(out), report_data(loaded, parts, {**trials, **baselines}, comparison, settings))
    return report


def _named(
    models: Sequence[str | FitConfig] | Mapping[str, FitConfig],
    rest: Mapping[str, Any],
    settings: Settings,
    log: Interactions | None = None,
) -> dict[str, FitConfig]:
    if isinstance(models, str):
        raise ConfigError(f"models must be a list of names; got the text {models!r}")
    pairs: list[tuple[str, str | FitConfig]] = (
        list(models.items())
        if isinstance(models, Mapping)
        else [(m if isinstance(m, str) else m.name, m) for m in models]
    )
    if not pairs:
        raise ConfigError("compare needs at least one model, for instance gru,transformer")
    return {name: model_config(model, rest, settings.judge.target, log) for name, model in pairs}
