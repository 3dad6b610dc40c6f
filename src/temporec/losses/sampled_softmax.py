"""Sampled softmax with logQ correction: the cross-entropy over the target and shared negatives."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor
from torch.autograd.function import once_differentiable

from temporec.losses.base import Loss, LossConfig, Needs, Negatives, shared_scores
from temporec.registry import register

__all__ = ["SampledSoftmax", "SampledSoftmaxConfig"]

_ROWS = 256  # positions per chunk of the fast path


class SampledSoftmaxConfig(LossConfig):
    """Options of the sampled softmax."""

    kind: Literal["sampled_softmax"] = "sampled_softmax"
    negatives: PositiveInt = 512


@register("loss", "sampled_softmax")
class SampledSoftmax(Loss):
    """Softmax over one target and K shared negatives, each score minus log of its expected count (logQ correction).

    Bengio and Senecal 2008; Yi et al. 2019. A negative that equals the target of a position is left out there.
    The target stands in for itself once, so it gets no correction; negatives get -log(K q).

    In fp32 without bias and smoothing, loss and gradients are formed together in chunks of rows.
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
        plain = bias is None and not self.config.label_smoothing and hidden.dtype == torch.float32
        if plain and negatives is not None and not torch.is_autocast_enabled(hidden.device.type):
            places = torch.stack(_same(targets, negatives.items))
            shift = negatives.log_q[negatives.items] + _log(len(negatives.items), hidden)
            value: Tensor = _Chunked.apply(hidden, table[targets], table[negatives.items], shift, places)  # type: ignore[no-untyped-call]
            return value
        positive, negative = shared_scores(hidden, table, targets, bias, negatives)
        assert negatives is not None
        negative = negative - (negatives.log_q[negatives.items] + _log(len(negatives.items), hidden))[None, :]
        scores = torch.cat([positive[:, None], negative], dim=1).float()
        goal = torch.zeros(len(targets), dtype=torch.int64, device=hidden.device)
        if not self.config.label_smoothing:
            return F.cross_entropy(scores, goal)
        log_p = torch.log_softmax(scores, dim=1)
        live = torch.isfinite(scores)
        even = -(log_p.masked_fill(~live, 0.0).sum(dim=1) / live.sum(dim=1)).mean()
        return (1 - self.config.label_smoothing) * -log_p[:, 0].mean() + self.config.label_smoothing * even


class _Chunked(torch.autograd.Function):
    """Mean of log(exp(p) + sum_k exp(n_k - shift_k)) - p, with p = h . w and n_k = h . v_k; `places` do not count."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, w: Tensor, v: Tensor, shift: Tensor, places: Tensor) -> Tensor:
        n = len(h)
        positive = (h * w).sum(dim=1)
        total, share = h.new_zeros((), dtype=torch.float64), torch.empty_like(positive)
        d_h, d_v = torch.empty_like(h), torch.zeros_like(v)
        buffer = h.new_empty(min(n, _ROWS), len(v))
        starts = torch.searchsorted(places[0].contiguous(), torch.arange(0, n + _ROWS, _ROWS, device=h.device))
        for chunk, begin in enumerate(range(0, n, _ROWS)):
            rows = slice(begin, min(begin + _ROWS, n))
            e = torch.mm(h[rows], v.T, out=buffer[: rows.stop - begin]).sub_(shift)
            here = places[:, starts[chunk] : starts[chunk + 1]]
            e[here[0] - begin, here[1]] = -torch.inf
            top = torch.maximum(e.amax(dim=1), positive[rows])
            e.sub_(top[:, None]).exp_()
            own = (positive[rows] - top).exp_()
            whole = e.sum(dim=1) + own
            total += (whole.log() + top - positive[rows]).sum(dtype=torch.float64)
            share[rows] = own / whole
            torch.mm(e, v, out=d_h[rows]).div_(whole[:, None])
            d_v.addmm_(e.T, h[rows] / whole[:, None])
        pull = ((share - 1.0) / n)[:, None]
        ctx.save_for_backward(d_h.div_(n).addcmul_(pull, w), pull * h, d_v.div_(n))
        return (total / n).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (*(each * grads[0] for each in ctx.saved_tensors), None, None)


def _same(targets: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns, by row, where a position's target is among the sampled items."""
    ordered, order = items.sort()
    first, last = (torch.searchsorted(ordered, targets, right=right) for right in (False, True))
    count = last - first
    row = torch.repeat_interleave(torch.arange(len(targets), device=targets.device), count)
    place = torch.arange(len(row), device=targets.device) - (count.cumsum(0) - count)[row]
    return row, order[first[row] + place]


def _log(count: int, like: Tensor) -> Tensor:
    return torch.log(torch.tensor(float(count), device=like.device))
