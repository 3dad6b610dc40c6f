"""Items that no training event knows: their vectors come from their texts, by a map fitted to the trained table."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt, PositiveInt
from safetensors.torch import load_file, save_file
from torch import Tensor

from temporec.config import Config
from temporec.data.batch import Histories

__all__ = ["ColdConfig", "ColdItems", "TextMap"]

_SHARPNESS = 20.0  # of the weights of neighbours: softmax(20 cosine)
_STRENGTHS = np.logspace(-2, 4, 13)  # of the ridge regression, chosen by generalised cross-validation
_ROWS = 1024
NAME = "cold.safetensors"


class ColdConfig(Config):
    """How items without training events are ranked.

    Args:
        neighbours: so many trained items with the closest texts lend their vectors.
        cost: the share of NDCG@10 that targets among known items may lose to new items, measured on validation with a
            twentieth of the known items treated as new; it decides `offset`.
        offset: added to the scores of new items; None = chosen so, 0 where there is no validation.
        after: new items come after the best so many known ones, where a place costs little and still is seen.
    """

    neighbours: PositiveInt = 30
    cost: float = Field(default=0.02, ge=0.0, lt=1.0)
    offset: float | None = None
    after: NonNegativeInt = 7


class TextMap:
    """From text vectors [n, d] to rows of the item table [n, D].

    The direction is the mean of two: a ridge regression of the trained rows on their texts (general), and the trained
    rows of the closest texts weighted by softmax(20 cosine) (local). The length is the median of the trained rows.

    Args:
        weight: [d + 1, D] of the regression, its constant last.
        texts: unit text vectors [n, d] of the trained items.
        rows: the same items' unit rows [n, D].
    """

    def __init__(self, weight: Tensor, texts: Tensor, rows: Tensor, length: float, neighbours: int) -> None:
        self.weight, self.texts, self.rows, self.length, self.neighbours = weight, texts, rows, length, neighbours

    @classmethod
    def fit(cls, texts: np.ndarray, table: Tensor, trained: np.ndarray, neighbours: int = 30) -> Self | None:
        """None where fewer than two trained items have a text.

        Args:
            texts: [V, d], a zero row = no text.
            table: the trained item table [V + 1, D].
            trained: bool [V], items with training events.
            neighbours: how many of them each new item takes.
        """
        from sklearn.linear_model import RidgeCV

        known = np.flatnonzero(trained & texts.any(axis=1))
        if len(known) < 2:
            return None
        own = table[1:].detach().cpu().float()[torch.from_numpy(known)]
        rows = F.normalize(own, dim=1)
        chosen = RidgeCV(alphas=_STRENGTHS).fit(texts[known], rows.numpy())
        weight = np.concatenate([chosen.coef_.T, chosen.intercept_[None, :]]).astype(np.float32)
        given = F.normalize(torch.from_numpy(texts[known]).float(), dim=1).half().float()  # as it will be stored
        return cls(torch.from_numpy(weight), given, rows, float(own.norm(dim=1).median()), neighbours)

    @torch.no_grad()
    def __call__(self, texts: np.ndarray) -> Tensor:
        """Rows [n, D] for text vectors [n, d]; a text that is all zero has a zero row."""
        parts = [self._some(torch.from_numpy(texts[i : i + _ROWS]).float()) for i in range(0, len(texts), _ROWS)]
        return torch.cat(parts) if parts else torch.zeros(0, self.rows.shape[1])

    def _some(self, texts: Tensor) -> Tensor:
        general = F.normalize(texts @ self.weight[:-1] + self.weight[-1], dim=1)
        closeness = F.normalize(texts, dim=1) @ self.texts.T
        best, place = closeness.topk(min(self.neighbours, len(self.texts)), dim=1)
        share = torch.softmax(_SHARPNESS * best, dim=1)
        local = F.normalize((self.rows[place] * share[..., None]).sum(dim=1), dim=1)
        rows: Tensor = F.normalize(general + local, dim=1) * self.length
        return rows * texts.any(dim=1, keepdim=True)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors; `of` is the inverse."""
        numbers = torch.tensor([self.length, float(self.neighbours)], dtype=torch.float64)
        return {"weight": self.weight, "texts": self.texts.half(), "rows": self.rows, "numbers": numbers}

    @classmethod
    def of(cls, parts: Mapping[str, Tensor]) -> Self:
        """From named tensors."""
        length, neighbours = parts["numbers"].tolist()
        return cls(parts["weight"], parts["texts"].float(), parts["rows"], length, int(neighbours))


class ColdItems:
    """Which items have no training events, and what stands in their place.

    Args:
        text_map: fitted to the trained table.
        texts: text vectors [V, d] of the catalog.
        trained: bool [V].
        offset: added to the scores of new items.
        after: they come after the best so many known items.
    """

    def __init__(self, text_map: TextMap, texts: np.ndarray, trained: np.ndarray, offset: float, after: int) -> None:
        self.text_map, self.trained, self.offset, self.after = text_map, trained, offset, after
        self.texts = texts.astype(np.float16).astype(np.float32)  # as it will be stored

    @cached_property
    def numbers(self) -> Tensor:
        """Item numbers without training events but with a text, int64."""
        return torch.from_numpy(1 + np.flatnonzero(~self.trained & self.texts.any(axis=1)))

    def place(self, table: Tensor) -> Tensor:
        """The table [V + 1, D] with the rows of these items set by their texts."""
        numbers = self.numbers
        if not len(numbers):
            return table
        rows = self.text_map(self.texts[numbers.numpy() - 1])
        return table.index_copy(0, numbers.to(table.device), rows.to(table))

    def temper(self, scores: Tensor, histories: Histories, exclude_seen: bool) -> None:
        """Shift the scores [B, V + 1] of new items by `offset`, below the `after` best known ones, in place."""
        new = self.numbers
        if not len(new):
            return
        shifted = scores[:, new] + self.offset
        if self.after:
            known = scores.index_fill(1, torch.cat([new, new.new_zeros(1)]), -torch.inf)
            if exclude_seen:
                rows = np.repeat(np.arange(len(histories)), histories.lengths)
                real = histories.items < known.shape[1]
                known[
                    torch.from_numpy(rows[real]), torch.from_numpy(histories.items[real].astype(np.int64))
                ] = -torch.inf
            last = known.topk(min(self.after, known.shape[1]), dim=1).values[:, -1:]
            below = torch.nextafter(last, torch.full_like(last, -torch.inf))
            shifted = torch.where(torch.isfinite(last), torch.minimum(shifted, below), shifted)
        scores[:, new] = shifted

    def extended(self, texts: np.ndarray) -> "ColdItems":
        """With new items behind the known ones."""
        trained = np.concatenate([self.trained, np.zeros(len(texts), dtype=bool)])
        return ColdItems(self.text_map, np.concatenate([self.texts, texts]), trained, self.offset, self.after)

    def save(self, folder: Path) -> None:
        """Write cold.safetensors; texts are stored in half precision."""
        save_file(
            {
                **self.text_map.tensors(),
                "catalog": torch.from_numpy(self.texts.astype(np.float16)),
                "trained": torch.from_numpy(self.trained),
                "offset": torch.tensor([self.offset, float(self.after)], dtype=torch.float64),
            },
            folder / NAME,
        )

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What `save` wrote; None where the folder has none."""
        if not (folder / NAME).exists():
            return None
        parts = load_file(folder / NAME)
        texts = parts["catalog"].float().numpy()
        offset, after = parts["offset"].tolist()
        return cls(TextMap.of(parts), texts, parts["trained"].numpy(), offset, int(after))
