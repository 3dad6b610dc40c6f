"""All settings of a verb in one object, and the way from `--set a.b=c` to the part that it belongs to."""

from collections.abc import Mapping
from typing import Any, Literal

from temporec.config import Config
from temporec.data.interactions import Interactions
from temporec.errors import ConfigError
from temporec.recommend.fit_config import FitConfig
from temporec.runtime import RunOptions
from temporec.workflow.experiment import BASELINES, ProtocolConfig
from temporec.workflow.load import LoadConfig
from temporec.workflow.presets import fit_config, override

__all__ = ["Settings", "apply_overrides"]


class Settings(Config):
    """Everything that is not the model.

    Args:
        data: columns, cleaning, encoding.
        judge: protocol, cuts, target, seen items.
        run: seed, device, precision, threads.
        baselines: names of the baselines to compare with.
        canary: test for leaks (a few short fits on a sample of the log).
        refit: after the held-out run, fit again on all events for the chosen number of epochs.
        resume: go on with the unfinished run of the same output folder.
        track: also log to tensorboard or mlflow.
    """

    data: LoadConfig = LoadConfig()
    judge: ProtocolConfig = ProtocolConfig()
    run: RunOptions = RunOptions()
    baselines: tuple[str, ...] = BASELINES
    canary: bool = True
    refit: bool = True
    resume: bool = False
    track: Literal["none", "tensorboard", "mlflow"] = "none"


def apply_overrides(settings: Settings, values: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings with dotted overrides, and what is left over for the model (`training.epochs`, `encoder.dim` ...).

    `clean.X` and `columns.X` are short for `data.clean.X` and `data.columns.X`.
    """
    own: dict[str, Any] = {}
    model: dict[str, Any] = {}
    for key, value in values.items():
        head = key.split(".")[0]
        if head in ("clean", "columns"):
            own[f"data.{key}"] = value
        elif head in Settings.model_fields:
            own[key] = value
        elif head in FitConfig.model_fields:
            model[key] = value
        else:
            known = sorted({"clean", "columns", *Settings.model_fields, *FitConfig.model_fields})
            raise ConfigError(f"unknown option {key!r}; the first part must be one of: {', '.join(known)}")
    return settings.override(own), model


def model_config(
    model: "str | FitConfig", overrides: Mapping[str, Any], target: str, log: Interactions | None = None
) -> FitConfig:
    """The settings of one model, for the target that is judged and, of a preset, for a training log of its kind."""
    config = override(model, overrides) if isinstance(model, FitConfig) else fit_config(model, None, overrides, log)
    return config if config.target == target else config.override({"target": target})
