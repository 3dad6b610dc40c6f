"""Given vectors that are not fixed: a text encoder that learns with the model makes some of their columns."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from temporec.data.batch import SequenceBatch
from temporec.data.trainable_texts import TrainableTexts, TuneConfig

__all__ = ["LiveVectors"]

_ROWS = 256  # texts that are encoded at once when all are made anew


class LiveVectors(nn.Module):
    """A step makes some rows of the vectors anew, with gradients; all others stand as they were last made.

    So the softmax stays over the whole catalog, and a step costs `tune_items` texts at most. Half of them are texts of
    its batch (inputs and targets), half are drawn from the other items, with gradients that count for all of these:
    if only what was bought had a gradient, the encoder would push up whatever is read and never see who falls behind.

    Args:
        texts: of all items.
        scales: mean [d] and scale; given vectors are (raw - mean) * scale.
        first: place of the first column among those of the given vectors.
        ranked: bool [V], items in the softmax of the training; None = all.
    """

    mean: Tensor
    usable: Tensor

    def __init__(
        self,
        texts: TrainableTexts,
        scales: tuple[Tensor, float],
        first: int,
        config: TuneConfig,
        ranked: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.texts, self.config = texts, config
        mean, self.scale = scales
        self.columns = slice(first, first + len(mean))
        self.register_buffer("mean", mean, persistent=False)
        usable = texts.sizes > 0 if ranked is None else (texts.sizes > 0) & ranked
        self.register_buffer("usable", torch.cat([torch.zeros(1, dtype=torch.bool), usable]), persistent=False)

    def forward(self, vectors: Tensor, batch: SequenceBatch) -> Tensor:
        """Vectors [V + 1, d] with new rows for some items; torch's generator draws them."""
        numbers, weights = self.draw(batch)
        if not len(numbers):
            return vectors
        rows = self._rows(vectors, numbers)
        known = rows.detach()
        return vectors.index_copy(0, numbers, known + weights[:, None] * (rows - known))

    def draw(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Items [n] to read with gradients, and what each gradient counts [n]: 1 for those of the batch."""
        inside = torch.zeros_like(self.usable)
        for items in (batch.items, batch.targets):
            if items is not None:
                inside[items.flatten()] = True
        own, rest = (torch.nonzero(self.usable & side)[:, 0] for side in (inside, ~inside))
        most = self.config.tune_items
        of_own = min(len(own), max(most - most // 2, most - len(rest)))
        of_rest = min(len(rest), most - of_own)
        weight = (len(rest) / max(1, of_rest)) / (len(own) / of_own) if of_own else 1.0
        numbers = torch.cat([_some(own, of_own), _some(rest, of_rest)])
        weights = torch.tensor([1.0, weight], device=numbers.device)
        return numbers, weights.repeat_interleave(torch.tensor([of_own, of_rest], device=numbers.device))

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


def _some(numbers: Tensor, count: int) -> Tensor:
    """So many of them, drawn without replacement."""
    return numbers[torch.randperm(len(numbers))[:count].to(numbers.device)]
