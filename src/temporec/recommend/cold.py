"""Items that no training event knows: their vectors come from their texts, by a map fitted to the trained table."""

from collections.abc import Mapping, Sequence
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
from temporec.runtime import random_state

__all__ = ["LIST", "ColdConfig", "ColdItems", "Span", "TextMap", "placed_last", "shown"]

LIST = 10  # places that new items and known ones compete for
Span = tuple[int, int]  # columns of the text vectors, the last one not included

_SHARPNESS = 20.0  # of the weights of neighbours: softmax(20 cosine)
_STRENGTHS = np.logspace(-2, 4, 13)  # of the ridge regression, chosen by generalised cross-validation
_ROWS = 1024
_BAND = 0.1  # of scores below the last new item that has its place
_JUDGES = 2_000  # trained items whose rows say which columns tell neighbours best
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


class TextMap:
    """From text vectors [n, d] to rows of the item table [n, D].

    The direction is the mean of two: a ridge regression of the trained rows on their texts (general), and the trained
    rows of the closest texts weighted by softmax(20 cosine) (local). Where several encoders stand side by side, closest
    is meant by the columns of one of them, or by all: those by which the rows of trained items are told best from
    their neighbours. The length is the median of the trained rows.

    Args:
        weight: [d + 1, D] of the regression, its constant last.
        texts: unit text vectors [n, end - begin] of the trained items.
        rows: the same items' unit rows [n, D].
        length: of the rows that come out.
        neighbours: how many closest texts lend their rows.
        span: the columns by which they are the closest.
    """

    def __init__(self, weight: Tensor, texts: Tensor, rows: Tensor, length: float, neighbours: int, span: Span) -> None:
        self.weight, self.texts, self.rows, self.length = weight, texts, rows, length
        self.neighbours, self.span = neighbours, span

    @classmethod
    def fit(
        cls, texts: np.ndarray, table: Tensor, events: np.ndarray, neighbours: int = 30, spans: Sequence[Span] = ()
    ) -> Self | None:
        """None where fewer than two trained items have a text.

        Args:
            texts: [V, d], a zero row = no text.
            table: the trained item table [V + 1, D].
            events: of each item in training [V], 0 = not trained.
            neighbours: how many trained items each new one takes.
            spans: columns that may tell which items are close; the best of them does. None given = all columns.
        """
        from sklearn.linear_model import RidgeCV

        known = np.flatnonzero((events > 0) & texts.any(axis=1))
        if len(known) < 2:
            return None
        own = table[1:].detach().cpu().float()[torch.from_numpy(known)]
        rows = F.normalize(own, dim=1)
        chosen = RidgeCV(alphas=_STRENGTHS).fit(texts[known], rows.numpy())
        weight = np.concatenate([chosen.coef_.T, chosen.intercept_[None, :]]).astype(np.float32)
        made = [
            cls(torch.from_numpy(weight), _unit(texts[known, begin:end]), rows, float(own.norm(dim=1).median()),
                neighbours, (begin, end))
            for begin, end in spans or [(0, texts.shape[1])]
        ]  # fmt: skip
        return made[0] if len(made) == 1 else max(made, key=lambda each: each._told(events[known]))

    @torch.no_grad()
    def _told(self, events: np.ndarray) -> float:
        """Mean cosine, by events, of trained rows with those that their neighbours lend them."""
        count = len(self.rows)
        some = np.sort(random_state(0, 13).choice(count, min(count, _JUDGES), replace=False))
        judges = torch.from_numpy(some)
        close = (self.rows[judges] * self._local(self.texts[judges], judges)).sum(dim=1)
        return float(np.average(close.numpy(), weights=events[some]))

    def __call__(self, texts: np.ndarray, own: np.ndarray | None = None) -> Tensor:
        """Rows [n, D] for text vectors [n, d]; a text that is all zero has a zero row.

        `own`: the places [n] of these items among the trained ones with texts, where they are such: then their own rows
        are not among those that their neighbours lend.
        """
        found = [torch.zeros(0, self.rows.shape[1])]
        for begin in range(0, len(texts), _ROWS):
            part = slice(begin, begin + _ROWS)
            found.append(self._some(texts[part], None if own is None else own[part]))
        return torch.cat(found)

    @torch.no_grad()
    def _some(self, vectors: np.ndarray, own: np.ndarray | None) -> Tensor:
        texts = torch.from_numpy(vectors).float()
        general = F.normalize(texts @ self.weight[:-1] + self.weight[-1], dim=1)
        places = None if own is None else torch.from_numpy(own)
        local = self._local(F.normalize(texts[:, slice(*self.span)], dim=1), places)
        rows: Tensor = F.normalize(general + local, dim=1) * self.length
        return rows * texts.any(dim=1, keepdim=True)

    def _local(self, texts: Tensor, own: Tensor | None = None) -> Tensor:
        """Unit rows [n, D] of the closest texts; not of `own`, the places [n] of the texts themselves."""
        closeness = texts @ self.texts.T
        if own is not None:
            closeness.scatter_(1, own[:, None], -torch.inf)
        best, place = closeness.topk(min(self.neighbours, len(self.texts) - (own is not None)), dim=1)
        share = torch.softmax(_SHARPNESS * best, dim=1) * texts.any(dim=1, keepdim=True)
        return F.normalize((self.rows[place] * share[..., None]).sum(dim=1), dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors; `of` is the inverse."""
        numbers = torch.tensor([self.length, float(self.neighbours), *map(float, self.span)], dtype=torch.float64)
        return {"weight": self.weight, "texts": self.texts.half(), "rows": self.rows, "numbers": numbers}

    @classmethod
    def of(cls, parts: Mapping[str, Tensor]) -> Self:
        """From named tensors."""
        length, neighbours, *span = parts["numbers"].tolist()
        begin, end = map(int, span or (0, len(parts["weight"]) - 1))
        return cls(parts["weight"], parts["texts"].float(), parts["rows"], length, int(neighbours), (begin, end))


def _unit(vectors: np.ndarray) -> Tensor:
    return F.normalize(torch.from_numpy(vectors).float(), dim=1).half().float()  # as it will be stored


class ColdItems:
    """Which items have no training events, and what stands in their place.

    Args:
        text_map: fitted to the trained table.
        texts: text vectors [V, d] of the catalog.
        trained: bool [V].
        offset: added to the scores of new items.
        after: so many of the first ten places are for known items alone; 0 = any may be theirs.
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
        """Shift the scores [B, V + 1] of new items by `offset`, in place, and hold them below the best known ones.

        Of the first ten places, the j-th new item takes one if it beats the known item that loses it, the j-th from the
        end; those taken are the last ones, in the order of the new items.
        """
        new = self.numbers
        if not len(new):
            return
        shifted = scores[:, new] + self.offset
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
