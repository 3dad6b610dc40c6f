"""Settings for each `--model`, tuned on the given data sets, so that a user need not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from temporec import registry
from temporec.data.interactions import Interactions
from temporec.errors import ConfigError, UnknownNameError
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.recommender import NeuralRecommender

__all__ = ["DEFAULT", "PRESETS", "fit_config", "saved_config"]

DEFAULT = "gru"  # the best of them on short histories, and the cheapest

_SHARED: dict[str, Any] = {"dropout": 0.5, "ids": {"std": 0.1}, "training": {"average": 0.995, "tokens": 2048}}
_ENCODERS: dict[str, dict[str, Any]] = {
    **{kind: {"dim": 256} for kind in ("gru", "lstm", "rnn", "mean")},
    "tcn": {"dropout": 0.2, "layers": 2},
    "transformer": {"dropout": 0.2},
    "hstu": {"dropout": 0.2},
}
PRESETS = {kind: {**_SHARED, "encoder": {"kind": kind, **own}} for kind, own in _ENCODERS.items()}
PRESETS["semantic"] = {**PRESETS[DEFAULT], "recommender": {"kind": "semantic"}}

# What is different where histories are long, on average: many events per item too, so less has to be held back.
LONG_HISTORY = 50
_LONG = {
    "encoder.dim": 128, "encoder.max_len": 200, "dropout": 0.2, "ids.std": 0.05, "training.tokens": 4096,
    "training.average": 0.999,
}  # fmt: skip
_LONG_OWN = {"tcn": {"encoder.layers": 6}}  # it sees 1 + (kernel - 1) (2^layers - 1) events


def fit_config(
    model: str | None = None,
    file: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    log: Interactions | None = None,
) -> FitConfig:
    """The settings of a preset, or of a file, with dotted overrides on top.

    Args:
        model: name of a preset.
        file: YAML or JSON file instead.
        overrides: changing `encoder.kind` keeps the options that both encoders have.
        log: the training log; a preset takes its settings for long histories where it has `LONG_HISTORY` events per
            user or more.
    """
    if model is not None and file is not None:
        raise ConfigError("give --model or --config, not both; a config file names its encoder itself")
    if file is not None:
        config = FitConfig.from_file(file)
    else:
        name = model or DEFAULT
        if name not in PRESETS:
            raise UnknownNameError(
                f"no model named {name!r}; known: {', '.join(PRESETS)}; or write a file for --config"
            )
        config = FitConfig.of(PRESETS[name])
        if log is not None and len(log) >= LONG_HISTORY * np.count_nonzero(np.diff(log.offsets)):
            config = config.override(_LONG | _LONG_OWN.get(name, {}))
    return override(config, overrides or {})


def saved_config(folder: str | Path) -> FitConfig:
    """The settings of a fitted model, to go on from it."""
    recommender = Recommender.load(folder)
    if not isinstance(recommender, NeuralRecommender) or not isinstance(recommender.model.config, FitConfig):
        raise ConfigError(f"{folder} holds {recommender.kind}, not a model that another fit can go on from")
    return recommender.model.config


def override(config: FitConfig, values: Mapping[str, Any]) -> FitConfig:
    """Dotted overrides; a new `kind` drops the options of its part that it does not have."""
    values = dict(values)
    for part in ("encoder", "loss", "recommender"):
        kind = values.pop(f"{part}.kind", values.pop(part, None) if isinstance(values.get(part), str) else None)
        if kind is None:
            continue
        allowed = registry.get(part, kind).Config.model_fields
        kept = {key: value for key, value in config.to_dict()[part].items() if key in allowed}
        config = FitConfig.of({**config.to_dict(), part: {**kept, "kind": kind}})
    return config.override(values)
