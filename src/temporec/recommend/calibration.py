"""What new items may cost the known ones: the constant on their scores, chosen on validation."""

import numpy as np
import torch
from torch import Tensor

from temporec.data.dataset import Dataset
from temporec.data.split import Cases
from temporec.model import SequenceModel
from temporec.recommend.cold import ColdConfig, ColdItems, TextMap
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import random_state

__all__ = ["fit_cold_items"]

_SHARE = 0.05  # of the known items that play the new ones
_STEPS = np.arange(-8.0, 8.01, 0.1)
_CASES = 5_000


def fit_cold_items(
    model: SequenceModel, train: Dataset, texts: np.ndarray, config: ColdConfig, valid: Cases | None
) -> ColdItems | None:
    """The map from texts to the trained table, and the offset of new items; None where no item has a text."""
    trained = np.bincount(train.interactions.item, minlength=train.catalog.size)[1:] > 0
    table = model.item_table().detach()
    fitted = TextMap.fit(texts, table, trained, config.neighbours)
    if fitted is None or not model.config.head.tied:
        return None
    offset = config.offset
    if offset is None:
        offset = 0.0 if valid is None else _offset(model, train, texts, config, valid)
    return ColdItems(fitted, texts, trained, offset, config.after)


@torch.no_grad()
def _offset(model: SequenceModel, train: Dataset, texts: np.ndarray, config: ColdConfig, valid: Cases) -> float:
    """The largest offset at which targets among known items lose at most `cost` of their NDCG@10."""
    draw = random_state(0, 12)
    trained = np.bincount(train.interactions.item, minlength=train.catalog.size)[1:] > 0
    usable = np.flatnonzero(trained & texts.any(axis=1))
    played = np.sort(draw.choice(usable, max(1, round(_SHARE * len(usable))), replace=False))
    rest = trained.copy()
    rest[played] = False
    fitted = TextMap.fit(texts, model.item_table(), rest, config.neighbours)
    if fitted is None:
        return 0.0
    device = model.item_table().device
    new = model.head.item_vectors(fitted(texts[played]).to(device))
    known = np.flatnonzero((valid.histories.lengths > 0) & (np.diff(valid.offsets) == 1))
    known = known[~np.isin(valid.targets[valid.offsets[known]], [0, *(played + 1)])]
    if len(known) > _CASES:
        known = np.sort(draw.choice(known, _CASES, replace=False))
    ranks, margins = _margins(NeuralRecommender(model, train), valid.rows(known), torch.from_numpy(played + 1), new)
    if not len(ranks):
        return 0.0
    base = float((1.0 / torch.log2(ranks + 1.0)).sum())
    chosen = float(_STEPS[0])
    for step in _STEPS:
        now = torch.where(ranks <= config.after, ranks, ranks + (margins <= step).sum(dim=1))
        gain = float(torch.where(now <= 10, 1.0 / torch.log2(now + 1.0), 0.0).sum())
        if gain < (1.0 - config.cost) * base:
            break
        chosen = float(step)
    return chosen


def _margins(recommender: NeuralRecommender, cases: Cases, played: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Of targets among the best ten known items: their ranks, and by how much they lead each new item [n, C]."""
    ranks, margins = [], []
    for rows, scores in recommender.chunks(cases.histories):
        part = cases.rows(rows)
        seen = torch.from_numpy(np.repeat(np.arange(len(part)), part.histories.lengths))
        goal = torch.from_numpy(part.targets.astype(np.int64))[:, None]
        own = scores.gather(1, goal)
        if recommender.exclude_seen:
            scores[seen, torch.from_numpy(part.histories.items.astype(np.int64))] = -torch.inf
        scores[:, played] = -torch.inf
        rank = (scores >= own).sum(dim=1)
        good = torch.nonzero((rank <= 10) & (scores.gather(1, goal) == own)[:, 0])[:, 0]
        if not len(good):
            continue
        query = recommender.queries(part.histories.rows(good.numpy())).float()
        ranks.append(rank[good])
        margins.append(own[good] - (query @ new.T).cpu())
    return (torch.cat(ranks), torch.cat(margins)) if ranks else (torch.zeros(0), torch.zeros(0, len(new)))
