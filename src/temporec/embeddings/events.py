"""What an event was: its kind (view, cart, buy) and its value (rating, quantity)."""

from typing import Literal

import torch
from torch import Tensor, nn

from temporec.data.batch import SequenceBatch
from temporec.embeddings.base import EmbeddingConfig, EventEmbedding
from temporec.registry import register

__all__ = ["KindEmbedding", "KindEmbeddingConfig", "ValueEmbedding", "ValueEmbeddingConfig"]


class KindEmbeddingConfig(EmbeddingConfig):
    """Options of the kind embedding; `kinds` is the number of event kinds in the training log."""

    kind: Literal["event_kind"] = "event_kind"
    kinds: int = 0


@register("embedding", "event_kind")
class KindEmbedding(EventEmbedding):
    """A learned vector per event kind, zero at the start and for unknown kinds."""

    Config = KindEmbeddingConfig

    def __init__(self, config: KindEmbeddingConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.kinds = nn.Embedding(config.kinds + 1, dim, padding_idx=0)
        nn.init.zeros_(self.kinds.weight)

    def forward(self, batch: SequenceBatch) -> Tensor:
        numbers = torch.zeros_like(batch.items) if batch.kinds is None else batch.kinds
        x: Tensor = self.kinds(numbers)
        return x


class ValueEmbeddingConfig(EmbeddingConfig):
    """Options of the value embedding; mean and std are those of the training log."""

    kind: Literal["event_value"] = "event_value"
    mean: float = 0.0
    std: float = 1.0


@register("embedding", "event_value")
class ValueEmbedding(EventEmbedding):
    """A learned direction times the standardised value; starts at zero."""

    Config = ValueEmbeddingConfig

    def __init__(self, config: ValueEmbeddingConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.zeros(dim))

    def forward(self, batch: SequenceBatch) -> Tensor:
        if batch.values is None:
            return torch.zeros(*batch.items.shape, 1, device=batch.items.device)
        scaled = (batch.values - self.config.mean) / max(self.config.std, 1e-6)
        return (scaled.clamp(-5, 5) * batch.mask)[..., None] * self.weight
