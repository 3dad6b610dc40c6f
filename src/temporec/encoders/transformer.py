"""Causal transformer: pre-norm blocks, rotary positions, a sliding window per layer, a ring cache for single steps."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder, ring_write, window_mask
from temporec.registry import register

__all__ = ["Transformer", "TransformerConfig"]


class TransformerConfig(EncoderConfig):
    """Options of the transformer; `rotary_base` sets the slowest rotation, in events."""

    kind: Literal["transformer"] = "transformer"
    layers: PositiveInt = 2
    heads: PositiveInt = 2
    rotary_base: PositiveFloat = 1000.0

    @model_validator(mode="after")
    def _even(self) -> "TransformerConfig":
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim ({self.dim}) must be a multiple of 2 * heads ({2 * self.heads})")
        return self


@register("encoder", "transformer")
class Transformer(TemporalEncoder):
    """Vaswani et al. 2017 with pre-norm blocks (Xiong et al. 2020), GELU, and rotary positions (Su et al. 2021).

    Each layer sees the last `max_len` events, in `forward` and in the ring cache of `step` alike.
    """

    Config = TransformerConfig

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        half = config.dim // config.heads // 2
        speeds = config.rotary_base ** (-torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("speeds", speeds, persistent=False)

    def _angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin [..., half] of the rotation at some positions."""
        assert isinstance(self.speeds, Tensor)
        angle = positions.float()[..., None] * self.speeds
        return angle.cos(), angle.sin()

    def forward(self, steps: Steps) -> Tensor:
        x = steps.x
        length = x.shape[1]
        rotation = self._angles(torch.arange(length, device=x.device))
        mask = window_mask(length, self.config.max_len, x.device) if length > self.config.max_len else None
        for block in self.blocks:
            x = block(x, rotation, mask)
        return x

    def initial_state(self, batch_size: int) -> State:
        weight = next(self.parameters())
        shape = (batch_size, self.config.max_len, self.config.dim)
        rings = {f"{name}{i}": weight.new_zeros(shape) for i in range(len(self.blocks)) for name in "kv"}
        return {**rings, "count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device)}

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        count = state["count"]
        rotation = self._angles(count)
        slots = torch.arange(self.config.max_len, device=x.device)
        live = slots[None, :] <= count[:, None]
        after: State = {"count": count + 1}
        for i, block in enumerate(self.blocks):
            assert isinstance(block, _Block)
            q, k, v = block.project(x, rotation)
            keys = ring_write(state[f"k{i}"], k, count)
            values = ring_write(state[f"v{i}"], v, count)
            after[f"k{i}"], after[f"v{i}"] = keys, values
            x = block.finish(x, block.attend_one(q, keys, values, live))
        return x, after


class _Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.rate = config.heads, config.dropout
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        for layer in (self.qkv, self.out, self.up, self.down):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        batch, length, dim = x.shape
        shape = (batch, length, self.heads, dim // self.heads)
        q, k, v = (part.view(shape).transpose(1, 2) for part in self.project(x, rotation))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.finish(x, a.transpose(1, 2).reshape(x.shape))

    def project(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (both rotated) and values [..., dim]."""
        qkv = self.qkv(self.norm1(x)).view(*x.shape[:-1], 3, self.heads, -1)
        cos, sin = rotation[0][..., None, None, :], rotation[1][..., None, None, :]
        a, b = qkv[..., :2, :, :].chunk(2, dim=-1)
        turned = torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(qkv.dtype)
        return turned[..., 0, :, :].flatten(-2), turned[..., 1, :, :].flatten(-2), qkv[..., 2, :, :].flatten(-2)

    def attend_one(self, q: Tensor, keys: Tensor, values: Tensor, live: Tensor) -> Tensor:
        """One query per row [B, dim] against its ring [B, L, dim]."""
        batch, length, dim = keys.shape
        shape = (batch, length, self.heads, dim // self.heads)
        k, v = keys.view(shape).transpose(1, 2), values.view(shape).transpose(1, 2)
        one = q.view(batch, self.heads, 1, -1)
        a = F.scaled_dot_product_attention(one, k, v, attn_mask=live[:, None, None, :])
        return a.reshape(batch, dim)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Output projection, residuals and the feed-forward half."""
        x = x + F.dropout(self.out(attended), self.rate, self.training)
        y = self.down(F.gelu(self.up(self.norm2(x))))
        return x + F.dropout(y, self.rate, self.training)
