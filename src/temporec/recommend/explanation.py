"""The answer to "why this item, or why not": figures, small typed facts, and sentences made of these facts alone."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from temporec.data.vocabulary import Id

__all__ = ["EventEffect", "Explanation", "Fact", "FactKind", "ItemPopularity", "Removal"]

Removal = Literal["seen", "blocked", "not_allowed", "category", "not_candidate", "not_learned", "diversity", "rank"]
FactKind = Literal[
    "listed", "not_listed", "seen", "blocked", "not_allowed", "category", "not_candidate", "not_learned", "diversity",
    "carried", "favoured", "only_event", "helped", "opposed", "no_single_event", "no_history",
    "age_by_time", "age_by_position", "repeat", "text_similarity", "item_similarity", "popularity",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was computed: who rephrases an explanation may use facts, and nothing else.

    Args:
        kind: what the numbers mean; `to_text` says it in words.
        items: the items that it is about, by id: the explained item, or an item of the history.
        titles: their titles, in the same order; the id where an item has none.
        numbers: figures by name; durations in seconds, shares and probabilities between 0 and 1.
    """

    kind: FactKind
    items: tuple[Id, ...]
    titles: tuple[str, ...]
    numbers: dict[str, float]

    def to_text(self) -> str:
        """One plain English sentence."""
        title = f'"{self.titles[0]}"' if self.titles else ""
        return _SENTENCES[self.kind](title, self.numbers)


@dataclass(frozen=True, slots=True)
class EventEffect:
    """What one past event did to the score of the explained item.

    Args:
        item: the item of the event.
        title: its title.
        events_ago: 1 = the last event.
        seconds: before the request; before the last event where the query has no `at`; None where the log has no times.
        score_change: the score without this event minus the score; negative = the event spoke for the item. None where
            it was the only event, because what is left (popularity) has scores of another kind.
        rank_without: the rank without this event, among the same items.
        age_change: the score minus the real one if the event were new; see `Explanation.age_by`.
        similarity: cosine to the explained item; see `Explanation.similarity_by`.
    """

    item: Id
    title: str
    events_ago: int
    seconds: float | None
    score_change: float | None
    rank_without: int
    age_change: float
    similarity: float | None


@dataclass(frozen=True, slots=True)
class ItemPopularity:
    """Events of the item in the log that the recommender knows, their share of all, and its rank by them."""

    events: int
    share: float
    rank: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an item stands where it stands for one query.

    Args:
        item: the explained item.
        title: its title.
        user: of the query.
        source: "model", or "popularity" where nothing is known of the user.
        at: the moment of the request in epoch seconds, if the query has one.
        k: length of the list.
        place: place in the list; None = not in it.
        rank: by score among the items that may be shown and the item itself.
        of: how many these are.
        score: as in `Recommendation`; None where nothing is known of the item, so that it has none.
        probability: as in `Recommendation`; None where a filter removes the item.
        gap: score minus the score of the last item shown; None where nothing is shown or there is no score.
        why_not: why it is not in the list: the filters that remove it, else diversity or its rank. Empty = it is there.
        age_by: how an event was made new for `age_change`. "time": it and all after it take the time of the last event,
            their order stays; "position": it becomes the last event (where the model does not feel times).
        similarity_by: "text" = vectors of the items' texts, "item" = the model's item vectors, None = there are none.
        events: effects of the last events, the strongest support first.
        popularity: of the item.
        facts: what is worth saying, the most important first.
    """

    item: Id
    title: str
    user: Id | None
    source: str
    at: float | None
    k: int
    place: int | None
    rank: int
    of: int
    score: float | None
    probability: float | None
    gap: float | None
    why_not: tuple[Removal, ...]
    age_by: Literal["time", "position"]
    similarity_by: Literal["text", "item"] | None
    events: tuple[EventEffect, ...]
    popularity: ItemPopularity
    facts: tuple[Fact, ...]

    @property
    def why(self) -> str:
        """The one most telling sentence."""
        told = [fact for fact in self.facts if self.why_not or fact.kind in ("carried", "only_event", "popularity")]
        return told[0].to_text()

    def to_text(self) -> str:
        """Plain sentences, one per line, each of them a fact."""
        return "\n".join(fact.to_text() for fact in self.facts)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, with `why` and `text`."""
        return {**asdict(self), "why": self.why, "text": self.to_text()}


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _duration(seconds: float) -> str:
    sizes = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    unit = next((unit for unit, size in sizes.items() if seconds >= size), "second")
    count = round(seconds / sizes[unit])
    return f"{count:,} {unit}{'' if count == 1 else 's'}"


