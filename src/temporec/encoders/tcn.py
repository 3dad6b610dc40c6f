"""Temporal convolutional network: dilated causal convolutions in residual blocks."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder, dropout, ring_write
from temporec.registry import register

__all__ = ["TCN", "TCNConfig"]


class TCNConfig(EncoderConfig):
    """Options of the TCN. Layer i has dilation 2^i: the last state sees 1 + (kernel - 1) (2^layers - 1) events."""

    kind: Literal["tcn"] = "tcn"
    layers: PositiveInt = 4
    kernel: PositiveInt = 3

    @property
    def receptive_field(self) -> int:
        """Events that one state depends on; `max_len` plays no part in it."""
        return 1 + (self.kernel - 1) * ((1 << self.layers) - 1)


@register("encoder", "tcn")
class TCN(TemporalEncoder):
    """x <- x + W gelu(conv(norm(x))) per layer, after Bai et al. 2018.

    Deviations: LayerNorm before the convolution instead of weight normalisation, GELU, and one convolution with a
    pointwise layer per block instead of two convolutions.
    """

    Config = TCNConfig
    adds_input = True

    def __init__(self, config: TCNConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(_Block(config, 1 << i) for i in range(config.layers))

    def forward(self, steps: Steps) -> Tensor:
        x = steps.x
        for block in self.blocks:
            x = block(x)
        return x

    def initial_state(self, batch_size: int) -> State:
        weight = next(self.parameters())
        state: State = {"count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device)}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            state[f"x{i}"] = weight.new_zeros(batch_size, block.reach + 1, self.config.dim)
        return state

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        count = state["count"]
        after: State = {"count": count + 1}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            after[f"x{i}"] = ring_write(state[f"x{i}"], block.norm(x), count)
            x = block.finish(x, block.taps(after[f"x{i}"], count).to(x.dtype))
        return x, after


class _Block(nn.Module):
    """One residual block; `reach` is how many events back its convolution looks.

    The convolution is a linear layer on the joined taps [.., kernel * dim], oldest first: on a CPU up to twice as fast
    as `conv1d`, which wants channels first and slows down with dilation.
    """

    def __init__(self, config: TCNConfig, dilation: int) -> None:
        super().__init__()
        dim = config.dim
        self.rate = config.dropout
        self.back = tuple(dilation * j for j in reversed(range(config.kernel)))
        self.reach = self.back[0]
        self.norm = nn.LayerNorm(dim)
        self.conv, self.out = nn.Linear(config.kernel * dim, dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        padded = F.pad(self.norm(x), (0, 0, self.reach, 0))
        shifted = [padded[:, self.reach - back : self.reach - back + length] for back in self.back]
        return self.finish(x, torch.cat(shifted, dim=-1))

    def taps(self, ring: Tensor, count: Tensor) -> Tensor:
        """The taps of the newest event [B, kernel * dim] from the ring of normed inputs [B, reach + 1, dim].

        A slot that no event has written yet still holds the zero of the initial state.
        """
        back = torch.tensor(self.back, device=ring.device)
        slots = (count[:, None] - back[None, :]) % ring.shape[1]
        return ring.gather(1, slots[..., None].expand(-1, -1, ring.shape[2])).flatten(1)

    def finish(self, x: Tensor, taps: Tensor) -> Tensor:
        """Convolution, activation, pointwise layer and residual."""
        return x + dropout(self.out(F.gelu(self.conv(taps))), self.rate, self.training)
