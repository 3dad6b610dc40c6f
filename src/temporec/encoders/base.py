"""The waist of the house: what goes into an encoder, and what every encoder promises."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from temporec.config import Config

__all__ = ["EncoderConfig", "State", "Steps", "TemporalEncoder", "ring_write", "window_mask"]

State = dict[str, Tensor]
"""State of B sequences: every tensor has B as its first dimension, so states can be stacked, picked and cached."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Event vectors of a batch, right-padded."""

    x: Tensor  # [B, T, D] event vectors, zeros at padded positions
    dt: Tensor  # [B, T] seconds since the event before, 0 at t = 0
    lengths: Tensor  # [B] number of valid events

    @property
    def mask(self) -> Tensor:
        """Valid positions, bool [B, T]."""
        return torch.arange(self.x.shape[1], device=self.x.device)[None, :] < self.lengths[:, None]


class EncoderConfig(Config):
    """Options that every encoder has; each encoder adds its own in a subclass beside it, with `kind: Literal[...]`."""

    kind: str
    dim: PositiveInt = 128  # input and output width D
    layers: PositiveInt = 1
    dropout: float = Field(0.0, ge=0.0, lt=1.0)  # between layers / inside blocks
    max_len: PositiveInt = 50  # attention window; recurrent state covers the whole history


class TemporalEncoder(nn.Module, ABC):
    """Turns Steps into hidden states [B, T, D], causally: hidden t depends on events <= t only.

    `step` processes one event at a time and equals `forward` to 1e-5 in fp32 (in eval mode), beyond `max_len` too.
    """

    Config: ClassVar[type[EncoderConfig]]

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, steps: Steps) -> Tensor:
        """Hidden states [B, T, D]; what stands at padded positions is undefined."""

    @abstractmethod
    def initial_state(self, batch_size: int) -> State:
        """The state before any event."""

    @abstractmethod
    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """One event: x [B, D], dt [B] -> (hidden [B, D], next state). The given state is not changed."""


def window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """Which events each event may see: itself and the `window - 1` before it, bool [T, T]."""
    age = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)[None, :]
    return (age >= 0) & (age < window)


def ring_write(ring: Tensor, value: Tensor, count: Tensor) -> Tensor:
    """A copy of a ring [B, L, ...] with `value` [B, ...] in slot `count mod L` of each row."""
    slot = (count % ring.shape[1]).view(-1, 1, *([1] * (value.dim() - 1)))
    return ring.scatter(1, slot.expand(-1, 1, *value.shape[1:]), value[:, None].to(ring.dtype))
