"""Settings for each `--model`, tuned on the given data sets, so that a user need not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporec import registry
from temporec.errors import ConfigError, UnknownNameError
from temporec.recommend.fit_config import FitConfig

__all__ = ["PRESETS", "fit_config"]

_TRAINING = {"average": 0.995}
PRESETS: dict[str, dict[str, Any]] = {
    **{kind: {"encoder": {"kind": kind}, "dropout": 0.5, "training": _TRAINING} for kind in ("rnn", "lstm", "gru")},
    "tcn": {"encoder": {"kind": "tcn", "dropout": 0.1}, "dropout": 0.5, "training": _TRAINING},
    "transformer": {"encoder": {"kind": "transformer", "dropout": 0.1}, "dropout": 0.5, "training": _TRAINING},
    "hstu": {"encoder": {"kind": "hstu", "dropout": 0.1}, "dropout": 0.5, "training": _TRAINING},
    "mean": {"encoder": {"kind": "mean"}, "residual": True, "dropout": 0.5, "training": _TRAINING},
}


def fit_config(
    model: str | None = None, file: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> FitConfig:
    """The settings of a preset, or of a file, with dotted overrides on top.

    Changing `encoder.kind` keeps the options that both encoders have.
    """
    if model is not None and file is not None:
        raise ConfigError("give --model or --config, not both; a config file names its encoder itself")
    if file is not None:
        config = FitConfig.from_file(file)
    else:
        name = model or "transformer"
        if name not in PRESETS:
            raise UnknownNameError(
                f"no model named {name!r}; known: {', '.join(PRESETS)}; or write a file for --config"
            )
        config = FitConfig.of(PRESETS[name])
    return override(config, overrides or {})


def override(config: FitConfig, values: Mapping[str, Any]) -> FitConfig:
    """Dotted overrides; a new `kind` of encoder or loss drops the options that the new kind does not have."""
    values = dict(values)
    for part in ("encoder", "loss"):
        kind = values.pop(f"{part}.kind", values.pop(part, None) if isinstance(values.get(part), str) else None)
        if kind is None:
            continue
        allowed = registry.get(part, kind).Config.model_fields
        kept = {key: value for key, value in config.to_dict()[part].items() if key in allowed}
        config = FitConfig.of({**config.to_dict(), part: {**kept, "kind": kind}})
    return config.override(values)
