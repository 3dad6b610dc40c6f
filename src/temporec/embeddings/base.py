"""Two kinds of embeddings: of items (a row per item, also used to score) and of events (time, kind, value)."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from temporec.config import Config
from temporec.data.batch import SequenceBatch

__all__ = ["EmbeddingConfig", "EventEmbedding", "ItemEmbedding", "VectorTable"]


class EmbeddingConfig(Config):
    """Options that every embedding has; each embedding adds its own in a subclass beside it."""

    kind: str


class ItemEmbedding(nn.Module, ABC):
    """A vector per item. `size` rows, row 0 = PAD = zeros."""

    Config: ClassVar[type[EmbeddingConfig]]

    @abstractmethod
    def table(self) -> Tensor:
        """All item vectors [V + 1, D], differentiable; row 0 is zero."""


class VectorTable(ItemEmbedding):
    """A table made of given vectors; these are a buffer, unless other ones are put in their place for a moment."""

    vectors: Tensor  # [V + 1, d], row 0 and items without information are zero

    @abstractmethod
    def of(self, vectors: Tensor) -> Tensor:
        """The table that these vectors [V + 1, d] give."""

    def table(self) -> Tensor:
        return self.of(self.vectors)


class EventEmbedding(nn.Module, ABC):
    """What an event adds to the vector of its item: when it was, of which kind, with which value."""

    Config: ClassVar[type[EmbeddingConfig]]

    @abstractmethod
    def forward(self, batch: SequenceBatch) -> Tensor:
        """[B, T, D], to be added to the item vectors. Uses only what was known at the event itself."""
