"""What a loss gets and what it may ask for."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field
from torch import Tensor, nn

from temporec.config import Config
from temporec.errors import ConfigError

__all__ = ["Loss", "LossConfig", "Needs", "Negatives", "shared_scores"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What the sampler must deliver: `negatives` shared item numbers per batch (0 = none, the loss sees all items)."""

    negatives: int = 0


@dataclass(frozen=True, slots=True)
class Negatives:
    """Sampled items, shared by all positions of a batch."""

    items: Tensor  # [K] int64 item numbers
    log_q: Tensor  # [V] float32 log of the probability of each item to be drawn at one draw (log Q)


class LossConfig(Config):
    """Options that every loss has."""

    kind: str
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)


class Loss(nn.Module, ABC):
    """A scalar from hidden states, an item table and targets. N x V scores are never held at once.

    Scores are `hidden @ table.T + bias`; temperature and normalisation are already inside hidden and table (the head
    does that). Row 0 of the table is PAD: it is never a target, a negative or part of a denominator.
    """

    Config: ClassVar[type[LossConfig]]

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def needs(self) -> Needs:
        return Needs()

    @abstractmethod
    def forward(
        self,
        hidden: Tensor,  # [N, D] states of valid positions
        table: Tensor,  # [V, D] item vectors, row 0 = PAD
        targets: Tensor,  # [N] int64, 1..V-1
        bias: Tensor | None = None,  # [V] added to the scores; -inf takes an item out of every denominator
        negatives: Negatives | None = None,
    ) -> Tensor:
        """Mean loss over the N positions, differentiable in hidden, table and (where finite) bias."""


def shared_scores(
    hidden: Tensor, table: Tensor, targets: Tensor, bias: Tensor | None, negatives: Negatives | None
) -> tuple[Tensor, Tensor]:
    """Scores of the targets [N] and of the shared negatives [N, K]; a negative that is the target scores -inf."""
    if negatives is None:
        raise ConfigError("this loss needs sampled negatives; pass Negatives(items, log_q) or use cross_entropy")
    positive = (hidden * table[targets]).sum(dim=1)
    negative = hidden @ table[negatives.items].T
    if bias is not None:
        positive, negative = positive + bias[targets], negative + bias[negatives.items][None, :]
    return positive, negative.masked_fill(negatives.items[None, :] == targets[:, None], float("-inf"))
