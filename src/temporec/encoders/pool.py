"""The running mean of all events so far: the baseline among encoders, without any order."""

from typing import Literal

import torch
from torch import Tensor

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder
from temporec.registry import register

__all__ = ["Mean", "MeanConfig"]


class MeanConfig(EncoderConfig):
    """The mean has no options of its own; `layers` and `dropout` have no effect."""

    kind: Literal["mean"] = "mean"

    @property
    def receptive_field(self) -> None:
        """All events."""
        return None


@register("encoder", "mean")
class Mean(TemporalEncoder):
    """h_t = (x_1 + ... + x_t) / t, summed in fp32."""

    Config = MeanConfig

    def __init__(self, config: MeanConfig) -> None:
        super().__init__(config)
        self.register_buffer("zero", torch.zeros(()), persistent=False)  # knows the device

    def forward(self, steps: Steps) -> Tensor:
        count = torch.arange(1, steps.x.shape[1] + 1, device=steps.x.device, dtype=torch.float32)
        return (steps.x.float().cumsum(dim=1) / count[:, None]).to(steps.x.dtype)

    def initial_state(self, batch_size: int) -> State:
        assert isinstance(self.zero, Tensor)
        device = self.zero.device
        return {
            "sum": torch.zeros(batch_size, self.config.dim, device=device),
            "count": torch.zeros(batch_size, device=device),
        }

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        total, count = state["sum"] + x.float(), state["count"] + 1
        return (total / count[:, None]).to(x.dtype), {"sum": total, "count": count}
