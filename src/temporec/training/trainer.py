"""The training loop: it fits on one screen and belongs to us; Fabric only moves tensors and sets the precision."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from temporec.config import Config
from temporec.data.negatives import NegativeSampler
from temporec.data.sequences import Sequences
from temporec.errors import TrainingError
from temporec.model import SequenceModel
from temporec.runtime import RunOptions, generator, keeping_memory
from temporec.training.checkpoint import Progress, ResumeFolder
from temporec.training.listeners import Listener, Silent
from temporec.training.schedule import learning_rate
from temporec.training.stopping import EarlyStopping

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Trainer", "TrainingConfig"]

Validate = Callable[[SequenceModel], tuple[float, float]]  # NDCG@10 (decides), top-1 accuracy


class TrainingConfig(Config):
    """How to learn. `epochs` is the most; validation stops earlier."""

    epochs: PositiveInt = 40
    optimizer: Literal["adamw", "adam"] = "adamw"
    lr: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.0
    tokens: PositiveInt = 1024  # positions per batch, pads included
    batch: PositiveInt | None = None  # or a fixed number of windows per batch
    clip: NonNegativeFloat = 5.0  # largest gradient norm, 0 = off
    patience: PositiveInt = 3  # epochs without a better validation NDCG@10
    average: float = Field(0.0, ge=0.0, lt=1.0)  # decay of the averaged weights, 0 = off
    warmup: NonNegativeInt = 0  # steps
    cosine: bool = False  # decay to a tenth over `epochs`
    validate_from: NonNegativeInt = 0  # first epoch that is validated
    popularity_power: NonNegativeFloat = 0.5  # negatives are drawn by count ** power


class Trainer:
    """Fits a SequenceModel on Sequences.

    Args:
        config: how to learn.
        options: seed, device, precision, threads.
        resume: folder for the state of an unfinished run; None = do not keep one.
        every: seconds between two saves of that state (0 = after every step; it is saved after every epoch anyway).
    """

    def __init__(
        self,
        config: TrainingConfig,
        options: RunOptions | None = None,
        listener: Listener | None = None,
        resume: Path | None = None,
        every: float = 60.0,
    ) -> None:
        self.config, self.options = config, options or RunOptions()
        self.listener = listener or Silent()
        self.folder = None if resume is None else ResumeFolder(resume)
        self.every = every
        self.options.apply()
        self.precision = self.options.resolve_precision()

    @keeping_memory()
    def fit(self, model: SequenceModel, sequences: Sequences, validate: Validate | None = None) -> Progress:
        """Train until validation stops improving (or for all epochs); the model ends with its best weights.

        Order of batches, dropout and negatives are a function of (seed, epoch, step) alone, so an interrupted run that
        goes on from its resume folder gives the same weights, bit by bit, as one that was never interrupted.
        """
        device = self.options.resolve_device()
        fabric = self._fabric(device)
        wrapped, optimizer = fabric.setup(model, self._optimizer(model))
        wrapped.mark_forward_method("loss")
        sampler = self._sampler(model, sequences)
        progress = self._start(model, optimizer)
        stopping = EarlyStopping(self.config.patience, *progress.stopping)
        self.listener.start(self.config.epochs, sequences.positions)
        with closing(self.listener):
            while progress.epoch < self.config.epochs and not stopping.stop:
                began = time.perf_counter()
                model.train()
                batches = sequences.batches(self.options.seed, progress.epoch, skip=progress.step)
                for batch in batches:
                    self._before_step(model, optimizer, progress, sequences)
                    negatives = None if sampler is None else sampler.draw(model.criterion.needs.negatives, device)
                    with fabric.autocast():  # on one device Fabric does not wrap `loss` itself
                        loss = wrapped.loss(batch.to(device), negatives)
                    fabric.backward(loss)
                    torch.nn.utils.clip_grad_norm_(model.parameters(), self.config.clip or math.inf, foreach=True)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    self._after_step(progress, model, optimizer, loss.detach(), int(batch.lengths.sum()))
                seconds = progress.seconds + time.perf_counter() - began
                value = accuracy = None
                if validate is not None and progress.epoch >= self.config.validate_from:
                    with self._averaged(model, progress.average):
                        self._renew(model)
                        value, accuracy = validate(model.eval())
                        if stopping.update(value, progress.epoch):
                            progress.best = _copy(model)
                progress.end_epoch((value, accuracy), seconds, stopping)
                self._save(progress, model, optimizer, force=True)
                self.listener.epoch(progress.records[-1])
        self._finish(model, progress)
        return progress

    def _fabric(self, device: torch.device) -> "Fabric":
        from lightning_fabric import Fabric  # seconds to import, and recommending needs none of it

        precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if self.precision == "bf16" else "32-true"
        return Fabric(accelerator=device.type, devices=1, precision=precision)

    def _optimizer(self, model: SequenceModel) -> torch.optim.Optimizer:
        kind = torch.optim.AdamW if self.config.optimizer == "adamw" else torch.optim.Adam
        live = [] if model.live is None else list(model.live.parameters())
        rest = [weight for weight in model.parameters() if all(weight is not each for each in live)]
        groups: list[dict[str, Any]] = [{"params": rest, "share": 1.0}]
        if model.live is not None:
            groups.append({"params": live, "share": model.live.config.encoder_lr / self.config.lr})
        return kind(groups, lr=self.config.lr, weight_decay=self.config.weight_decay, betas=(0.9, 0.98), fused=True)

    def _sampler(self, model: SequenceModel, sequences: Sequences) -> "_Draw | None":
        if not model.criterion.needs.negatives:
            return None
        counts = np.bincount(sequences.log.item, minlength=model.item_table().shape[0])
        allowed = None if model.released is None else np.isin(np.arange(len(counts)), model.released.cpu().numpy())
        return _Draw(NegativeSampler(counts, self.config.popularity_power, allowed), self)

    def _start(self, model: SequenceModel, optimizer: torch.optim.Optimizer) -> Progress:
        progress = Progress()
        if self.folder is not None and self.folder.exists():
            progress = self.folder.load(model, optimizer)
        elif self.config.average:
            progress.average = _copy(model)
        self.progress = progress
        return progress

    def _renew(self, model: SequenceModel) -> None:
        for done, total in model.renew():
            self.listener.renew(done, total)

    def _before_step(
        self, model: SequenceModel, optimizer: torch.optim.Optimizer, progress: Progress, sequences: Sequences
    ) -> None:
        if progress.steps_per_epoch == 0:
            progress.steps_per_epoch = sequences.count(self.options.seed, progress.epoch)
        total = progress.steps_per_epoch * self.config.epochs if self.config.cosine else None
        done = progress.total_steps
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * learning_rate(self.config.lr, done, self.config.warmup, total)
        if model.live is not None and done and done % model.live.config.refresh == 0:
            self._renew(model)
        torch.manual_seed(generator(self.options.seed, progress.epoch, progress.step, 7).initial_seed())

    def _after_step(
        self, progress: Progress, model: SequenceModel, optimizer: torch.optim.Optimizer, loss: Tensor, events: int
    ) -> None:
        value = float(loss)
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss became {value} in epoch {progress.epoch + 1}, step {progress.step + 1}; lower training.lr "
                f"(now {self.config.lr}) or set training.clip"
            )
        progress.add(value, events)
        if progress.average is not None:
            decay = min(self.config.average, (1 + progress.total_steps) / (10 + progress.total_steps))
            own = model.state_dict()
            floats = [(a, own[name]) for name, a in progress.average.items() if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in floats], [s for _, s in floats], 1.0 - decay)
        self.listener.step(progress.epoch, progress.step, progress.mean_loss, events)
        self._save(progress, model, optimizer)

    def _save(
        self, progress: Progress, model: SequenceModel, optimizer: torch.optim.Optimizer, force: bool = False
    ) -> None:
        if self.folder is not None and (force or time.monotonic() - self.folder.saved_at >= self.every):
            self.folder.save(progress, model, optimizer)

    @contextmanager
    def _averaged(self, model: SequenceModel, average: dict[str, Tensor] | None) -> Iterator[None]:
        """The model with its averaged weights, for a moment."""
        if average is None:
            yield
            return
        own = _copy(model)
        model.load_state_dict(average)
        try:
            yield
        finally:
            model.load_state_dict(own)

    def _finish(self, model: SequenceModel, progress: Progress) -> None:
        weights = progress.best if progress.best is not None else progress.average
        if weights is not None:
            model.load_state_dict(weights)
        if progress.best is None:
            self._renew(model)
        model.eval()


def _copy(model: SequenceModel) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


class _Draw:
    """Negatives of a step, drawn with the seed of that step."""

    def __init__(self, sampler: NegativeSampler, trainer: Trainer) -> None:
        self.sampler, self.trainer = sampler, trainer

    def draw(self, count: int, device: torch.device) -> Any:
        from temporec.losses.base import Negatives

        progress = self.trainer.progress
        source = generator(self.trainer.options.seed, progress.epoch, progress.step, 5)
        items = self.sampler.sample(count, source)
        return Negatives(items.to(device), self.sampler.log_q.to(device))
