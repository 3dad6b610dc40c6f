"""How well a recommender ranks validation cases: what training stops by, and what is chosen after it."""

import numpy as np
import torch
from torch import Tensor

from temporec.data.batch import Histories
from temporec.data.split import Cases
from temporec.metrics.ranking import accuracy, ndcg
from temporec.metrics.ranks import rank_targets
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import random_state

__all__ = ["hide_seen", "sampled", "validation_ndcg"]


def sampled(cases: Cases, most: int, seed: int) -> Cases:
    """Cases with a history; at most so many of them, drawn with the seed."""
    known = np.flatnonzero(cases.histories.lengths > 0)
    if len(known) > most:
        known = np.sort(random_state(seed, 3).choice(known, most, replace=False))
    return cases.rows(known)


def validation_ndcg(recommender: NeuralRecommender, cases: Cases, k: int = 10) -> tuple[float, float]:
    """Mean NDCG@k and top-1 accuracy: all items, pessimistic ties, seen items left out if the recommender does so."""
    total = first = 0.0
    for rows, scores in recommender.chunks(cases.histories):
        part = cases.rows(rows)
        if recommender.exclude_seen:
            hide_seen(scores, part.histories)
        ranks = rank_targets(scores, part.targets, part.offsets)
        total += float(np.nansum(ndcg(ranks, part.offsets, k)))
        first += float(np.nansum(accuracy(ranks, part.offsets)))
    return total / len(cases), first / len(cases)


def hide_seen(scores: Tensor, histories: Histories) -> None:
    """Set the scores [B, V + 1] of each history's own items to -inf, in place."""
    rows = np.repeat(np.arange(len(histories)), histories.lengths)
    scores[torch.from_numpy(rows), torch.from_numpy(histories.items.astype(np.int64))] = -torch.inf
