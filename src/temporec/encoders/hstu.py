"""HSTU: pointwise SiLU attention with a gate and biases of position and time gap."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder, ring_write, window_mask
from temporec.registry import register

__all__ = ["HSTU", "HSTUConfig"]


class HSTUConfig(EncoderConfig):
    """Options of HSTU; `time_bias` looks at the gaps between events (never at the time of the target)."""

    kind: Literal["hstu"] = "hstu"
    layers: PositiveInt = 2
    heads: PositiveInt = 2
    time_bias: bool = True
    time_buckets: PositiveInt = 64

    @model_validator(mode="after")
    def _divides(self) -> "HSTUConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


@register("encoder", "hstu")
class HSTU(TemporalEncoder):
    """Zhai et al. 2024, "Actions speak louder than words", section 3.

    U, V, Q, K = split(SiLU(W1 norm(X))); A = SiLU(Q K^T + bias_position + bias_time) / max_len, causal;
    Y = X + W2 (norm(A V) * U).

    Deviations: the window is `max_len` events per layer, time buckets are floor(2 log2(1 + seconds)), and biases are
    shared by the heads.
    """

    Config = HSTUConfig

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))

    def forward(self, steps: Steps) -> Tensor:
        x, length = steps.x, steps.x.shape[1]
        mask = window_mask(length, self.config.max_len, x.device)
        age = torch.arange(length, device=x.device)
        age = (age[:, None] - age[None, :]).clamp(0, self.config.max_len - 1)
        time = steps.dt.double().cumsum(dim=1)
        gap = (time[:, :, None] - time[:, None, :]).clamp(min=0)
        for block in self.blocks:
            assert isinstance(block, _Block)
            q, k, v, u = block.project(x)
            bias = block.bias(age, gap)
            a = block.attend(q, k, v, bias, mask[None, None])
            x = block.finish(x, a, u)
        return x

    def initial_state(self, batch_size: int) -> State:
        weight = next(self.parameters())
        shape = (batch_size, self.config.max_len)
        rings = {
            f"{name}{i}": weight.new_zeros(*shape, self.config.dim) for i in range(len(self.blocks)) for name in "kv"
        }
        times = torch.zeros(shape, dtype=torch.float64, device=weight.device)
        count = torch.zeros(batch_size, dtype=torch.int64, device=weight.device)
        return {**rings, "times": times, "now": times[:, 0].clone(), "count": count}

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        count, size = state["count"], self.config.max_len
        now = state["now"] + dt.double()
        times = ring_write(state["times"], now, count)
        slots = torch.arange(size, device=x.device)[None, :]
        age = (count[:, None] - slots) % size
        live = age <= count[:, None]
        gap = (now[:, None] - times).clamp(min=0)
        after: State = {"times": times, "now": now, "count": count + 1}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            q, k, v, u = block.project(x[:, None])
            keys = ring_write(state[f"k{i}"], k[:, 0], count)
            values = ring_write(state[f"v{i}"], v[:, 0], count)
            after[f"k{i}"], after[f"v{i}"] = keys, values
            a = block.attend(q, keys, values, block.bias(age[:, None, :], gap[:, None, :]), live[:, None, None, :])
            x = block.finish(x[:, None], a, u)[:, 0]
        return x, after


class _Block(nn.Module):
    """One layer."""

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.rate, self.scale = config.heads, config.dropout, 1.0 / config.max_len
        self.norm, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.inner, self.out = nn.Linear(dim, 4 * dim), nn.Linear(dim, dim)
        self.position = nn.Parameter(torch.randn(config.max_len) * 0.02)
        self.time = nn.Parameter(torch.randn(config.time_buckets) * 0.02) if config.time_bias else None
        for layer in (self.inner, self.out):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values and gates [B, T, dim]."""
        u, v, q, k = F.silu(self.inner(self.norm(x))).chunk(4, dim=-1)
        return q, k, v, u

    def bias(self, age: Tensor, gap: Tensor) -> Tensor:
        """Position bias by age in events, and time bias by gap in seconds: [B or 1, Q, K]."""
        total = self.position[age]
        if self.time is not None:
            bucket = (2.0 * torch.log2(1.0 + gap)).long().clamp(max=len(self.time) - 1)
            total = total + self.time[bucket]
        return total if total.dim() == 3 else total[None]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        """SiLU attention [B, Q, dim]."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        weights = F.silu(q @ k.transpose(-1, -2) + bias[:, None]) * self.scale
        return (weights.masked_fill(~mask, 0.0).to(v.dtype) @ v).transpose(1, 2).flatten(-2)

    def finish(self, x: Tensor, attended: Tensor, gate: Tensor) -> Tensor:
        """Gate, output projection and residual."""
        return x + F.dropout(self.out(self.norm_out(attended) * gate), self.rate, self.training)
