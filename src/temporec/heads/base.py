"""What every head has in common."""

from abc import ABC
from typing import ClassVar

from torch import nn

from temporec.config import Config

__all__ = ["Head", "HeadConfig"]


class HeadConfig(Config):
    """Options that every head has; each head adds its own in a subclass beside it."""

    kind: str


class Head(nn.Module, ABC):
    """Turns hidden states [..., D] into an answer. A head never calls the encoder and keeps nothing between calls."""

    Config: ClassVar[type[HeadConfig]]

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
