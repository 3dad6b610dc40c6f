"""Which of the figures of an explanation are worth a sentence: its facts."""

from temporec.recommend.explanation import EventEffect, Explanation, Fact, FactKind

__all__ = ["facts_of"]

SMALL = 0.005  # changes of a score below it are no reason
ALIKE = 0.2  # cosines below it are not worth a word


def facts_of(made: Explanation, shown: int, size: int) -> list[Fact]:
    """The facts of an explanation, the most telling first.

    Args:
        made: the figures.
        shown: how many items the answer has.
        size: how many items there are.
    """
    item, title = (made.item,), (made.title,)
    if made.score is None:
        return [Fact("not_learned", item, title, {})]
    ranks = {"rank": made.rank, "of": made.of, "k": made.k, "shown": shown, "score": made.score}
    if made.gap is not None:
        ranks["gap"] = made.gap
    own: list[Fact] = []
    if made.place is not None and made.probability is not None:
        own.append(Fact("listed", item, title, {**ranks, "place": made.place, "probability": made.probability}))
    for reason in made.why_not:
        own.append(Fact("not_listed" if reason == "rank" else reason, item, title, {**ranks}))
    popular = made.popularity
    numbers = {"rank": popular.rank, "of": size, "events": popular.events, "share": popular.share}
    rest = [*_similar(made), Fact("popularity", item, title, numbers)]
    if times := sum(event.item == made.item for event in made.events):
        rest.insert(0, Fact("repeat", item, title, {"times": times, "events": len(made.events)}))
    return [*_carried(made), *own, *rest] if made.place is not None else [*own, *_carried(made), *rest]


def _carried(made: Explanation) -> list[Fact]:
    """The event that carried the item most, how its age mattered, up to two helpers, and the strongest opponent."""
    if not made.events:
        return [Fact("no_history", (), (), {})]
    first, last = made.events[0], made.events[-1]
    if first.score_change is None or last.score_change is None:
        return [_event_fact("only_event", made, first, rank=made.rank, rank_without=first.rank_without)]
    if first.score_change > -SMALL:
        fall = max(0.0, -first.score_change)
        return [Fact("no_single_event", (), (), {"events": len(made.events), "largest_fall": fall})]
    facts = [_effect_fact("carried" if made.place is not None else "favoured", made, first)]
    if first.events_ago > 1:
        kind: FactKind = "age_by_time" if made.age_by == "time" else "age_by_position"
        facts.append(_event_fact(kind, made, first, score_change=first.age_change))
    facts += [_effect_fact("helped", made, e) for e in made.events[1:3] if (e.score_change or 0.0) <= -SMALL]
    if last.score_change >= SMALL:
        facts.append(_effect_fact("opposed", made, last))
    return facts


def _similar(made: Explanation) -> list[Fact]:
    """The past item most like the explained one, other than itself."""
    others = [event for event in made.events if event.item != made.item and (event.similarity or 0.0) >= ALIKE]
    if not others or made.similarity_by is None:
        return []
    best = max(others, key=lambda event: (event.similarity or 0.0, -event.events_ago))
    kind: FactKind = "text_similarity" if made.similarity_by == "text" else "item_similarity"
    return [_event_fact(kind, made, best, cosine=best.similarity or 0.0)]


def _effect_fact(kind: FactKind, made: Explanation, event: EventEffect) -> Fact:
    change = event.score_change or 0.0
    return _event_fact(kind, made, event, score_change=change, rank=made.rank, rank_without=event.rank_without)


def _event_fact(kind: FactKind, made: Explanation, event: EventEffect, **numbers: float) -> Fact:
    numbers["events_ago"] = event.events_ago
    if event.seconds is not None:
        numbers["seconds_before_last" if made.at is None else "seconds_ago"] = event.seconds
    return Fact(kind, (event.item,), (event.title,), numbers)
