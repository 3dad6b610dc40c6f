"""Exact top-k over a row of scores per user."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["top_k"]

_BLOCK = 128  # columns that are first looked at as one
_ROWS = 32  # rows with ties at the end of the list that are mended at once; their copies stay in the cache


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best columns of every row, best first: (values [B, k], items [B, k]); -inf means "not to be shown".

    Equal scores are ordered by the lower item number, also at the end of the list, so that an answer does not depend
    on the machine. NaN counts as -inf.
    """
    k = min(k, scores.shape[-1])
    more = min(k + 1, scores.shape[-1])  # one more shows whether the list ends among equal scores
    values, items = _largest(scores, more)
    seen = (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()
    if np.isnan(seen).any():
        return top_k(torch.where(torch.isnan(scores), -torch.inf, scores), k)
    if more == 1 or not (seen[:, 1:] == seen[:, :-1]).any():
        return values[:, :k], items[:, :k]
    cut = (values[:, k - 1] == values[:, -1]).nonzero()[:, 0] if more > k else torch.zeros(0, dtype=torch.int64)
    values, items = values[:, :k], items[:, :k].clone()
    for begin in range(0, len(cut), _ROWS):
        part = cut[begin : begin + _ROWS]
        items[part] = _lowest_equal(scores[part], values[part], items[part])
    items, order = torch.sort(items, dim=-1)
    values, again = torch.sort(values.gather(1, order), dim=-1, descending=True, stable=True)
    return values, items.gather(1, again)


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`torch.topk`; on many rows only the k blocks of columns with the largest maxima are searched.

    That is exact: fewer than k values lie above the k-th largest, hence so do the maxima of fewer than k blocks.
    """
    rows, columns = scores.shape
    count = columns // _BLOCK
    if rows < 8 or count < 4 * k:
        return torch.topk(scores, k, dim=-1)
    table = scores[:, : count * _BLOCK].reshape(rows, count, _BLOCK)
    blocks = table.amax(dim=2).topk(k, dim=1).indices
    inside = table[torch.arange(rows, device=scores.device)[:, None], blocks].view(rows, k * _BLOCK)
    values, places = torch.cat([inside, scores[:, count * _BLOCK :]], dim=1).topk(k, dim=1)
    items = blocks.gather(1, (places // _BLOCK).clamp_max(k - 1)) * _BLOCK + places % _BLOCK
    return values, torch.where(places < k * _BLOCK, items, places + (count - k) * _BLOCK)


def _lowest_equal(scores: Tensor, values: Tensor, items: Tensor) -> Tensor:
    """`items` with those at the last value replaced by the lowest-numbered columns that have it.

    Which of several equal columns `torch.topk` takes is not defined.
    """
    last = values[:, -1:]
    numbers = torch.arange(scores.shape[1], 0, -1, dtype=torch.int32, device=scores.device)
    lowest = _largest(torch.where(scores == last, numbers, 0), items.shape[1])[1]
    place = (values == last).cumsum(dim=1) - 1
    return torch.where(place >= 0, lowest.gather(1, place.clamp_min(0)), items)
