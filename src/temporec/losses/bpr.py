"""BPR: the target should score above each negative."""

from typing import Literal

import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor

from temporec.losses.base import Loss, LossConfig, Needs, Negatives, shared_scores
from temporec.registry import register

__all__ = ["BPR", "BPRConfig"]


class BPRConfig(LossConfig):
    """Options of BPR."""

    kind: Literal["bpr"] = "bpr"
    negatives: PositiveInt = 256


@register("loss", "bpr")
class BPR(Loss):
    """-mean log sigmoid(s+ - s-), Rendle et al. 2009, with K shared negatives. Smoothing swaps a share of the pairs."""

    Config = BPRConfig

    @property
    def needs(self) -> Needs:
        return Needs(negatives=self.config.negatives)  # type: ignore[attr-defined]

    def forward(
        self,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        bias: Tensor | None = None,
        negatives: Negatives | None = None,
    ) -> Tensor:
        positive, negative = shared_scores(hidden, table, targets, bias, negatives)
        live = negative.isfinite()
        gap = (positive[:, None] - negative.masked_fill(~live, 0.0)).float()
        smoothing = self.config.label_smoothing
        pairs = (1 - smoothing) * F.logsigmoid(gap) + smoothing * F.logsigmoid(-gap)
        return -(pairs * live).sum() / live.sum().clamp(min=1)
