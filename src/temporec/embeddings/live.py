"""Given vectors that are not fixed: a text encoder that learns with the model makes some of their columns."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from temporec.data.batch import SequenceBatch
from temporec.data.trainable_texts import TrainableTexts, TuneConfig

__all__ = ["LiveVectors"]

_ROWS = 256  # texts that are encoded at once when all are made anew


class LiveVectors(nn.Module):
    """A step makes the vectors of items of its batch anew, with gradients; all others stand as they were last made.

    So the softmax stays over the whole catalog, and a step costs `tune_items` texts at most.

    Args:
        texts: of all items.
        mean: of raw vectors [d]; given vectors are (raw - mean) * scale.
        first: place of the first column among those of the given vectors.
    """

    mean: Tensor

    def __init__(self, texts: TrainableTexts, mean: Tensor, scale: float, first: int, config: TuneConfig) -> None:
        super().__init__()
        self.texts, self.scale, self.config = texts, scale, config
        self.columns = slice(first, first + len(mean))
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, vectors: Tensor, batch: SequenceBatch) -> Tensor:
        """Vectors [V + 1, d] with new rows for the items of a batch; drawn by torch's generator where they are many."""
        numbers = batch.items if batch.targets is None else torch.cat([batch.items, batch.targets])
        numbers = torch.unique(numbers[numbers > 0])
        numbers = numbers[self.texts.sizes[numbers - 1] > 0]
        if len(numbers) > self.config.tune_items:
            drawn = torch.randperm(len(numbers))[: self.config.tune_items]
            numbers = numbers[drawn.sort().values.to(numbers.device)]
        if not len(numbers):
            return vectors
        return vectors.index_copy(0, numbers, self._rows(vectors, numbers))

    def refresh(self, vectors: Tensor) -> Iterator[tuple[int, int]]:
        """Make all rows of `vectors` [V + 1, d] anew, in place; how many of how many are done."""
        order = self.texts.sizes.argsort(stable=True)
        numbers = 1 + order[self.texts.sizes[order] > 0]
        for begin in range(0, len(numbers), _ROWS):
            part = numbers[begin : begin + _ROWS]
            with torch.no_grad():
                vectors[part] = self._rows(vectors, part)
            yield begin + len(part), len(numbers)

    def _rows(self, vectors: Tensor, numbers: Tensor) -> Tensor:
        made = (self.texts(numbers - 1) - self.mean) * self.scale
        rows = vectors[numbers]
        before, after = rows[:, : self.columns.start], rows[:, self.columns.stop :]
        return torch.cat([before, made.to(rows.dtype), after], dim=1)
