"""Re-rank a shortlist with a language model, and describe a user's taste. A failure costs nothing but its reason."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from temporec.llm.chat import Budget, ChatClient, fit_answer
from temporec.llm.prompts import clean_text, clean_value, question
from temporec.recommend.base import Recommender
from temporec.recommend.query import Query, Recommendation, Recommendations, item_numbers

__all__ = ["SHORTLIST", "Reranked", "describe_taste", "history_titles", "recommend_reranked", "rerank"]

log = logging.getLogger(__name__)

HISTORY = 30  # latest titles that a prompt holds
SHORTLIST = 20  # beyond it, models lose track of a list (RankGPT, arXiv:2304.09542, takes windows of 20)


@dataclass(frozen=True)
class Reranked(Recommendations):
    """An answer after re-ranking. `reranked` is False where the model's own ranking stands, and `reason` says why."""

    reranked: bool = False
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "reranked": self.reranked, "reason": self.reason}


def rerank(
    recommendations: Recommendations,
    client: ChatClient,
    history_titles: Sequence[str],
    profile: Mapping[str, Any] | str | None = None,
    *,
    shortlist: int = SHORTLIST,
    budget: Budget | None = None,
) -> Reranked:
    """The same items, the first `shortlist` of them in the language model's order.

    Items that the model leaves out follow in their old order. An unknown or a doubled id spoils the whole answer: on
    that, and on any other failure, the order stays as it is and the reason is logged and returned.

    Args:
        recommendations: the model's own ranking.
        client: the language model.
        history_titles: what the user had, oldest first; the latest 30 count.
        profile: what else is known of the user: words, or fields.
        shortlist: how many items the language model sees, 2 or more.
        budget: time and tokens; `Budget()` where None.
    """
    items = recommendations.items
    front, rest = items[:shortlist], items[shortlist:]
    labels = [f"i{n:0{len(str(len(front)))}d}" for n in range(1, len(front) + 1)]
    messages = question(
        "You rank products for one customer. From history (oldest first) and profile, judge which candidates the "
        "customer wants next. The candidates come in the order of a trained model: change it only for a reason.",
        'its field "ranking" lists ids of candidates, best first.',
        {
            "history": _latest(history_titles),
            "profile": clean_value(profile),
            "candidates": [
                {"id": label, "title": clean_text(str(row.title or row.item))}
                for label, row in zip(labels, front, strict=True)
            ],
        },
    )
    try:
        if len(front) < 2:
            raise ValueError("fewer than two items, nothing to re-rank")
        schema = _ranking(labels)
        order: list[str] = fit_answer(client.complete(messages, schema, budget or Budget()), schema)["ranking"]
    except Exception as error:  # whatever a client does, the user gets a ranking
        return Reranked(items, recommendations.user, recommendations.source, False, _logged("re-ranking", error))
    known = dict(zip(labels, front, strict=True))
    chosen: list[Recommendation] = [known.pop(label) for label in order]
    return Reranked((*chosen, *known.values(), *rest), recommendations.user, recommendations.source, True)


def describe_taste(
    history_titles: Sequence[str],
    client: ChatClient,
    profile: Mapping[str, Any] | str | None = None,
    *,
    budget: Budget | None = None,
) -> str:
    """One or two sentences on what a user likes; where the language model fails, the latest titles themselves."""
    latest = _latest(history_titles)
    messages = question(
        "In at most two short sentences, describe what the customer likes, from what they had (oldest first).",
        'its field "taste" is the description.',
        {"history": latest, "profile": clean_value(profile)},
    )
    try:
        if not latest and not profile:
            raise ValueError("nothing is known of this user")
        answer = fit_answer(client.complete(messages, _Taste, budget or Budget()), _Taste)
        if taste := clean_text(answer["taste"], 400):
            return taste
        raise ValueError("the description is empty")
    except Exception as error:  # as above
        _logged("describing the taste", error)
    return f"Lately: {'; '.join(latest[-5:])}" if latest else "Nothing is known of this user."


def recommend_reranked(
    recommender: Recommender, query: Query, client: ChatClient, *, budget: Budget | None = None
) -> Reranked:
    """The first `k` items of a query, taken from a shortlist that the language model has ordered."""
    answer = recommender.recommend(replace(query, k=max(query.k, SHORTLIST)))
    result = rerank(answer, client, history_titles(recommender, query), query.profile, budget=budget)
    return replace(result, items=result.items[: query.k])


def history_titles(recommender: Recommender, query: Query) -> list[str]:
    """Titles of the latest events that a query stands on, oldest first; words as they are, a profile is left out."""
    numbers, size = recommender.histories([query]).items[-HISTORY:], recommender.catalog.size
    words: list[str] = []
    item_numbers([event.item for event in query.events], recommender.catalog.vocabulary, words)
    events = [n for n in numbers.tolist() if n < size + len(words)]
    return [words[n - size] if n >= size else recommender.catalog.titles([n])[0] for n in events]


def _latest(titles: Sequence[str]) -> list[str]:
    return [clean_text(str(title)) for title in [*titles][-HISTORY:]]


class _Taste(BaseModel):
    model_config = ConfigDict(extra="forbid")

    taste: str


def _ranking(labels: Sequence[str]) -> type[BaseModel]:
    """The schema of an answer: ids of the shortlist, each at most once."""

    def check(order: list[str]) -> list[str]:
        if unknown := [label for label in order if label not in labels]:
            raise ValueError(f"the id {clean_text(unknown[0], 40)!r} is not in the shortlist")
        if len(set(order)) < len(order):
            raise ValueError("an id comes twice")
        return order

    one = Annotated[str, Field(json_schema_extra={"enum": [*labels]})]
    ranking = Annotated[list[one], Field(min_length=1, max_length=len(labels)), AfterValidator(check)]
    return create_model("Ranking", __config__=ConfigDict(extra="forbid"), ranking=(ranking, ...))


def _logged(what: str, error: Exception) -> str:
    reason = clean_text(str(error) or type(error).__name__, 300)
    log.warning("%s failed, the model's own answer stands: %s", what, reason)
    return reason
