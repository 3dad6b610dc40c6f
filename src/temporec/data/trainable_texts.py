"""The contract of texts whose encoder learns together with a model, and the options of that learning."""

from abc import ABC, abstractmethod
from typing import Literal

from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from temporec.config import Config

__all__ = ["TrainableTexts", "TuneConfig"]


class TuneConfig(Config):
    """Whether and how a text encoder learns together with the model.

    Args:
        tune: `lora` trains low-rank additions to the linear layers of its last layers, `last` these layers themselves.
        tune_layers: so many of its layers learn, counted from the last one.
        tune_rank: rank of the additions.
        tune_lr: its learning rate; None = 1e-3 for `lora`, 1e-4 for `last`.
        tune_items: a step reads the texts of at most so many items with gradients.
        refresh: steps between two rounds in which the vectors of all items are made anew.
    """

    tune: Literal["none", "lora", "last"] = "none"
    tune_layers: PositiveInt = 1
    tune_rank: PositiveInt = 8
    tune_lr: PositiveFloat | None = None
    tune_items: PositiveInt = 128
    refresh: PositiveInt = 100

    @property
    def encoder_lr(self) -> float:
        """The learning rate of the text encoder."""
        return self.tune_lr or {"lora": 1e-3}.get(self.tune, 1e-4)


class TrainableTexts(nn.Module, ABC):
    """The texts of a catalog under an encoder of which some weights learn; only these are parameters.

    Attributes:
        sizes: tokens of each text, int64 [V]; 0 = no text.
    """

    sizes: Tensor

    @abstractmethod
    def forward(self, places: Tensor) -> Tensor:
        """Vectors [n, d] of the texts at some places (0 = the first item); differentiable in the parameters."""

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """Copies of what has been learned, on the CPU; `TextEncoder.tuned` takes them."""
