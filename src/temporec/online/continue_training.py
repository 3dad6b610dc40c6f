"""A model that goes on learning: small steps on fresh events and repeated old ones, in a catalog that grows.

The process that follows a log and the benchmark of weekly updates both learn through `Continuation`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from temporec.config import Config
from temporec.data.batch import SequenceBatch
from temporec.data.negatives import NegativeSampler
from temporec.data.split import Target
from temporec.embeddings.ids import IdEmbedding
from temporec.errors import TrainingError
from temporec.losses.base import Negatives
from temporec.model import SequenceModel
from temporec.online.replay import Piece, Replay, log_of
from temporec.online.windows import FreshSequences
from temporec.runtime import RunOptions, generator, keeping_memory
from temporec.training.schedule import learning_rate

__all__ = ["Continuation", "LearnConfig", "Learned", "rows_of_neighbours"]


class LearnConfig(Config):
    """How to go on learning.

    Args:
        lr: learning rate; within one call of `learn` it falls to a tenth along a half cosine where `settle` is set.
        passes: over the fresh events of a call.
        replay: old pieces that are repeated beside each fresh one, drawn anew in every pass.
        tokens: positions per batch, pads included.
        average: decay of the averaged weights, which answer; 0 = the newest weights answer.
        popularity_power: negatives are drawn by count ** power.
    """

    lr: PositiveFloat = 2e-3
    settle: bool = False
    passes: PositiveInt = 4
    replay: NonNegativeFloat = 1.0
    tokens: PositiveInt = 2048
    weight_decay: NonNegativeFloat = 0.0
    clip: PositiveFloat = 5.0
    average: float = Field(default=0.98, ge=0.0, lt=1.0)
    popularity_power: NonNegativeFloat = 0.5


@dataclass(frozen=True, slots=True)
class Learned:
    """What one call of `learn` did."""

    loss: float  # mean over the first pass, each batch before its step
    steps: int
    positions: int  # events that were predicted, in all passes


class Continuation:
    """Weights, the moments of their optimiser, their average, and how often each item was met.

    Args:
        model: goes on from its weights; it is changed in place.
        counts: events of each item so far [V], row 0 = PAD.
    """

    def __init__(
        self,
        model: SequenceModel,
        counts: np.ndarray,
        config: LearnConfig | None = None,
        options: RunOptions | None = None,
        target: Target = "next_event",
    ) -> None:
        self.config, self.options, self.target = config or LearnConfig(), options or RunOptions(), target
        self.device, self.precision = self.options.resolve_device(), self.options.resolve_precision()
        self.model, self.counts = model.to(self.device), counts.astype(np.float64)
        self.optimizer = self._new_optimizer()
        self.average = self._copy() if self.config.average else None
        self.steps = self.calls = 0

    def grow(self, model: SequenceModel, rows: tuple[np.ndarray, Tensor] | None = None) -> None:
        """Go on with `model`, the same weights with new items behind; moments and averages grow with the tables.

        Args:
            model: what `model.grown` made of the present one.
            rows: item numbers [n] and the rows [n, D] at which their ids start.
        """
        old, moments, average = dict(self.model.named_parameters()), self.optimizer.state, self.average
        self.model = model.to(self.device)
        if rows is not None:
            place(self.model, *rows)
        self.optimizer = self._new_optimizer()
        for name, parameter in self.model.named_parameters():
            if known := moments.get(old[name]):
                self.optimizer.state[parameter] = {
                    key: _padded(value, parameter.shape) if value.dim() else value for key, value in known.items()
                }
        if average is not None:
            self.average = self._copy()
            for name, value in self.average.items():
                part = value[: len(average[name])] if value.dim() else value
                part.copy_(average[name])
        size = self.model.item_vectors().shape[0]
        self.counts = np.concatenate([self.counts, np.zeros(size - len(self.counts))])

    def start_rows(self, numbers: np.ndarray, rows: Tensor) -> None:
        """Set the ids of items that nobody has met yet, in the weights and in their average."""
        place(self.model, numbers, rows)
        if self.average is not None:
            for name, value in self.model.state_dict().items():
                if name.startswith("items."):
                    self.average[name][numbers] = value[numbers]

    @keeping_memory()
    def learn(self, fresh: Sequence[Piece], replay: Replay, rate: float = 1.0, has_time: bool = True) -> Learned:
        """Some passes over fresh pieces and repeated old ones; afterwards the fresh ones are old.

        Raises:
            TrainingError: the loss is not finite. The weights are those of before the step.
        """
        for piece in fresh:
            np.add.at(self.counts, piece.items[len(piece.items) - piece.fresh :], 1.0)
        self._release()
        first, steps, positions = [], 0, 0
        total = None
        for number in range(self.config.passes):
            for batch in self._batches(fresh, replay, has_time, number):
                if total is None:
                    total = self._planned * self.config.passes
                lr = rate * learning_rate(self.config.lr, steps, 0, total if self.config.settle else None)
                loss = self._step(batch, lr)
                assert batch.targets is not None
                steps, positions = steps + 1, positions + int((batch.targets > 0).sum())
                if number == 0:
                    first.append(loss)
        replay.add(fresh)
        self.calls += 1
        self.model.eval()
        return Learned(float(np.mean(first)) if first else math.nan, steps, positions)

    def published(self) -> dict[str, Tensor]:
        """The weights that answer."""
        return self._copy() if self.average is None else {name: each.clone() for name, each in self.average.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Weights, moments, averages and counts by name, to be saved; `restore` is the inverse."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"moment.{name}.{key}"] = value
        for name, value in (self.average or {}).items():
            found[f"average.{name}"] = value
        found["counts"] = torch.from_numpy(self.counts)
        found["done"] = torch.tensor([self.steps, self.calls])
        return {name: value.detach().cpu().contiguous().clone() for name, value in found.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        own = self.model.state_dict()
        self.model.load_state_dict({name: tensors[f"model.{name}"] for name in own})
        for name, parameter in self.model.named_parameters():
            prefix = f"moment.{name}."
            kept = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            if kept:
                self.optimizer.state[parameter] = {
                    key: value.clone().to(self.device if value.dim() else "cpu") for key, value in kept.items()
                }
        if self.average is not None:
            known = {name: tensors.get(f"average.{name}", value) for name, value in own.items()}
            self.average = {name: value.clone().to(self.device) for name, value in known.items()}
        self.counts = tensors["counts"].numpy().copy()
        self.steps, self.calls = tensors["done"].tolist()

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _new_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        return torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True
        )

    def _release(self) -> None:
        """Only items with events stand in the softmax."""
        met = self.counts > 0
        met[0] = True
        whole = met.all() or not self.model.config.head.tied
        self.model.released = None if whole else torch.from_numpy(np.flatnonzero(met)).to(self.device)

    def _batches(self, fresh: Sequence[Piece], replay: Replay, has_time: bool, number: int) -> Iterator[SequenceBatch]:
        pieces = [*fresh, *replay.draw(round(self.config.replay * len(fresh)))]
        pieces = [piece for piece in pieces if len(piece.items) > 1 and piece.fresh]
        if not pieces:
            return
        log = log_of(pieces, has_time=has_time)
        wanted = np.asarray([piece.fresh for piece in pieces])
        max_len = self.model.config.encoder.max_len
        sequences = FreshSequences(log, max_len, self.config.tokens, self.target, fresh=wanted)
        source = (self.options.seed, self.calls * self.config.passes + number)
        self._planned = sequences.count(*source)
        yield from sequences.batches(*source)

    def _step(self, batch: SequenceBatch, lr: float) -> float:
        model, seed = self.model.train(), self.options.seed
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        torch.manual_seed(generator(seed, self.steps, 7).initial_seed())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss = model.loss(batch.to(self.device), self._negatives())
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(f"the loss became {value} in step {self.steps + 1}; lower lr (now {lr:.2g})")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), self.config.clip, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        if self.average is not None:
            own = model.state_dict()
            floats = [(a, own[name]) for name, a in self.average.items() if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in floats], [s for _, s in floats], 1.0 - self.config.average)
        return value

    def _negatives(self) -> Negatives | None:
        count = self.model.criterion.needs.negatives
        if not count:
            return None
        if self._sampler is None or self._sampled_at != self.calls:
            self._sampler, self._sampled_at = NegativeSampler(self.counts, self.config.popularity_power), self.calls
        items = self._sampler.sample(count, generator(self.options.seed, self.steps, 5))
        return Negatives(items.to(self.device), self._sampler.log_q.to(self.device))

    _planned = 0
    _sampler: NegativeSampler | None = None
    _sampled_at = -1


def _padded(value: Tensor, shape: torch.Size) -> Tensor:
    """With zeros behind the known rows, as long as `shape`."""
    return torch.cat([value, value.new_zeros(shape[0] - len(value), *shape[1:])])


def place(model: SequenceModel, numbers: np.ndarray, rows: Tensor) -> None:
    """Put rows into the id table of a model that has one of full width."""
    for part in model.items:
        if isinstance(part, IdEmbedding):
            with torch.no_grad():
                part.weight[torch.from_numpy(numbers).to(part.weight.device)] = rows.to(part.weight)


def rows_of_neighbours(table: Tensor, pieces: Sequence[Piece], known: np.ndarray, std: float, seed: int) -> Tensor:
    """Where items start that have no row yet: the mean row of the items beside them, and a little noise.

    Args:
        table: the item table [V, D].
        pieces: histories with the new items.
        known: bool [V], items that have a row already.
        std: of the noise; alone, where no neighbour is known.

    Returns:
        Rows [n, D] of the items that are not known and not PAD, in the order of their numbers.
    """
    new = np.flatnonzero(~known)
    new = new[new > 0]
    place_of = np.full(len(known), -1)
    place_of[new] = np.arange(len(new))
    total, count = torch.zeros(len(new), table.shape[1]), torch.zeros(len(new), 1)
    log = log_of(pieces)
    for gap in (1, 2, 3):
        same = log.user[gap:] == log.user[:-gap]
        for own, other in ((log.item[gap:], log.item[:-gap]), (log.item[:-gap], log.item[gap:])):
            kept = same & (place_of[own] >= 0) & known[other] & (other > 0)
            rows = torch.from_numpy(place_of[own[kept]])
            total.index_add_(0, rows, table.detach().cpu().float()[torch.from_numpy(other[kept].astype(np.int64))])
            count.index_add_(0, rows, torch.ones(len(rows), 1))
    noise = torch.randn(total.shape, generator=generator(seed, 23, len(known))) * std
    return total / count.clamp(min=1.0) + noise
