"""A run that dies at any step and goes on from its folder ends with the same bits as one that never died."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file

from temporec.data.augment import AugmentConfig
from temporec.data.dataset import build_dataset
from temporec.data.sequences import Sequences
from temporec.model import ModelConfig, ModelInputs, SequenceModel
from temporec.runtime import RunOptions
from temporec.training.trainer import Trainer, TrainingConfig

torch.set_num_threads(1)
rows = [(u, 1 + (u * 7 + t * t) % 23, t) for u in range(60) for t in range(8)]
log = build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))
config = ModelConfig.of({"encoder": {"kind": "gru", "dim": 8}, "dropout": 0.2, "loss": "cross_entropy"})
model = SequenceModel(config, ModelInputs(log.catalog.size))
training = TrainingConfig.of({"epochs": 4, "tokens": 48, "average": 0.9})
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
trainer = Trainer(training, RunOptions(precision="fp32"), resume=folder, every=0.0)
augment = AugmentConfig.of(json.loads(sys.argv[3]))
neighbours = np.roll(np.arange(log.catalog.size), 1)[:, None]
sequences = Sequences(log.interactions, 8, 48, augment=augment, neighbours=neighbours)
trainer.fit(model, sequences, lambda m: (float(m.item_table().detach().abs().mean()), 0.0))
save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, out)
"""


PLAIN = "{}"
AUGMENTED = '{"crop": 0.3, "prefix": 0.1, "mask": 0.1, "reorder": 0.2, "substitute": 0.2}'


def run(folder: Path, out: Path, augment: str, kill_after: float | None = None) -> bool:
    """One process; True if it came to its end."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(out), augment])
    if kill_after is not None:
        deadline = time.monotonic() + 60
        while not (folder / "current").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(kill_after)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    return process.wait(timeout=120) == 0


@pytest.mark.parametrize(("delays", "augment"), [((0.05, 0.3), PLAIN), ((0.15,), PLAIN), ((0.1, 0.2), AUGMENTED)])
def test_killed_and_resumed_gives_the_same_bits(tmp_path: Path, delays: tuple[float, ...], augment: str) -> None:
    assert run(tmp_path / "whole", tmp_path / "whole.safetensors", augment)
    for delay in delays:
        run(tmp_path / "broken", tmp_path / "broken.safetensors", augment, delay)
    assert run(tmp_path / "broken", tmp_path / "broken.safetensors", augment)
    whole, broken = load_file(tmp_path / "whole.safetensors"), load_file(tmp_path / "broken.safetensors")
    assert whole.keys() == broken.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, broken[name]), name
