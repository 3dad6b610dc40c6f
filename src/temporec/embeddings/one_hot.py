"""One-hot item vectors, for small vocabularies: the textbook's input."""

from typing import Literal

import torch
from torch import Tensor

from temporec.embeddings.base import EmbeddingConfig, ItemEmbedding
from temporec.errors import ConfigError
from temporec.registry import register

__all__ = ["OneHotEmbedding", "OneHotEmbeddingConfig"]


class OneHotEmbeddingConfig(EmbeddingConfig):
    """One-hot vectors have no options."""

    kind: Literal["one_hot"] = "one_hot"


@register("embedding", "one_hot")
class OneHotEmbedding(ItemEmbedding):
    """Item i is the i-th unit vector; nothing is learned. The model's width must be the number of items."""

    Config = OneHotEmbeddingConfig
    vectors: Tensor

    def __init__(self, config: OneHotEmbeddingConfig, dim: int, size: int) -> None:
        super().__init__()
        self.config = config
        if dim != size - 1:
            raise ConfigError(f"one-hot input needs encoder.dim = number of items ({size - 1}); got {dim}")
        self.register_buffer("vectors", torch.eye(size)[:, 1:].contiguous(), persistent=False)

    def table(self) -> Tensor:
        return self.vectors
