"""One epoch of RecTools' SASRec in RecTools' own environment; `train_speed.py` starts it. Prints one JSON line.

python rectools_sasrec.py LOG.csv BATCHES     (columns user, item, time; 0 batches = all)
"""

import json
import re
import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
import torch  # noqa: E402
from pytorch_lightning import Callback, Trainer  # noqa: E402
from rectools import Columns  # noqa: E402
from rectools.dataset import Dataset  # noqa: E402
from rectools.models import SASRecModel  # noqa: E402


class Clock(Callback):
    """Seconds and batches of the epoch, without preparation."""

    def on_train_epoch_start(self, trainer, module):
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer, module):
        self.seconds = time.perf_counter() - self.began
        self.batches, self.all_batches = trainer.num_training_batches, len(trainer.train_dataloader)


def main():
    """Fit one epoch and print its costs."""
    torch.manual_seed(0)
    limit = int(sys.argv[2]) or 1.0
    frame = pd.read_csv(sys.argv[1])
    frame.columns = [Columns.User, Columns.Item, Columns.Datetime]
    frame[Columns.Datetime] = pd.to_datetime(frame[Columns.Datetime], unit="ms")
    frame[Columns.Weight] = 1.0
    model = SASRecModel(
        n_blocks=2, n_heads=2, n_factors=64, session_max_len=50, loss="softmax", batch_size=128, epochs=1, lr=1e-3,
        get_trainer_func=lambda: Trainer(
            max_epochs=1, accelerator="cpu", callbacks=[Clock()], logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, limit_train_batches=limit,
        ),
    )  # fmt: skip
    began = time.perf_counter()
    model.fit(Dataset.construct(frame))
    whole = time.perf_counter() - began
    # RecTools trains with a copy of the trainer.
    clock = next(each for each in model.fit_trainer.callbacks if isinstance(each, Clock))
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    print(json.dumps({
        "epoch_seconds": clock.seconds * clock.all_batches / clock.batches,
        "batches_run": clock.batches, "batches_in_an_epoch": clock.all_batches,
        "fit_seconds": whole, "peak_mb": int(peak[1]) / 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
