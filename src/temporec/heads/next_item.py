"""Next item: hidden states meet the item table."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import Tensor, nn

from temporec.heads.base import Head, HeadConfig
from temporec.registry import register

__all__ = ["NextItemHead", "NextItemHeadConfig"]

_GAP_BUCKETS = 32


class NextItemHeadConfig(HeadConfig):
    """How hidden states and items are compared.

    `cosine`: cos(h, w) / temperature. `dot`: h . w. `tied`: the input table is the output table; otherwise the head has
    a dense softmax layer of its own, with bias, whose classes may differ from the input vocabulary.
    `request_time`: the gap from the last event to the moment of the request enters the state; in training this is the
    time of the target, hidden in half of the positions so that requests without a time stay answerable.
    """

    kind: Literal["next_item"] = "next_item"
    score: Literal["cosine", "dot"] = "cosine"
    temperature: PositiveFloat = 0.07
    tied: bool = True
    request_time: bool = False


@register("head", "next_item")
class NextItemHead(Head):
    """score(h, i) = <query(h), item_vectors(table)[i]> + bias[i]; row 0 is PAD."""

    Config = NextItemHeadConfig

    def __init__(self, config: NextItemHeadConfig, dim: int, size: int) -> None:
        super().__init__(config)
        self.cosine = config.score == "cosine"
        self.scale = 1.0 / config.temperature if self.cosine else 1.0
        self.dense = None if config.tied else nn.Linear(dim, size)
        self.gap = nn.Embedding(_GAP_BUCKETS + 1, dim, padding_idx=0) if config.request_time else None
        if self.gap is not None:
            nn.init.zeros_(self.gap.weight)

    @property
    def bias(self) -> Tensor | None:
        """Added to the scores, float32 [V], or None."""
        return None if self.dense is None else self.dense.bias

    def query(self, hidden: Tensor, gap: Tensor | None = None) -> Tensor:
        """Hidden states [..., D] as vectors that are compared with items [..., D].

        `gap` [...]: seconds from the last event to the request; 0 = unknown.
        """
        if self.gap is not None and gap is not None:
            bucket = 1 + (2.0 * torch.log2(1.0 + gap.clamp(min=0) / 60.0)).long().clamp(max=_GAP_BUCKETS - 1)
            known = gap > 0
            if self.training:
                known = known & (torch.rand_like(gap) < 0.5)
            hidden = hidden + self.gap(torch.where(known, bucket, 0))
        return F.normalize(hidden, dim=-1) * self.scale if self.cosine else hidden

    def item_vectors(self, table: Tensor) -> Tensor:
        """The item side [V, D], from the input table where tied."""
        weight = table if self.dense is None else self.dense.weight
        return F.normalize(weight, dim=-1) if self.cosine else weight

    def scores(self, query: Tensor, vectors: Tensor, out: Tensor | None = None) -> Tensor:
        """All scores [N, V] of some queries [N, D] for the vectors of `item_vectors`; PAD is -inf.

        With `out`, a buffer [N, V], nothing is allocated and nothing can be differentiated.
        """
        result = query @ vectors.T if out is None else _product(query, vectors, out)
        if self.bias is not None:
            result += self.bias
        result[:, 0] = -torch.inf
        return result


def _product(query: Tensor, vectors: Tensor, out: Tensor) -> Tensor:
    """The product query @ vectors.T, written into `out`.

    On the CPU by NumPy's BLAS: where torch's MKL falls back to AVX2, it takes up to three times as long for the few
    rows of an answer, and a third longer for many.
    """
    if out.device.type != "cpu" or out.dtype != torch.float32:
        return torch.mm(query, vectors.T, out=out)
    np.dot(query.numpy(), vectors.numpy().T, out=out.numpy())
    return out
