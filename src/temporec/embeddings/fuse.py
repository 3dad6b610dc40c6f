"""Ids and given vectors (text, image, audio) in one table: added, side by side, or weighed by a gate."""

from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from temporec.embeddings.base import EmbeddingConfig, VectorTable
from temporec.errors import ConfigError
from temporec.registry import register

__all__ = ["FusedEmbedding", "FusedEmbeddingConfig"]


class FusedEmbeddingConfig(EmbeddingConfig):
    """Options of the fused table; ids and projected vectors both start with the standard deviation `std`."""

    kind: Literal["fused"] = "fused"
    how: Literal["add", "concat", "gate"] = "add"
    std: PositiveFloat = 0.05


@register("embedding", "fused")
class FusedEmbedding(VectorTable):
    """Table [V + 1, D] of learned ids E and fixed vectors X projected by a learned P.

    add: E + X P. concat: [E ; X P], half the width each. gate: g E + (1 - g) X P with g = sigmoid([E ; X P] u + c), one
    number per item that starts at a half. An item whose vector is zero (missing) has its id alone.

    Args:
        start: vectors X [V, d].
    """

    Config = FusedEmbeddingConfig

    def __init__(
        self, config: FusedEmbeddingConfig, dim: int, size: int, *, generator: torch.Generator, start: Tensor
    ) -> None:
        super().__init__()
        if len(start) != size - 1:
            raise ConfigError(f"{len(start)} vectors for {size - 1} items; give one vector per item")
        if config.how == "concat" and dim % 2:
            raise ConfigError(f"fuse 'concat' needs an even encoder.dim; got {dim}")
        self.config = config
        own = dim // 2 if config.how == "concat" else dim
        ids = torch.randn(size - 1, own, generator=generator) * config.std
        self.weight = nn.Parameter(torch.cat([torch.zeros(1, own), ids]))
        self.register_buffer("vectors", torch.cat([torch.zeros(1, start.shape[1]), start.float()]))
        length = self.vectors[self.vectors.any(dim=1)].norm(dim=1).square().mean().sqrt()
        scale = config.std / float(length.nan_to_num(1.0).clamp(min=1e-6))
        self.projection = nn.Parameter(torch.randn(start.shape[1], dim - own or dim, generator=generator) * scale)
        self.gate = nn.Linear(2 * dim, 1) if config.how == "gate" else None
        if self.gate is not None:
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    def of(self, vectors: Tensor) -> Tensor:
        own, given = self.weight, vectors @ self.projection
        if self.config.how == "add":
            return own + given
        if self.gate is None:
            return torch.cat([own, given], dim=1)
        share = torch.sigmoid(self.gate(torch.cat([own, given], dim=1)))
        share = torch.where(vectors.any(dim=1, keepdim=True), share, 1.0)
        return share * own + (1.0 - share) * given
