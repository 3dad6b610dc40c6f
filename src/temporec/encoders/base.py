"""The waist of the house: what goes into an encoder, and what every encoder promises."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from temporec.config import Config

__all__ = [
    "EncoderConfig",
    "State",
    "Steps",
    "TemporalEncoder",
    "dropout",
    "exact_float",
    "gap_bias",
    "gap_buckets",
    "ring_state",
    "ring_tick",
    "ring_write",
    "window_mask",
]

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
    max_len: PositiveInt = 50  # attention window, and length of training windows

    @property
    def receptive_field(self) -> int | None:
        """So many newest events decide a state, None = all: a window of `max_len` per layer."""
        return 1 + self.layers * (self.max_len - 1)


class TemporalEncoder(nn.Module, ABC):
    """Turns Steps into hidden states [B, T, D], causally: hidden t depends on events <= t only.

    `step` processes one event at a time and equals `forward` to 1e-5 in fp32 (in eval mode), beyond `max_len` too;
    `advance` is many steps at once.
    """

    Config: ClassVar[type[EncoderConfig]]
    adds_input: bool = False  # whether the hidden states are x + something

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

    def advance(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        """Some events, all of them valid: x [B, T, D], dt [B, T] -> (hidden after the last [B, D], next state)."""
        hidden, state = self.step(x[:, 0], dt[:, 0], state)
        for t in range(1, x.shape[1]):
            hidden, state = self.step(x[:, t], dt[:, t], state)
        return hidden, state


def window_mask(length: int, window: int, device: torch.device) -> Tensor:
    """Which events each event may see: itself and the `window - 1` before it, bool [T, T]."""
    age = torch.arange(length, device=device)[:, None] - torch.arange(length, device=device)[None, :]
    return (age >= 0) & (age < window)


def ring_write(ring: Tensor, value: Tensor, count: Tensor) -> Tensor:
    """A copy of a ring [B, L, ...] with `value` [B, ...] in slot `count mod L` of each row."""
    slot = (count % ring.shape[1]).view(-1, 1, *([1] * (value.dim() - 1)))
    return ring.scatter(1, slot.expand(-1, 1, *value.shape[1:]), value[:, None].to(ring.dtype))


def ring_state(weight: Tensor, batch_size: int, config: EncoderConfig, clock: bool) -> State:
    """The state of an attention encoder before any event: rings of keys and values per layer, a count, and a clock."""
    shape = (batch_size, config.max_len)
    state = {f"{name}{i}": weight.new_zeros(*shape, config.dim) for i in range(config.layers) for name in "kv"}
    if clock:
        state["times"] = torch.zeros(shape, dtype=exact_float(weight.device), device=weight.device)
        state["now"] = state["times"].new_zeros(batch_size)
    return {**state, "count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device)}


def ring_tick(state: State, dt: Tensor, buckets: int) -> tuple[State, Tensor | None]:
    """Count, and clock where there is one, after one more event; and the buckets [B, 1, L] of its gaps to the ring."""
    count = state["count"]
    after: State = {"count": count + 1}
    if "now" not in state:
        return after, None
    after["now"] = state["now"] + dt.to(state["now"].dtype)
    after["times"] = ring_write(state["times"], after["now"], count)
    return after, gap_buckets(after["now"][:, None], after["times"], buckets)[:, None]


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Dropout with a third of the cost on a CPU: 16 random bits decide each element, so `rate` is rounded to 2^-16.

    The bits come from torch's default generator, as in `F.dropout`, which other devices use.
    """
    if not training or rate == 0.0 or x.device.type != "cpu":
        return F.dropout(x, rate, training)
    keep = max(1, 65536 - round(rate * 65536))
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.int16)[: x.numel()].view(x.shape) < keep - 32768
    return x * kept.to(x.dtype).mul_(65536 / keep)


def exact_float(device: torch.device) -> torch.dtype:
    """The float in which seconds since the first event are exact: 64 bits wherever the device has them."""
    return torch.float32 if device.type == "mps" else torch.float64


def gap_buckets(now: Tensor, then: Tensor, buckets: int) -> Tensor:
    """Bucket floor(2 log2(1 + seconds)) of the gap between two times (broadcast), int64 in [0, buckets)."""
    gap = (now - then).float().clamp_(min=0.0)
    return gap.add_(1.0).log2_().mul_(2.0).long().clamp_(max=buckets - 1)


def gap_bias(table: Tensor, buckets: Tensor) -> Tensor:
    """Rows of a table [N] by bucket (any shape); index_select has by far the cheapest gradient on a CPU."""
    return table.index_select(0, buckets.flatten()).view(buckets.shape)
