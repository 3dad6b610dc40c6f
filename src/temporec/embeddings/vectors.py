"""Given vectors per item (text, image, audio, categories, numbers), projected to the model's width."""

from typing import Literal

import torch
from torch import Tensor, nn

from temporec.embeddings.base import EmbeddingConfig, VectorTable
from temporec.registry import register

__all__ = ["VectorEmbedding", "VectorEmbeddingConfig"]


class VectorEmbeddingConfig(EmbeddingConfig):
    """Options of projected vectors; with `zero_start` the projection begins at zero and cannot hurt at first."""

    kind: Literal["vectors"] = "vectors"
    zero_start: bool = False


@register("embedding", "vectors")
class VectorEmbedding(VectorTable):
    """table = vectors W^T; vectors float32 [V + 1, d] are fixed, row 0 and items without information are zero."""

    Config = VectorEmbeddingConfig

    def __init__(
        self, config: VectorEmbeddingConfig, dim: int, size: int, *, generator: torch.Generator, start: Tensor
    ) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("vectors", torch.cat([torch.zeros(1, start.shape[1]), start.float()]))
        width = start.shape[1]
        scale = 0.0 if config.zero_start else 0.05 / max(1e-6, float(start.float().norm(dim=1).mean()))
        self.weight = nn.Parameter(torch.randn(dim, width, generator=generator) * scale)

    def of(self, vectors: Tensor) -> Tensor:
        return vectors @ self.weight.T
