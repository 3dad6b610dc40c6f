"""Why an item is recommended, or why not: the real scores of histories in which one event is deleted or made new."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from temporec.data.batch import Histories
from temporec.data.catalog import Catalog
from temporec.data.vocabulary import Id
from temporec.ranking.filters import Filters, broken_rules
from temporec.ranking.topk import top_k
from temporec.recommend.explanation import EventEffect, Explanation, ItemPopularity, Removal
from temporec.recommend.facts import facts_of
from temporec.recommend.query import Query, Recommendations, item_numbers, milliseconds

__all__ = ["Explainable", "explain", "explain_many", "with_reasons"]

EVENTS = 50  # the last events whose effects are computed


class Explainable(Protocol):
    """What an explanation asks of a recommender."""

    catalog: Catalog
    log: Histories
    popularity: Tensor
    max_len: int | None

    @property
    def item_vectors(self) -> Tensor | None: ...
    def text_vectors(self, numbers: np.ndarray) -> np.ndarray | None: ...
    def histories(self, queries: Sequence[Query]) -> Histories: ...
    def score(self, histories: Histories) -> Tensor: ...
    def mask(self, query: Query, seen: np.ndarray) -> Tensor: ...
    def hides_seen(self, filters: Filters) -> bool: ...
    def recommend(self, query: Query | None = None) -> Recommendations: ...


@dataclass(frozen=True, eq=False)
class _Scored:
    """One query, scored as it is and n times otherwise; rows go with the last n events, the oldest first."""

    query: Query
    history: Histories
    mask: Tensor  # bool [V + 1]
    listed: list[int]  # item numbers of the answer
    scores: Tensor  # [V + 1]
    deleted: Tensor  # [n, V + 1]
    aged: Tensor  # [n, V + 1]
    age_by: Literal["time", "position"]
    counts: np.ndarray  # int64 [V + 1] events of each item in the log
    similarity_by: Literal["text", "item"] | None
    vectors: dict[int, Tensor]  # unit vectors of the explained items and those of the n events, by number

    @property
    def events(self) -> range:
        """Places of the n events in the history."""
        total = len(self.history.items)
        return range(total - len(self.deleted), total)


def explain(recommender: Explainable, query: Query, item: Id) -> Explanation:
    """Why one item stands where it stands for a query.

    Raises:
        UnknownIdError: the item, or something in the query, is not known.
    """
    return explain_many(recommender, query, [item])[0]


def explain_many(recommender: Explainable, query: Query, items: Sequence[Id]) -> list[Explanation]:
    """`explain` for several items of one query, whose histories are scored once."""
    numbers = recommender.catalog.vocabulary.encode(items)
    scored = _score(recommender, query, numbers)
    return [_explanation(recommender, scored, int(number)) for number in numbers]


def with_reasons(recommender: Explainable, query: Query, answer: Recommendations) -> Recommendations:
    """The answer to a query with `why` beside every item."""
    reasons = [found.why for found in explain_many(recommender, query, answer.ids)]
    rows = tuple(replace(row, why=why) for row, why in zip(answer.items, reasons, strict=True))
    return replace(answer, items=rows)


def _score(recommender: Explainable, query: Query, numbers: np.ndarray) -> _Scored:
    history = recommender.histories([query])
    total = len(history.items)
    mask = recommender.mask(query, history.items)
    scores = recommender.score(history)[0].clone() if total else recommender.popularity.clone()
    if query.diversity > 0:
        listed = recommender.catalog.vocabulary.encode(recommender.recommend(query).ids).tolist()
    else:
        values, found = top_k(scores.masked_fill(~mask, -torch.inf)[None, :], query.k)
        listed = found[torch.isfinite(values)].tolist()
    n = min(total, recommender.max_len or EVENTS, EVENTS)
    deleted = aged = scores[None, :][:0]
    age_by: Literal["time", "position"] = "position"
    if n:
        deleted, moved, timed = torch.split(recommender.score(_counterfactuals(history, n)), n)
        felt = history.has_time and bool(((timed - scores)[:, 1:].abs() > 1e-4).any())
        aged, age_by = (timed, "time") if felt else (moved, "position")
    counts = np.bincount(recommender.log.items, minlength=recommender.catalog.size)
    compared = np.union1d(numbers, history.items[total - n :])
    similarity_by, vectors = _unit_vectors(recommender, compared[compared < recommender.catalog.size])
    return _Scored(query, history, mask, listed, scores, deleted, aged, age_by, counts, similarity_by, vectors)


def _counterfactuals(history: Histories, n: int) -> Histories:
    """3 n histories: without each of the last n events; with each of them as the last; with no time since each."""
    whole, last = np.arange(len(history.items)), history.times[-1]
    orders, times = [], []
    for place in whole[-n:]:
        rest = np.delete(whole, place)
        orders.append(rest)
        times.append(history.times[rest])
    for place in whole[-n:]:
        orders.append(np.append(orders[place - len(whole) + n], place))
        times.append(np.append(history.times[orders[-1][:-1]], last))
    for place in whole[-n:]:
        orders.append(whole)
        times.append(np.where(whole < place, history.times, last))
    order = np.concatenate(orders)
    return Histories(
        history.items[order],
        np.concatenate(times),
        np.cumsum([0, *map(len, orders)]),
        None if history.at is None else history.at.repeat(len(orders)),
        None if history.users is None else history.users.repeat(len(orders)),
        history.has_time,
        None if history.kinds is None else history.kinds[order],
        None if history.values is None else history.values[order],
        history.extra,
    )


def _explanation(recommender: Explainable, scored: _Scored, number: int) -> Explanation:
    catalog, query, score = recommender.catalog, scored.query, float(scored.scores[number])
    shown = scored.scores.masked_fill(~scored.mask, -torch.inf)
    learned = score > -torch.inf
    counts = scored.counts
    made = Explanation(
        item=catalog.vocabulary.decode([number])[0],
        title=catalog.titles([number])[0],
        user=query.user,
        source="model" if len(scored.history.items) else "popularity",
        at=None if query.at is None else milliseconds(query.at) / 1000,
        k=query.k,
        place=scored.listed.index(number) + 1 if number in scored.listed else None,
        rank=int(_ranks(scored.scores[None, :], scored.mask, number)[0]),
        of=int(scored.mask.sum()) + (not scored.mask[number]),
        score=score if learned else None,
        probability=float(torch.exp(score - torch.logsumexp(shown, dim=0))) if scored.mask[number] else None,
        gap=score - float(scored.scores[scored.listed].min()) if scored.listed and learned else None,
        why_not=_why_not(recommender, scored, number),
        age_by=scored.age_by,
        similarity_by=scored.similarity_by,
        events=_effects(recommender, scored, number) if learned else (),
        popularity=ItemPopularity(
            int(counts[number]), float(counts[number] / max(1, counts.sum())), 1 + int((counts > counts[number]).sum())
        ),
        facts=(),
    )
    return replace(made, facts=tuple(facts_of(made, len(scored.listed), len(catalog))))


def _ranks(scores: Tensor, mask: Tensor, number: int) -> Tensor:
    """Rank [n] of an item in each row [n, V + 1] among the items of the mask; ties are ordered as in `top_k`."""
    own = scores[:, number : number + 1]
    ahead = scores > own
    ahead[:, :number] |= scores[:, :number] == own
    return 1 + (ahead & mask).sum(dim=1)


def _why_not(recommender: Explainable, scored: _Scored, number: int) -> tuple[Removal, ...]:
    query, catalog = scored.query, recommender.catalog
    found: list[Removal] = []
    if number in scored.listed:
        return ()
    if scored.scores[number] == -torch.inf:
        return ("not_learned",)
    if recommender.hides_seen(query.filters) and number in scored.history.items:
        found.append("seen")
    found += broken_rules(query.filters, catalog, number)
    if query.candidates is not None and number not in catalog.vocabulary.encode(query.candidates):
        found.append("not_candidate")
    if not found:
        passed_over = bool((scored.scores[number] >= scored.scores[scored.listed]).any())
        found.append("diversity" if query.diversity > 0 and passed_over else "rank")
    return tuple(found)


def _unit_vectors(
    recommender: Explainable, numbers: np.ndarray
) -> tuple[Literal["text", "item"] | None, dict[int, Tensor]]:
    """Vectors of length 1 of some items by number: of their texts, else those of the model."""
    numbers = numbers.astype(np.int64)
    texts, table = recommender.text_vectors(numbers), recommender.item_vectors
    by: Literal["text", "item"]
    if texts is not None:
        by, found = "text", torch.from_numpy(texts)
    elif table is not None:
        by, found = "item", table.cpu()[torch.from_numpy(numbers)]
    else:
        return None, {}
    return by, dict(zip(numbers.tolist(), torch.nn.functional.normalize(found, dim=1), strict=True))


def _effects(recommender: Explainable, scored: _Scored, number: int) -> tuple[EventEffect, ...]:
    history, score, places, vectors = scored.history, scored.scores[number], scored.events, scored.vectors
    if not places:
        return ()
    items = history.items[places].tolist()
    now = int(history.times[-1] if history.at is None else history.at[0])
    change, aged = (scored.deleted[:, number] - score).tolist(), (scored.aged[:, number] - score).tolist()
    ranks = _ranks(scored.deleted, scored.mask, number).tolist()
    ids, titles = _names(recommender, scored.query, items)
    effects = [
        EventEffect(
            item=ids[i],
            title=titles[i],
            events_ago=len(history.items) - place,
            seconds=max(0, now - int(history.times[place])) / 1000 if history.has_time else None,
            score_change=change[i] if len(history.items) > 1 else None,
            rank_without=ranks[i],
            age_change=aged[i],
            similarity=float(vectors[items[i]] @ vectors[number]) if items[i] in vectors else None,
        )
        for i, place in enumerate(places)
    ]
    return tuple(sorted(effects, key=lambda effect: (effect.score_change or 0.0, effect.events_ago)))


def _names(recommender: Explainable, query: Query, items: list[int]) -> tuple[list[Id], list[str]]:
    """Ids and titles of the events of a history; words about items and the profile stand for themselves."""
    catalog, words = recommender.catalog, list[str]()
    item_numbers([event.item for event in query.events], catalog.vocabulary, words)
    words.append("the user's profile")
    known = [number if number < catalog.size else 1 for number in items]
    ids, titles = catalog.vocabulary.decode(known), catalog.titles(known)
    for i, number in enumerate(items):
        if number >= catalog.size:
            ids[i] = titles[i] = words[number - catalog.size]
    return ids, titles
