"""The running mean of all events so far: the baseline among encoders, without any order."""

from typing import Literal

import torch
from torch import Tensor

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder
from temporec.registry import register

__all__ = ["Mean", "MeanConfig"]


class MeanConfig(EncoderConfig):
    """The mean has no options of its own."""

    kind: Literal["mean"] = "mean"


@register("encoder", "mean")
class Mean(TemporalEncoder):
    """h_t = mean of x_1 .. x_t."""

    Config = MeanConfig

    def forward(self, steps: Steps) -> Tensor:
        count = torch.arange(1, steps.x.shape[1] + 1, device=steps.x.device, dtype=steps.x.dtype)
        return steps.x.cumsum(dim=1) / count[:, None]

    def initial_state(self, batch_size: int) -> State:
        return {"sum": torch.zeros(batch_size, self.config.dim), "count": torch.zeros(batch_size)}

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        total, count = state["sum"] + x, state["count"] + 1
        return total / count[:, None], {"sum": total, "count": count}
