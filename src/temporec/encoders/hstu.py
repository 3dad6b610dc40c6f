"""HSTU: pointwise SiLU attention with a gate and biases of position and time gap."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt, model_validator
from torch import Tensor, nn

from temporec.encoders.base import (
    EncoderConfig,
    State,
    Steps,
    TemporalEncoder,
    dropout,
    exact_float,
    gap_bias,
    gap_buckets,
    ring_state,
    ring_tick,
    ring_write,
    window_mask,
)
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
    Y = X + W2 dropout(norm(A V) * U). Biases are per layer and shared by the heads, as in the authors' code.

    Deviations: each layer sees the last `max_len` events; a time bias reads bucket floor(2 log2(1 + seconds)) of the
    gap between two past events, where the authors' reads the gap to the event that is to be predicted.
    """

    Config = HSTUConfig
    adds_input = True

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__(config)
        self.options = config
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))

    def forward(self, steps: Steps) -> Tensor:
        x, (length, window) = steps.x, (steps.x.shape[1], self.options.max_len)
        scale = window_mask(length, window, x.device)[None].to(x.dtype) / window
        place = torch.arange(length, device=x.device)
        age = (place[:, None] - place[None, :]).clamp_(0, window - 1)[None]
        buckets = None
        if self.options.time_bias:
            time = steps.dt.to(exact_float(x.device)).cumsum(dim=1)
            buckets = gap_buckets(time[:, :, None], time[:, None, :], self.options.time_buckets)
        for block in self.blocks:
            assert isinstance(block, _Block)
            q, k, v, u = block.project(x)
            x = block.finish(x, block.attend(q, k, v, block.bias(age, buckets), scale), u)
        return x

    def initial_state(self, batch_size: int) -> State:
        return ring_state(next(self.parameters()), batch_size, self.options, self.options.time_bias)

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        count, window = state["count"], self.options.max_len
        age = (count[:, None] - torch.arange(window, device=x.device)[None, :]) % window
        scale = (age <= count[:, None])[:, None].to(x.dtype) / window
        after, buckets = ring_tick(state, dt, self.options.time_buckets)
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            q, k, v, u = block.project(x[:, None])
            keys = ring_write(state[f"k{i}"], k[:, 0], count)
            values = ring_write(state[f"v{i}"], v[:, 0], count)
            after[f"k{i}"], after[f"v{i}"] = keys, values
            attended = block.attend(q, keys.to(q.dtype), values.to(q.dtype), block.bias(age[:, None], buckets), scale)
            x = block.finish(x[:, None], attended, u)[:, 0]
        return x, after


class _Block(nn.Module):
    """One layer."""

    def __init__(self, config: HSTUConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.rate = config.heads, config.dropout
        self.norm, self.norm_out = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.inner, self.out = nn.Linear(dim, 4 * dim), nn.Linear(dim, dim)
        self.position = nn.Parameter(torch.randn(config.max_len) * 0.02)
        self.time = nn.Parameter(torch.randn(config.time_buckets) * 0.02) if config.time_bias else None
        nn.init.normal_(self.inner.weight, std=0.02)
        nn.init.xavier_uniform_(self.out.weight)
        for layer in (self.inner, self.out):
            nn.init.zeros_(layer.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries, keys, values and gates [B, T, dim]."""
        u, v, q, k = F.silu(self.inner(self.norm(x))).chunk(4, dim=-1)
        return q, k, v, u

    def bias(self, age: Tensor, buckets: Tensor | None) -> Tensor:
        """Position bias by age in events, and time bias by bucket of the gap: [B or 1, Q, K]."""
        total = gap_bias(self.position, age)
        return total if self.time is None or buckets is None else total + gap_bias(self.time, buckets)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: Tensor) -> Tensor:
        """SiLU attention [B, Q, dim]; `scale` [B or 1, Q, K] is 1 / window where a query may look and 0 elsewhere."""
        batch, queries, dim = q.shape
        q, k, v = (part.view(batch, -1, self.heads, dim // self.heads).transpose(1, 2) for part in (q, k, v))
        scores = (q @ k.transpose(-1, -2)).add_(bias[:, None].to(q.dtype))  # in place: [B, H, Q, K] is large
        weights = F.silu(scores).mul_(scale[:, None].to(q.dtype))
        return (weights @ v).transpose(1, 2).reshape(batch, queries, dim)

    def finish(self, x: Tensor, attended: Tensor, gate: Tensor) -> Tensor:
        """Gate, output projection and residual."""
        y: Tensor = self.out(dropout(self.norm_out(attended) * gate, self.rate, self.training))
        return x + y
