"""From what texts say to rows of a trained item table."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from temporec.runtime import random_state

__all__ = ["Span", "TextMap"]

Span = tuple[int, int]  # columns of the text vectors, the last one not included

_SHARPNESS = 20.0  # of the weights of neighbours: softmax(20 cosine)
_STRENGTHS = np.logspace(-2, 4, 13)  # of the ridge regression, chosen by generalised cross-validation
_ROWS = 1024
_JUDGES = 2_000  # trained items whose rows say which columns tell neighbours best


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