def _when(n: dict[str, float]) -> str:
    """(2 events ago, 3 days before the last event)."""
    ago = "the last event" if n["events_ago"] == 1 else f"{n['events_ago']:.0f} events ago"
    if n.get("seconds_ago", 0) >= 1:
        return f"({ago}, {_duration(n['seconds_ago'])} before the request)"
    if n.get("seconds_before_last", 0) >= 1:
        return f"({ago}, {_duration(n['seconds_before_last'])} before the last one)"
    return f"({ago})"


def _rank_change(n: dict[str, float]) -> str:
    before, after = n["rank"], n["rank_without"]
    if before == after:
        return f"the rank stays {before:,.0f}"
    return f"the rank {'falls' if after > before else 'rises'} from {before:,.0f} to {after:,.0f}"


def _without(n: dict[str, float]) -> str:
    change, rank = n["score_change"], _rank_change(n)
    verb = "falls" if change < 0 else "rises"
    return f"without it the score {verb} by {_number(abs(change))} and {rank.replace(f'the rank {verb}', 'the rank')}"


def _would_be(n: dict[str, float]) -> str:
    change = n["score_change"]
    if abs(change) < 0.005:
        return "the score would be the same"
    return f"the score would be {_number(abs(change))} {'higher' if change > 0 else 'lower'}"


def _rank_by_score(n: dict[str, float]) -> str:
    return f"By score it would be at rank {n['rank']:,.0f} of {n['of']:,.0f}."


_SENTENCES: dict[FactKind, Callable[[str, dict[str, float]], str]] = {
    "listed": lambda _, n: (
        f"Rank {n['rank']:,.0f} by score of {n['of']:,.0f} items that may be shown, probability "
        f"{n['probability']:.2%}; {_number(n['gap'])} above the last of the {n['shown']:,.0f} items shown."
    ),
    "not_listed": lambda _, n: (
        f"Not among the {n['shown']:,.0f} items shown: rank {n['rank']:,.0f} by score of {n['of']:,.0f}, "
        f"{_number(-n['gap'])} below the last of them."
    ),
    "seen": lambda _, n: f"Not shown because the history has it already. {_rank_by_score(n)}",
    "blocked": lambda _, n: f"Not shown because it is blocked. {_rank_by_score(n)}",
    "not_allowed": lambda _, n: f"Not shown because it is not one of the allowed items. {_rank_by_score(n)}",
    "category": lambda _, n: f"Not shown because it is not of a wanted category. {_rank_by_score(n)}",
    "not_candidate": lambda _, n: f"Not shown because it is not one of the candidates. {_rank_by_score(n)}",
    "not_learned": lambda *_: "Not shown because nothing is known of it yet: no text, and no event that was learned.",
    "diversity": lambda _, n: f"Not shown, to keep the list diverse: items unlike the others were taken. "
    f"{_rank_by_score(n)}",
    "carried": lambda title, n: f"Recommended mainly because of {title} {_when(n)}: {_without(n)}.",
    "favoured": lambda title, n: f"What speaks most for it is {title} {_when(n)}: {_without(n)}.",
    "only_event": lambda title, n: (
        f"{title} is the only event known: without it popularity alone would decide, and {_rank_change(n)}."
    ),
    "helped": lambda title, n: f"{title} {_when(n)} helped: {_without(n)}.",
    "opposed": lambda title, n: f"{title} {_when(n)} spoke against it: {_without(n)}.",
    "no_single_event": lambda _, n: (
        f"No single one of the last {n['events']:,.0f} events carries it: without any one of them the score falls by "
        f"at most {_number(n['largest_fall'])}."
    ),
    "no_history": lambda *_: "Nothing is known of this user, so what is popular decides.",
    "age_by_time": lambda title, n: (
        f"Had {title} and all after it happened at the time of the last event, {_would_be(n)}."
    ),
    "age_by_position": lambda title, n: f"Had {title} been the last event, {_would_be(n)}.",
    "repeat": lambda _, n: (
        f"It is itself in the history: {n['times']:,.0f} of the last {n['events']:,.0f} events "
        f"{'is' if n['times'] == 1 else 'are'} about it."
    ),
    "text_similarity": lambda title, n: (
        f"Of the past items, {title} {_when(n)} is the one most like it in words (cosine {n['cosine']:.2f})."
    ),
    "item_similarity": lambda title, n: (
        f"Of the past items, {title} {_when(n)} is the one that the model holds closest to it "
        f"(cosine {n['cosine']:.2f})."
    ),
    "popularity": lambda _, n: (
        f"It is number {n['rank']:,.0f} of {n['of']:,.0f} by popularity: {n['events']:,.0f} events, "
        f"{n['share']:.2%} of all."
    ),
}  # fmt: skip
