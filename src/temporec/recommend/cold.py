"""Items that no training event knows: their rows come from their texts, and they get the last places of a list."""

from dataclasses import dataclass, replace
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
from temporec.recommend.text_map import TextMap

__all__ = ["LIST", "ColdConfig", "ColdItems", "crowding", "placed_last", "shown"]

LIST = 10  # places that new items and known ones compete for
_ROWS = 1024
_BAND = 0.1  # of scores below the last new item that has its place
_CLOSE = 0.05  # of the crowd: the queries closest to an item
NAME = "cold.safetensors"


class ColdConfig(Config):
    """How items without training events are ranked.

    Args:
        neighbours: so many trained items with the closest texts lend their vectors.
        cost: the share of NDCG@10 that targets among known items may lose to new items, measured on validation with a
            twentieth of the known items treated as new; it decides `offset`. What is really new costs more
            (docs/benchmarks.md), so the default keeps it below 2 %.
        offset: added to the scores of new items; None = chosen so, 0 where there is no validation.
        fade: trained items with n events get rows that stand between what was learned and what their texts say, the
            texts with the weight fade / (fade + n); None = chosen on validation, 0 where there is none.
        after: so many of the first ten places are for known items alone, and new items that deserve one of the others
            take the last of them, where a place costs little and still is seen. 0 = new items may come anywhere.
    """

    neighbours: PositiveInt = 30
    cost: float = Field(default=0.015, ge=0.0, lt=1.0)
    offset: float | None = None
    fade: float | None = Field(default=None, ge=0.0)
    after: NonNegativeInt = Field(default=7, le=LIST)


@dataclass(eq=False)
class ColdItems:
    """Which items have no training events, and what stands in their place.

    Args:
        text_map: fitted to the trained table.
        texts: text vectors [V, d] of the catalog.
        trained: bool [V].
        offset: added to the scores of new items.
        after: so many of the first ten places are for known items alone; 0 = any may be theirs.
        crowd: queries of some users [m, D], of the scale at which their products with unit rows are scores.
    """

    text_map: TextMap
    texts: np.ndarray
    trained: np.ndarray
    offset: float
    after: int
    crowd: Tensor

    def __post_init__(self) -> None:
        self.texts = self.texts.astype(np.float16).astype(np.float32)  # as it will be stored

    @cached_property
    def numbers(self) -> Tensor:
        """Item numbers without training events but with a text, int64."""
        return torch.from_numpy(1 + np.flatnonzero(~self.trained & self.texts.any(axis=1)))

    @cached_property
    def rows(self) -> Tensor:
        """Their rows of the item table [C, D], by their texts."""
        return self.text_map(self.texts[self.numbers.numpy() - 1])

    @cached_property
    def shift(self) -> Tensor:
        """What the scores of each change by [C], beside the offset."""
        return -crowding(self.rows, self.text_map.rows, self.crowd)

    def place(self, table: Tensor) -> Tensor:
        """The table [V + 1, D] with the rows of these items set by their texts."""
        if not len(self.numbers):
            return table
        return table.index_copy(0, self.numbers.to(table.device), self.rows.to(table))

    def temper(self, scores: Tensor, histories: Histories, exclude_seen: bool) -> None:
        """Shift the scores [B, V + 1] of new items, in place, and hold them below the best known ones.

        Of the first ten places, the j-th new item takes one if it beats the known item that loses it, the j-th from the
        end; those taken are the last ones, in the order of the new items.
        """
        new = self.numbers
        if not len(new):
            return
        shifted = scores[:, new] + (self.shift + self.offset)
        scores[:, new] = self._held(shifted, scores, histories, exclude_seen) if self.after else shifted

    def _held(self, shifted: Tensor, scores: Tensor, histories: Histories, exclude_seen: bool) -> Tensor:
        known = scores.index_fill(1, F.pad(self.numbers, (0, 1)), -torch.inf)
        if exclude_seen:
            rows = np.repeat(np.arange(len(histories)), histories.lengths)
            real = histories.items < known.shape[1]
            places = torch.from_numpy(histories.items[real].astype(np.int64))
            known[torch.from_numpy(rows[real]), places] = -torch.inf
        best = known.topk(min(LIST, known.shape[1]), dim=1).values
        best = F.pad(best, (0, LIST - best.shape[1]), value=-torch.inf)
        return placed_last(shifted, best, LIST - self.after)

    def extended(self, texts: np.ndarray) -> "ColdItems":
        """With new items behind the known ones."""
        trained = np.concatenate([self.trained, np.zeros(len(texts), dtype=bool)])
        return replace(self, texts=np.concatenate([self.texts, texts]), trained=trained)

    def save(self, folder: Path) -> None:
        """Write cold.safetensors; texts are stored in half precision."""
        save_file(
            {
                **self.text_map.tensors(),
                "catalog": torch.from_numpy(self.texts.astype(np.float16)),
                "trained": torch.from_numpy(self.trained),
                "crowd": self.crowd,
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
        crowd = parts.get("crowd", torch.zeros(0, parts["rows"].shape[1]))
        return cls(TextMap.of(parts), texts, parts["trained"].numpy(), offset, int(after), crowd)


@torch.no_grad()
def crowding(rows: Tensor, trained: Tensor, crowd: Tensor) -> Tensor:
    """A quarter of the mean score that rows [n, D] have with the closest twentieth of the crowd, less that of others.

    Without it, rows that are close to everybody stand in all lists (hubness). It is the items' part of CSLS (Conneau et
    al. 2018), which takes half; the users' part would be the same for all items. Lengths of rows do not matter.
    """
    if not len(crowd):
        return rows.new_zeros(len(rows))
    some = trained[:: -(-len(trained) // _ROWS)]
    return (_closest(rows, crowd) - _closest(some, crowd).mean()) / 4


def _closest(rows: Tensor, crowd: Tensor) -> Tensor:
    most = max(1, round(_CLOSE * len(crowd)))
    parts = torch.split(F.normalize(rows, dim=1), _ROWS)
    return torch.cat([(part @ crowd.T).topk(most, dim=1).values.mean(dim=1) for part in parts])


def placed_last(new: Tensor, known: Tensor, places: int) -> Tensor:
    """Scores [B, C] of new items, lowered so that they take at most `places` of the first ten, and those at the end.

    Args:
        known: the ten highest scores of known items [B, 10], the highest first; -inf = fewer.
    """
    best, which = new.topk(min(places + 1, new.shape[1]), dim=1)
    taken = shown(best[:, :places], known).sum(dim=1, keepdim=True)
    lowest = torch.where(known.isfinite(), known, torch.inf).cummin(dim=1).values
    ceiling = F.pad(lowest, (1, 0), value=torch.inf).gather(1, LIST - taken)
    high = best[:, -1:].clone()
    for j in range(best.shape[1]):
        below = torch.nextafter(ceiling, ceiling.new_tensor(-torch.inf))
        best[:, j : j + 1] = ceiling = torch.minimum(best[:, j : j + 1], below)
    floor = ceiling - _BAND  # of the others, those above it are squeezed into what is left, in their order
    squeezed = floor + (new - floor) * (_BAND / (high - floor).clamp_min(_BAND))
    crowded = (new > floor) & (high > ceiling)
    return torch.where(crowded, torch.minimum(squeezed, ceiling), new).scatter(1, which, best)


def shown(best: Tensor, known: Tensor) -> Tensor:
    """Which of the best new items [B, j], best first, beat the known item that would lose its place; bool [B, j].

    Args:
        known: the ten highest scores of known items [B, 10], the highest first.
    """
    return best > known[:, LIST - best.shape[1] :].flip(1)
