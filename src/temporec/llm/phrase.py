"""Why an item was recommended, in one sentence that may use the facts given and nothing else."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from temporec.errors import DataError
from temporec.llm.chat import Budget, ChatClient, fit_answer
from temporec.llm.client import open_client
from temporec.llm.prompts import clean_text, question
from temporec.recommend.explanation import Explanation

__all__ = ["phrase", "phrase_why", "unsupported"]

log = logging.getLogger(__name__)

FACT_LENGTH = 300
FACTS = 12
SENTENCE_LENGTH = 320

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|[$€£¥]?\d+(?:[.,]\d+)*(?:\s?[%‰$€£¥])?")
_ENDING = re.compile(r"(?:['’]s|ings?|ed|es|s)$")
_OPENING = re.compile(r"^(?:not )?(?:recommended|shown)(?: mainly)? because\s+", re.IGNORECASE)
_COUNTED = frozenset({
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "fifteen", "twenty", "forty", "fifty", "sixty", "hundred", "thousand", "million", "half", "double", "twice",
    "third", "first", "once",
})  # fmt: skip
_DENIED = frozenset({
    "not", "no", "never", "none", "nor", "neither", "nobody", "nothing", "nowhere", "without", "cannot",
})  # fmt: skip
# Words that join facts and claim nothing themselves: function words, and the verbs of choosing and recommending.
_JOINING = (ENGLISH_STOP_WORDS - _COUNTED - _DENIED - {
    "bill", "bottom", "cry", "fire", "full", "interest", "mine", "sincere", "system", "thick", "thin", "top",
}) | {
    "bought", "buy", "came", "choose", "chose", "chosen", "come", "comes", "customer", "customers", "earlier", "fit",
    "fits", "follow", "following", "follows", "given", "got", "had", "has", "history", "item", "items", "lately",
    "like", "look", "looked", "match", "matches", "own", "past", "people", "pick", "picked", "previous", "previously",
    "product", "products", "purchase", "purchased", "purchases", "reason", "recent", "recently", "recommend",
    "recommendation", "recommended", "recommending", "related", "resemble", "resembles", "saw", "see", "seen",
    "selected", "share", "shares", "show", "shown", "similar", "similarity", "suggest", "suggested", "suggestion",
    "text", "title", "took", "using", "view", "viewed", "word", "words",
}  # fmt: skip


_TASK = (
    "Finish the sentence '{opening} ...' for the customer (you), in plain short English, with the facts that matter "
    "most. Use only words and numbers of the facts and plain joining words. Add no praise and nothing that the facts "
    "do not say."
)


def phrase(explanation: Explanation, name: str | None = None, titles: Iterable[str] = ()) -> str:
    """What `recommender.explain` found, in one sentence by the language model that a name stands for.

    Args:
        explanation: its facts are used, and nothing else; of a missing item, why it is not there.
        name: see `open_client`.
        titles: titles of the catalog, so that the sentence cannot name another item.
    """
    facts = [{"text": fact.to_text()} for fact in explanation.facts]
    opening = "Not recommended because" if explanation.why_not else "Recommended because"
    return phrase_why(facts, open_client(name), titles, opening=opening)


def phrase_why(
    facts: Sequence[Mapping[str, Any]],
    client: ChatClient,
    titles: Iterable[str] = (),
    *,
    opening: str = "Recommended because",
    budget: Budget | None = None,
) -> str:
    """One sentence of why, or the facts' own texts where the language model fails or says more than they do.

    A sentence with a word, number or denial that no fact has is refused once with that reason, then given up.

    Raises:
        DataError: there is no fact, or one has no text.
    """
    own = [_text_of(fact) for fact in facts][:FACTS]
    if not own:
        raise DataError("an explanation without facts cannot be phrased; give what recommender.explain returned")
    texts = [clean_text(text, FACT_LENGTH) for text in own]
    data: dict[str, Any] = {"facts": texts}
    reason, titles = "", tuple(titles)
    for _ in range(2):
        try:
            messages = question(_TASK.format(opening=opening), 'its field "because" is the rest of the sentence.', data)
            answer = fit_answer(client.complete(messages, _Reason, budget or Budget()), _Reason)
            rest = _rest(answer["because"])
            reason = unsupported(rest, texts, titles) or ""
        except Exception as error:  # whatever a client does, the user gets the facts
            reason = clean_text(str(error) or type(error).__name__, 300)
            break
        if not reason:
            return f"{opening} {rest}."
        data = {**data, "refused": {"sentence": rest, "because": clean_text(reason)}}
    log.warning("phrasing by %s failed, the facts stand as they are: %s", client.name, reason)
    return " ".join(text if text.endswith((".", "!", "?", "…", "。")) else f"{text}." for text in own)


def unsupported(sentence: str, facts: Sequence[str], titles: Iterable[str] = ()) -> str | None:
    """What a sentence says beyond the facts, in words; None where it keeps to them.

    Every number and every word must stand in a fact (endings aside) or be a plain joining word; a denial only where a
    fact denies; no title of `titles` may appear that no fact has, even if it is made of words of the facts.
    """
    if not sentence or len(sentence) > SENTENCE_LENGTH:
        return f"the sentence has {len(sentence)} characters, allowed are 1 to {SENTENCE_LENGTH}"
    if re.search(r"[.!?]\s+\S", sentence):
        return "it is more than one sentence"
    said, known = _words(sentence), _words(" ".join(facts))
    stems = {_stem(word) for word in known}
    for word in said:
        denial = word in _DENIED or word.endswith(("n't", "n’t"))
        if word in _COUNTED or denial or any(c.isdigit() for c in word):
            supported = word in known
        else:
            supported = word in _JOINING or _stem(word) in stems
        if not supported:
            return f"{word!r} is in no fact"
    line, source = f" {' '.join(said)} ", f" {' '.join(known)} "
    for title in titles:
        words = f" {' '.join(_words(title))} "
        if words.count(" ") > 2 and words in line and words not in source:
            return f"the title {clean_text(title)!r} is in no fact"
    return None


class _Reason(BaseModel):
    model_config = ConfigDict(extra="forbid")

    because: str


def _rest(because: str) -> str:
    """What the model wrote, to stand behind the opening: without one of its own, and with a small letter."""
    rest = _OPENING.sub("", clean_text(because, 2 * SENTENCE_LENGTH)).rstrip(". ")
    if rest.split(" ")[0].lower() in _JOINING:
        rest = rest[:1].lower() + rest[1:]
    return rest


def _text_of(fact: Mapping[str, Any]) -> str:
    text = fact.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"a fact needs a 'text'; got {clean_text(repr(fact))}")
    return " ".join(text.split())


def _words(text: str) -> list[str]:
    """Words and numbers in lower case; 1,000 is 1000, and Chinese characters stand alone."""
    found = []
    for word in _WORD.findall(clean_text(text, 10_000).lower()):
        if any(c.isdigit() for c in word):
            found.append(re.sub(r",(?=\d{3}\b)|\s", "", word))
        else:
            found.extend(part for part in re.split(r"([\u3040-\u30ff\u3400-\u9fff])", word) if part)
    return found


def _stem(word: str) -> str:
    return _ENDING.sub("", word) if len(word) > 4 else word
