"""Full softmax cross-entropy over all items, in row chunks, with the gradient formed in the forward pass.

The N x V score matrix never exists: `rows` of it live in one reused buffer. With logits Z = H W^T + b, E = exp(Z - c)
and s = rowsum(E): loss = mean(log s + c - z_target), dH = E W / s - w_target, dW = E^T (H / s) - scatter(H). The
division by s is moved onto the small factors, so the buffer is written once, exponentiated once and read three times.

The shift c is the row maximum; it is left out where a bound on |z| (Cauchy-Schwarz) shows that exp cannot overflow.
"""

from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor
from torch.autograd.function import once_differentiable

from temporec.losses.base import Loss, LossConfig, Negatives
from temporec.registry import register

__all__ = ["CrossEntropy", "CrossEntropyConfig"]

_BLOCKS = 256  # a row is summed in so many blocks, so that sums in bf16 do not round alike
_SAFE = 60.0  # exp(60) * 1e11 items still fits into fp32


class CrossEntropyConfig(LossConfig):
    """Options of the full softmax."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    rows: PositiveInt = 256  # positions per chunk


@register("loss", "cross_entropy")
class CrossEntropy(Loss):
    """-log softmax(hidden . table)[target] over all items with finite bias, mean over positions.

    Label smoothing e mixes the target with the uniform distribution over the items in the denominator
    (Szegedy et al. 2016): (1 - e) * ce(target) + e * mean over items of ce(item).
    """

    Config = CrossEntropyConfig

    def __init__(self, config: CrossEntropyConfig) -> None:
        super().__init__(config)
        self.rows = config.rows
        self._buffer: Tensor | None = None

    def forward(
        self,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        bias: Tensor | None = None,
        negatives: Negatives | None = None,
    ) -> Tensor:
        dtype = hidden.dtype
        if torch.is_autocast_enabled(hidden.device.type):
            dtype = torch.get_autocast_dtype(hidden.device.type)
        width = -(-(table.shape[0] - 1) // _BLOCKS) * _BLOCKS
        buffer = self._buffer
        if (
            buffer is None
            or buffer.shape != (self.rows, width)
            or buffer.dtype != dtype
            or buffer.device != hidden.device
        ):
            self._buffer = buffer = torch.zeros(self.rows, width, dtype=dtype, device=hidden.device)
        smoothing = self.config.label_smoothing
        loss: Tensor = _Chunked.apply(hidden, table, targets, bias, smoothing, buffer)  # type: ignore[no-untyped-call]
        return loss


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, targets: Tensor, bias: Tensor | None, smoothing: float, buffer: Tensor
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            h, w = hidden.detach().to(buffer.dtype), table.detach()[1:].to(buffer.dtype)
            b = None if bias is None else bias.detach()[1:].float()
            need_bias = bias is not None and bias.requires_grad
            loss, grads = _loss_and_grads(h, w, targets - 1, b, buffer, need_bias)
            if smoothing:
                loss, grads = _smooth(loss, grads, (h.float(), w.float(), targets - 1, b), smoothing)
        d_hidden, d_table, d_bias = grads
        ctx.save_for_backward(d_hidden.to(hidden.dtype), d_table, d_bias)
        ctx.dtype = table.dtype
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_table, d_bias = ctx.saved_tensors
        scale = grads[0]
        d_table = d_table.to(ctx.dtype).mul_(scale)
        return d_hidden.mul_(scale), d_table, None, None if d_bias is None else d_bias * scale, None, None


Grads = tuple[Tensor, Tensor, Tensor | None]


def _loss_and_grads(
    h: Tensor, w: Tensor, targets: Tensor, bias: Tensor | None, buffer: Tensor, need_bias: bool
) -> tuple[Tensor, Grads]:
    """Loss and gradients of the plain cross-entropy; `d_table` has a zero row for PAD in front."""
    n, rows = len(h), buffer.shape[0]
    d_hidden = torch.empty(n, h.shape[1], dtype=torch.float32, device=h.device)
    d_table = torch.zeros(len(w) + 1, h.shape[1], dtype=torch.float32, device=h.device)
    d_bias = torch.zeros(len(w), device=h.device) if need_bias else None
    total = torch.zeros((), dtype=torch.float64, device=h.device)
    reach = h.float().norm(dim=1).max() * w.float().norm(dim=1).max()
    if bias is not None:
        reach = reach + bias[torch.isfinite(bias)].abs().max()
    shift = bool(reach > _SAFE)
    low = h.dtype != torch.float32
    for begin in range(0, n, rows):
        part, goal = h[begin : begin + rows], targets[begin : begin + rows]
        e = buffer[: len(part), : len(w)]
        torch.mm(part, w.T, out=e)
        if bias is not None:
            e.add_(bias)
        picked = e.gather(1, goal[:, None]).squeeze(1).float()
        top = e.amax(dim=1, keepdim=True) if shift else None
        if top is not None:
            e.sub_(top)
        e.exp_()  # columns of the buffer beyond the items stay zero
        total_e = buffer[: len(part)].view(len(part), _BLOCKS, -1).sum(dim=2).float().sum(dim=1, keepdim=True)
        log_sum = total_e.log().squeeze(1) + (0.0 if top is None else top.squeeze(1).float())
        total += (log_sum - picked).sum(dtype=torch.float64)
        d_hidden[begin : begin + rows] = (e @ w) / total_e if low else torch.mm(e, w).div_(total_e)
        scaled = part / total_e
        d_table[1:] += (e.T @ scaled.to(e.dtype)) if low else 0.0
        if not low:
            d_table[1:].addmm_(e.T, scaled)
        if d_bias is not None:
            d_bias += (e.float() / total_e).sum(dim=0)
    d_hidden -= w[targets].float()
    d_table.index_add_(0, targets + 1, h.float(), alpha=-1.0)
    if d_bias is not None:
        d_bias = torch.cat([d_bias.new_zeros(1), d_bias - torch.bincount(targets, minlength=len(w))]) / n
    return (total / n).float(), (d_hidden.div_(n), d_table.div_(n), d_bias)


def _smooth(
    loss: Tensor, grads: Grads, inputs: tuple[Tensor, Tensor, Tensor, Tensor | None], smoothing: float
) -> tuple[Tensor, Grads]:
    """Add smoothing * (score of the target - mean score of the items in the denominator); gradients in closed form."""
    h, w, targets, bias = inputs
    n = len(h)
    live = torch.ones(len(w), device=w.device) if bias is None else torch.isfinite(bias).float()
    share = live / live.sum()
    mean_item = share @ w
    offset = torch.zeros((), device=w.device)
    if bias is not None:
        offset = bias[targets].mean() - (bias.nan_to_num(neginf=0.0) * share).sum()
    target_rows = w[targets]
    loss = loss + smoothing * ((h * (target_rows - mean_item)).sum() / n + offset)
    d_hidden, d_table, d_bias = grads
    d_hidden += (target_rows - mean_item) * (smoothing / n)
    d_table.index_add_(0, targets + 1, h, alpha=smoothing / n)
    d_table[1:] -= share[:, None] * (h.sum(dim=0) * (smoothing / n))
    if d_bias is not None:
        d_bias = d_bias.clone()
        d_bias[1:] += smoothing * (torch.bincount(targets, minlength=len(w)) / n - share)
    return loss, (d_hidden, d_table, d_bias)
