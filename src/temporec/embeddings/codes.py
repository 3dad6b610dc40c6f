"""An item as the sum of the vectors of its semantic codes: no row of its own, so new items have a vector at once."""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from temporec.embeddings.base import EmbeddingConfig, ItemEmbedding
from temporec.registry import register

__all__ = ["CodeEmbedding", "CodeEmbeddingConfig"]


class CodeEmbeddingConfig(EmbeddingConfig):
    """Options of the code tables; `std` is the standard deviation of their entries at the start."""

    kind: Literal["codes"] = "codes"
    std: PositiveFloat = 0.05


@register("embedding", "codes")
class CodeEmbedding(ItemEmbedding):
    """A table [rows, D] for each level; a code c beyond its rows uses row c mod rows. `codes` [V, levels] may grow."""

    Config = CodeEmbeddingConfig
    codes: Tensor

    def __init__(self, config: CodeEmbeddingConfig, dim: int, sizes: Sequence[int], codes: Tensor) -> None:
        super().__init__()
        self.config = config
        self.levels = nn.ParameterList(torch.randn(size, dim) * config.std for size in sizes)
        self.register_buffer("codes", codes, persistent=False)

    def rows(self, codes: Tensor) -> Tensor:
        """Vectors [n, D] of items with some codes [n, levels]."""
        parts = [level[own % len(level)] for level, own in zip(self.levels, codes.T, strict=True)]
        return torch.stack(parts).sum(dim=0)

    def table(self) -> Tensor:
        vectors = self.rows(self.codes)
        return torch.cat([vectors.new_zeros(1, vectors.shape[1]), vectors])
