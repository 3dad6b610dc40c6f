"""Presets by the kind of log."""

import polars as pl
import pytest

from temporec.data.dataset import build_dataset
from temporec.data.interactions import Interactions
from temporec.workflow.presets import LONG_HISTORY, PRESETS, fit_config


def log_of(events: int) -> Interactions:
    rows = [(user, (user + t) % 90, t) for user in range(3) for t in range(events)]
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")).interactions


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_knows_long_histories_and_obeys(name: str) -> None:
    short, long = (fit_config(name, log=log_of(events)) for events in (LONG_HISTORY - 1, LONG_HISTORY))
    assert short == fit_config(name)
    assert long.encoder.max_len > short.encoder.max_len
    assert long.name == short.name == name
    assert long.encoder.kind == short.encoder.kind
    assert fit_config(name, None, {"encoder.max_len": 7}, log_of(LONG_HISTORY)).encoder.max_len == 7
