"""The state of an unfinished run as plain files (safetensors and JSON), replaced atomically."""

import json
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from temporec.durable import file_hash, fsync_folder, write_atomic, writing
from temporec.errors import CheckpointError
from temporec.model import SequenceModel
from temporec.training.listeners import EpochRecord
from temporec.training.stopping import EarlyStopping

__all__ = ["Progress", "ResumeFolder"]

FORMAT = 1


@dataclass
class Progress:
    """Where a run stands: everything beside weights and optimiser that it needs to go on."""

    epoch: int = 0
    step: int = 0  # within the epoch
    total_steps: int = 0
    steps_per_epoch: int = 0
    loss_sum: float = 0.0
    events: int = 0
    seconds: float = 0.0
    stopping: tuple[float, int, int] = (float("-inf"), -1, 0)
    records: list[EpochRecord] = field(default_factory=list)
    average: dict[str, Tensor] | None = None
    best: dict[str, Tensor] | None = None

    @property
    def mean_loss(self) -> float:
        return self.loss_sum / max(1, self.step)

    @property
    def best_epochs(self) -> int:
        """Number of epochs that validation chose (all, without validation)."""
        return self.stopping[1] + 1 if self.stopping[1] >= 0 else self.epoch

    def add(self, loss: float, events: int) -> None:
        self.step += 1
        self.total_steps += 1
        self.loss_sum += loss
        self.events += events

    def end_epoch(self, figures: tuple[float | None, float | None], seconds: float, stopping: EarlyStopping) -> None:
        best = figures[0] is not None and stopping.best_epoch == self.epoch
        self.records.append(EpochRecord(self.epoch + 1, self.mean_loss, *figures, round(seconds, 3), self.events, best))
        self.stopping = (stopping.best, stopping.best_epoch, stopping.waited)
        self.epoch, self.step, self.loss_sum, self.events, self.seconds = self.epoch + 1, 0, 0.0, 0, 0.0


class ResumeFolder:
    """`root/NNNNNNNN/` holds one complete state, `root/current` names it; a new one is written beside, then named."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.saved_at = time.monotonic()

    def exists(self) -> bool:
        return (self.root / "current").is_file()

    def clear(self) -> None:
        """Forget the run."""
        shutil.rmtree(self.root, ignore_errors=True)

    def save(self, progress: Progress, model: SequenceModel, optimizer: torch.optim.Optimizer) -> None:
        """Write the whole state; a crash at any moment leaves the last complete one.

        Raises:
            CheckpointError: the disk is full or not writable; what was written of this state is gone again.
        """
        target = self.root / f"{progress.total_steps:08d}-{len(progress.records)}"
        hint = "free space, then give the same command with --resume"
        with writing(self.root, target, hint):
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(parents=True)
            tensors = {"model": model.state_dict(), "optimizer": _optimizer_tensors(optimizer)}
            for name in ("average", "best"):
                value = getattr(progress, name)
                if value is not None:
                    tensors[name] = value
            files = {}
            for name, values in tensors.items():
                file = target / f"{name}.safetensors"
                save_file({key: value.detach().contiguous() for key, value in values.items()}, file)
                files[name] = file_hash(file)
            plain = {key: value for key, value in asdict(_plain(progress)).items() if key not in ("average", "best")}
            state = {"format": FORMAT, "files": files, "progress": plain}
            (target / "progress.json").write_text(json.dumps(state), encoding="utf-8")
            fsync_folder(target)
        with writing(self.root, self.root / "current.part", hint):
            write_atomic(self.root / "current", target.name)
        for old in self.root.iterdir():
            if old.is_dir() and old != target:
                shutil.rmtree(old, ignore_errors=True)
        self.saved_at = time.monotonic()

    def load(self, model: SequenceModel, optimizer: torch.optim.Optimizer) -> Progress:
        """Put the state into model and optimizer and return the progress.

        Raises:
            CheckpointError: a file is missing, damaged, from a newer version or of another configuration.
        """
        try:
            folder = self.root / (self.root / "current").read_text(encoding="utf-8").strip()
            state = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
            if state["format"] > FORMAT:
                raise ValueError(f"it is in format {state['format']}, this version reads up to {FORMAT}")
            damaged = [n for n, known in state["files"].items() if file_hash(folder / f"{n}.safetensors") != known]
            if damaged:
                raise ValueError(f"{damaged[0]}.safetensors is damaged")
            tensors = {name: load_file(folder / f"{name}.safetensors") for name in state["files"]}
            model.load_state_dict(tensors["model"])
            _load_optimizer(optimizer, tensors["optimizer"])
            plain = state["progress"]
            plain["records"] = [EpochRecord(**record) for record in plain["records"]]
            plain["stopping"] = tuple(plain["stopping"])
            return Progress(**plain, average=tensors.get("average"), best=tensors.get("best"))
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            raise CheckpointError(
                f"the unfinished run in {self.root} cannot be resumed ({' '.join(str(error).split())[:200]}); "
                "use the version and configuration that it was started with, or leave out --resume to start anew"
            ) from None


def _plain(progress: Progress) -> Progress:
    copy = Progress(**{**vars(progress), "average": None, "best": None})
    return copy


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, row in state.items() for name, value in row.items()}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
