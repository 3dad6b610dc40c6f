"""A learned vector per item id, random or started from given vectors."""

from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from temporec.embeddings.base import EmbeddingConfig, ItemEmbedding
from temporec.errors import ConfigError
from temporec.registry import register

__all__ = ["IdEmbedding", "IdEmbeddingConfig"]


class IdEmbeddingConfig(EmbeddingConfig):
    """Options of the id table; `std` is the standard deviation of its entries at the start."""

    kind: Literal["ids"] = "ids"
    std: PositiveFloat = 0.05


@register("embedding", "ids")
class IdEmbedding(ItemEmbedding):
    """Table [V + 1, D].

    Args:
        start: vectors [V, D] (whitened text vectors, for instance) to start from, brought to `std`; rows without
            information (all zeros) and a missing `start` are drawn from N(0, std^2), row by row the same for a seed.
    """

    Config = IdEmbeddingConfig

    def __init__(
        self, config: IdEmbeddingConfig, dim: int, size: int, *, generator: torch.Generator, start: Tensor | None = None
    ) -> None:
        super().__init__()
        self.config = config
        weight = torch.randn(size - 1, dim, generator=generator) * config.std
        if start is not None:
            if start.shape != weight.shape:
                raise ConfigError(
                    f"vectors to start from have shape {tuple(start.shape)}; needed: {tuple(weight.shape)}"
                )
            known = start.abs().sum(dim=1) > 0
            length = start.float().square().sum() / max(1, int(known.sum()) * dim)
            weight = torch.where(known[:, None], start.float() * (config.std / length.sqrt().clamp(min=1e-12)), weight)
        self.weight = nn.Parameter(torch.cat([torch.zeros(1, dim), weight]))

    def table(self) -> Tensor:
        return self.weight
