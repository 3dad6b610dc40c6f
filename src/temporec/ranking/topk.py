"""Exact top-k over a row of scores per user."""

import torch
from torch import Tensor

__all__ = ["top_k"]


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best columns of every row, best first: (values [B, k], items [B, k]); -inf means "not to be shown".

    Equal scores are ordered by the lower item number, so that an answer does not depend on the machine.
    """
    k = min(k, scores.shape[-1])
    values, items = torch.topk(scores, k, dim=-1)
    if k > 1 and bool((values[:, 1:] == values[:, :-1]).any()):
        items, order = torch.sort(items, dim=-1, stable=True)
        values, again = torch.sort(values.gather(1, order), dim=-1, descending=True, stable=True)
        items = items.gather(1, again)
    return values, items
