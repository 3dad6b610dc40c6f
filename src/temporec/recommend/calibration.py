"""Where texts count: the constant on the scores of new items, and how few events are few, chosen on validation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from temporec.data.dataset import Dataset
from temporec.data.split import Cases
from temporec.model import SequenceModel
from temporec.recommend.cold import LIST, ColdConfig, ColdItems, crowding, shown
from temporec.recommend.rare import mix_rare_items
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.text_map import Span, TextMap
from temporec.recommend.validation import sampled, validation_ndcg
from temporec.runtime import random_state

__all__ = ["fit_cold_items"]

_CROWD = 2_000  # users
_CASES = 5_000  # of the validation, by which the fade is chosen
_SHARE = 0.05  # of the known items that play the new ones
_STEPS = np.arange(-8.0, 8.01, 0.05)


def fit_cold_items(
    model: SequenceModel,
    train: Dataset,
    texts: np.ndarray,
    config: ColdConfig,
    valid: Cases | None,
    spans: Sequence[Span] = (),
    exclude_seen: bool = True,
) -> tuple[ColdItems | None, float]:
    """The map from texts to the trained table with the offset of new items; and the fade of rare ones.

    No map, and no fade, where no item has a text. The rows of rare items are changed in the model.

    Args:
        spans: the columns of each text encoder, where there are several.
    """
    events = np.bincount(train.interactions.item, minlength=train.catalog.size)[1:]
    learned = model.item_table().detach().clone()
    fitted = TextMap.fit(texts, learned, events, config.neighbours, spans)
    if fitted is None or not model.config.head.tied:
        return None, 0.0
    judge = None if valid is None else _judge(model, train, valid, exclude_seen)
    fade = mix_rare_items(model, fitted, texts, events, config.fade, judge)
    recommender = NeuralRecommender(model, train)
    offset, crowd = config.offset, _crowd(recommender, fitted.length)
    if offset is None:
        found = _Learned(learned, events, fitted.span, crowd)
        offset = 0.0 if valid is None else _offset(recommender, texts, config, valid, found)
    return ColdItems(fitted, texts, events > 0, offset, config.after, crowd), fade


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """What training left: item table [V + 1, D], events of each item [V], columns that tell neighbours, queries."""

    table: Tensor
    events: np.ndarray
    span: Span
    crowd: Tensor


def _crowd(recommender: NeuralRecommender, length: float) -> Tensor:
    """Queries of some users, whose products with rows of length 1 are scores [m, D]."""
    some = np.flatnonzero(recommender.log.lengths)
    if len(some) > _CROWD:
        some = np.sort(random_state(0, 14).choice(some, _CROWD, replace=False))
    found = recommender.sorted_queries(recommender.log.rows(some)).float().cpu()
    return found if recommender.model.head.cosine else found * length


def _judge(model: SequenceModel, train: Dataset, valid: Cases, exclude_seen: bool) -> Callable[[], float]:
    cases = sampled(valid, _CASES, 0)
    return lambda: validation_ndcg(NeuralRecommender(model, train, exclude_seen), cases)[0]


@torch.no_grad()
def _offset(
    recommender: NeuralRecommender, texts: np.ndarray, config: ColdConfig, valid: Cases, learned: _Learned
) -> float:
    """The largest offset at which targets among known items lose at most `cost` of their NDCG@10."""
    events, span = learned.events, learned.span
    draw = random_state(0, 12)
    usable = np.flatnonzero((events > 0) & texts.any(axis=1))
    played = np.sort(draw.choice(usable, max(1, round(_SHARE * len(usable))), replace=False))
    rest = events.copy()
    rest[played] = 0
    fitted = TextMap.fit(texts, learned.table, rest, config.neighbours, [span])
    if fitted is None:
        return 0.0
    told = fitted(texts[played])
    new = recommender.model.head.item_vectors(told.to(learned.table.device))
    shift = -crowding(told, fitted.rows, learned.crowd)
    known = np.flatnonzero((valid.histories.lengths > 0) & (np.diff(valid.offsets) == 1))
    known = known[~np.isin(valid.targets[valid.offsets[known]], [0, *(played + 1)])]
    places = min(LIST - config.after, len(played))
    ranks, best, top = _lists(recommender, valid.rows(known), torch.from_numpy(played + 1), (new, shift), places)
    if not len(ranks):
        return 0.0
    base, chosen = _gain(ranks), float(_STEPS[0])
    for step in _STEPS:
        if _gain(_pushed(ranks, best + step, top, config.after)) < (1.0 - config.cost) * base:
            break
        chosen = float(step)
    return chosen


def _gain(ranks: Tensor) -> float:
    return float(torch.where(ranks <= LIST, 1.0 / torch.log2(ranks + 1.0), 0.0).sum())


def _pushed(ranks: Tensor, best: Tensor, top: Tensor, after: int) -> Tensor:
    """The ranks [n] of targets when the best new items are there too."""
    if after:
        return torch.where(ranks > LIST - shown(best, top).sum(dim=1), LIST + 1, ranks)
    return ranks + (best >= top.gather(1, ranks[:, None] - 1)).sum(dim=1)


def _lists(
    recommender: NeuralRecommender, cases: Cases, played: Tensor, new: tuple[Tensor, Tensor], places: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Of targets among the ten best known items: ranks [n], and scores of the best new and known items [n, 10]."""
    vectors, shift = new
    found = [(torch.zeros(0, dtype=torch.int64), torch.zeros(0, places), torch.zeros(0, LIST))]
    for rows, scores in recommender.chunks(cases.histories):
        part = cases.rows(rows)
        seen = torch.from_numpy(np.repeat(np.arange(len(part)), part.histories.lengths))
        goal = torch.from_numpy(part.targets.astype(np.int64))[:, None]
        own = scores.gather(1, goal)
        if recommender.exclude_seen:
            scores[seen, torch.from_numpy(part.histories.items.astype(np.int64))] = -torch.inf
        scores[:, played] = -torch.inf
        rank = (scores >= own).sum(dim=1)
        good = torch.nonzero((rank <= LIST) & (scores.gather(1, goal) == own)[:, 0])[:, 0]
        if not len(good):
            continue
        top = scores[good].topk(min(LIST, scores.shape[1]), dim=1).values
        query = recommender.queries(part.histories.rows(good.numpy())).float()
        best = ((query @ vectors.T).cpu() + shift).topk(places, dim=1).values
        found.append((rank[good], best, F.pad(top, (0, LIST - top.shape[1]), value=-torch.inf)))
    ranks, best, top = (torch.cat(each) for each in zip(*found, strict=True))
    return ranks, best, top
