"""Listeners are closed however a run ends, so that a progress bar never keeps the terminal."""

import polars as pl
import pytest

from temporec.data.dataset import build_dataset
from temporec.data.sequences import Sequences
from temporec.model import ModelConfig, ModelInputs, SequenceModel
from temporec.runtime import RunOptions
from temporec.training.listeners import Listeners, Silent
from temporec.training.trainer import Trainer, TrainingConfig


class Notes(Silent):
    def __init__(self, stop: bool) -> None:
        self.stop, self.heard = stop, []

    def start(self, epochs: int, positions: int) -> None:
        self.heard.append(f"start {epochs} {positions}")

    def step(self, epoch: int, step: int, loss: float, events: int) -> None:
        self.heard.append(f"step {step}")
        if self.stop:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.heard.append("close")


def run(notes: Notes) -> None:
    log = build_dataset(pl.DataFrame({"user": [1] * 4 + [2] * 4, "item": [1, 2, 3, 4] * 2}))
    model = SequenceModel(ModelConfig.of({"encoder": {"kind": "gru", "dim": 4}}), ModelInputs(log.catalog.size))
    trainer = Trainer(TrainingConfig(epochs=1, batch=1), RunOptions(precision="fp32"), Listeners([notes]))
    trainer.fit(model, Sequences(log.interactions, batch=1))


def test_closed_at_the_end_and_after_ctrl_c() -> None:
    notes = Notes(stop=False)
    run(notes)
    assert notes.heard == ["start 1 6", "step 1", "step 2", "close"]
    notes = Notes(stop=True)
    with pytest.raises(KeyboardInterrupt):
        run(notes)
    assert notes.heard == ["start 1 6", "step 1", "close"]
