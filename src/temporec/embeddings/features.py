"""What is known about an item (brand, genres, price) as a part of its vector."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import Tensor, nn

from temporec.data.features import Features
from temporec.embeddings.base import EmbeddingConfig, ItemEmbedding
from temporec.registry import register

__all__ = ["FeatureEmbedding", "FeatureEmbeddingConfig"]


class FeatureEmbeddingConfig(EmbeddingConfig):
    """Options of the feature embedding; `std` is the standard deviation of its weights at the start."""

    kind: Literal["features"] = "features"
    std: PositiveFloat = 0.05


@register("embedding", "features")
class FeatureEmbedding(ItemEmbedding):
    """table = categories E + numbers W + missing M, with learned E [C, D], W [N, D] and M [N, D].

    The C category columns are sparse: an item costs as much as it has categories. Items of one brand share its vector,
    so that a rare item is placed by what it has in common with others. What is given per item is not saved with the
    weights: the fitted `FeatureEncoder` computes it again.

    Args:
        features: of the V items.
    """

    Config = FeatureEmbeddingConfig
    columns: Tensor
    offsets: Tensor
    shares: Tensor
    numbers: Tensor

    def __init__(
        self, config: FeatureEmbeddingConfig, dim: int, size: int, *, generator: torch.Generator, features: Features
    ) -> None:
        super().__init__()
        self.config = config
        numbers = np.concatenate([features.numbers, features.missing], axis=1).astype(np.float32)
        given = {
            "columns": features.columns.astype(np.int64),
            "offsets": np.concatenate([[0], features.offsets]),  # row 0, PAD, is empty
            "shares": features.weights,
            "numbers": np.concatenate([np.zeros((1, numbers.shape[1]), np.float32), numbers]),
        }
        for name, array in given.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)
        self.categories = nn.Parameter(torch.randn(features.size, dim, generator=generator) * config.std)
        self.scales = nn.Parameter(torch.randn(numbers.shape[1], dim, generator=generator) * config.std)

    def table(self) -> Tensor:
        if not len(self.columns):
            return self.numbers @ self.scales
        sums = F.embedding_bag(
            self.columns, self.categories, self.offsets, mode="sum", per_sample_weights=self.shares,
            include_last_offset=True,
        )  # fmt: skip
        return sums + self.numbers @ self.scales
