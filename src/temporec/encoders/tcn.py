"""Temporal convolutional network: dilated causal convolutions in residual blocks."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder, ring_write
from temporec.registry import register

__all__ = ["TCN", "TCNConfig"]


class TCNConfig(EncoderConfig):
    """Options of the TCN. Layer i has dilation 2^i: the last event sees 1 + (kernel - 1) (2^layers - 1) events."""

    kind: Literal["tcn"] = "tcn"
    layers: PositiveInt = 4
    kernel: PositiveInt = 3

    @property
    def receptive_field(self) -> int:
        """Events that one state depends on."""
        return 1 + (self.kernel - 1) * (2**self.layers - 1)


@register("encoder", "tcn")
class TCN(TemporalEncoder):
    """x <- x + W gelu(conv(norm(x))) per layer; Bai et al. 2018, with pre-norm and one convolution per block."""

    Config = TCNConfig

    def __init__(self, config: TCNConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(_Block(config, 2**i) for i in range(config.layers))

    def forward(self, steps: Steps) -> Tensor:
        x = steps.x
        for block in self.blocks:
            x = block(x)
        return x

    def initial_state(self, batch_size: int) -> State:
        weight = next(self.parameters())
        rings = {}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            rings[f"x{i}"] = weight.new_zeros(batch_size, block.reach + 1, self.config.dim)
        return {**rings, "count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device)}

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        count = state["count"]
        after: State = {"count": count + 1}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            ring = ring_write(state[f"x{i}"], block.norm(x), count)
            after[f"x{i}"] = ring
            x = block.step(x, ring, count)
        return x, after


class _Block(nn.Module):
    """One residual block; `reach` is how many events back its convolution looks."""

    def __init__(self, config: TCNConfig, dilation: int) -> None:
        super().__init__()
        dim = config.dim
        self.rate, self.dilation, self.kernel = config.dropout, dilation, config.kernel
        self.reach = (config.kernel - 1) * dilation
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Conv1d(dim, dim, config.kernel, dilation=dilation)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(self.norm(x).transpose(1, 2), (self.reach, 0))
        return x + F.dropout(self.out(F.gelu(self.conv(padded).transpose(1, 2))), self.rate, self.training)

    def step(self, x: Tensor, ring: Tensor, count: Tensor) -> Tensor:
        """One event: the taps lie 0, dilation, 2 dilation ... events back in the ring of normed inputs [B, L, dim]."""
        back = torch.arange(self.kernel - 1, -1, -1, device=x.device) * self.dilation
        slots = (count[:, None] - back[None, :]) % ring.shape[1]
        taps = ring.gather(1, slots[..., None].expand(-1, -1, ring.shape[2]))
        taps = taps * (count[:, None] >= back[None, :])[..., None]
        y = torch.einsum("bkc,dck->bd", taps, self.conv.weight) + self.conv.bias
        return x + F.dropout(self.out(F.gelu(y)), self.rate, self.training)
