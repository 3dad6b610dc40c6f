"""Sampled softmax with logQ correction: the cross-entropy over the target and shared negatives."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor

from temporec.losses.base import Loss, LossConfig, Needs, Negatives, shared_scores
from temporec.registry import register

__all__ = ["SampledSoftmax", "SampledSoftmaxConfig"]


class SampledSoftmaxConfig(LossConfig):
    """Options of the sampled softmax."""

    kind: Literal["sampled_softmax"] = "sampled_softmax"
    negatives: PositiveInt = 512


@register("loss", "sampled_softmax")
class SampledSoftmax(Loss):
    """Softmax over one target and K shared negatives, each score minus log of its expected count (logQ correction).

    Bengio and Senecal 2008; Yi et al. 2019. A negative that equals the target of a position is left out there.
    The target stands in for itself once, so it gets no correction; negatives get -log(K q).
    """

    Config = SampledSoftmaxConfig

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
        assert negatives is not None
        count = torch.log(torch.tensor(float(len(negatives.items)), device=hidden.device))
        negative = negative - (negatives.log_q[negatives.items] + count)[None, :]
        scores = torch.cat([positive[:, None], negative], dim=1).float()
        goal = torch.zeros(len(targets), dtype=torch.int64, device=hidden.device)
        if not self.config.label_smoothing:
            return F.cross_entropy(scores, goal)
        log_p = torch.log_softmax(scores, dim=1)
        live = torch.isfinite(scores)
        even = -(log_p.masked_fill(~live, 0.0).sum(dim=1) / live.sum(dim=1)).mean()
        return (1 - self.config.label_smoothing) * -log_p[:, 0].mean() + self.config.label_smoothing * even
