"""gBCE: binary cross-entropy with a generalised positive probability, against the overconfidence of few negatives."""

from typing import Literal

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor

from temporec.losses.base import Loss, LossConfig, Needs, Negatives, shared_scores
from temporec.registry import register

__all__ = ["GBCE", "GBCEConfig"]


class GBCEConfig(LossConfig):
    """Options of gBCE; `calibration` is the paper's t (0 = plain BCE, 1 = full calibration)."""

    kind: Literal["gbce"] = "gbce"
    negatives: PositiveInt = 256
    calibration: float = Field(0.75, ge=0.0, le=1.0)


@register("loss", "gbce")
class GBCE(Loss):
    """-(beta log sigmoid(s+) + sum over negatives of log sigmoid(-s-)) / (K + 1).

    Petrov and Macdonald 2023 (gSASRec): sampling rate a = K / (V - 1), beta = a (t (1 - 1/a) + 1/a).
    Deviation: negatives are shared by the batch, and the sum is divided by K + 1. Smoothing moves the positive target.
    """

    Config = GBCEConfig

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
        count = negative.shape[1]
        rate = min(1.0, count / max(1, table.shape[0] - 2))
        t = self.config.calibration  # type: ignore[attr-defined]
        beta = rate * (t * (1 - 1 / rate) + 1 / rate)
        smoothing = self.config.label_smoothing
        positive = positive.float()
        goal = (1 - smoothing) * beta * F.logsigmoid(positive) + smoothing * F.logsigmoid(-positive)
        live = negative.isfinite()
        missed = F.logsigmoid(-negative.float().masked_fill(~live, 0.0)).masked_fill(~live, 0.0)
        loss: Tensor = -(goal + missed.sum(dim=1)).mean() / (count + 1)
        return loss
