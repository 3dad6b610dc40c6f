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

__all__ = ["phrase", "phrase_why", "unsupported"]

log = logging.getLogger(__name__)

FACT_LENGTH = 300
FACTS = 12
SENTENCE_LENGTH = 320

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|[$€£¥]?\d+(?:[.,]\d+)*(?:\s?[%‰$€£¥])?")
_ENDING = re.compile(r"(?:['’]s|ings?|ed|es|s)$")
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
    "Finish the sentence 'Recommended because ...' for the customer (you), in plain short English, with the facts that "
    "matter most. Use only words and numbers of the facts and plain joining words. Add no praise and nothing that the "
    "facts do not say."
)


def phrase(explanation: Mapping[str, Any], name: str | None = None, titles: Iterable[str] = ()) -> str:
    """The facts of an explanation in one sentence by the language model that a name stands for.

    Args:
        explanation: what `recommender.explain(...).to_dict()` gives: its `facts` are mappings with a `text`.
        name: see `open_client`.
        titles: titles of the catalog, so that the sentence cannot name another item.
    """
    return phrase_why(explanation.get("facts") or (), open_client(name), titles)


def phrase_why(
    facts: Sequence[Mapping[str, Any]], client: ChatClient, titles: Iterable[str] = (), *, budget: Budget | None = None
) -> str:
    """One sentence of why, or the facts' own texts where the language model fails or says more than they do.

    A sentence with a word, number or denial that no fact has is refused once with that reason, then given up.

    Raises:
        DataError: there is no fact, or one has no text.
    """
    texts = [_text_of(fact) for fact in facts][:FACTS]
    if not texts:
        raise DataError("an explanation without facts cannot be phrased; give what recommender.explain returned")
    plain = " ".join(text if text.endswith((".", "!", "?", "…", "。")) else f"{text}." for text in texts)
    data: dict[str, Any] = {"facts": texts}
    reason, titles = "", tuple(titles)
    for _ in range(2):
        try:
            messages = question(_TASK, 'its field "because" is the rest of the sentence.', data)
            answer = fit_answer(client.complete(messages, _Reason, budget or Budget()), _Reason)
            sentence = _sentence(answer["because"])
            reason = unsupported(sentence, texts, titles) or ""
        except Exception as error:  # whatever a client does, the user gets the facts
            reason = clean_text(str(error) or type(error).__name__, 300)
            break
        if not reason:
            return sentence
        data = {**data, "refused": {"sentence": clean_text(sentence, SENTENCE_LENGTH), "because": clean_text(reason)}}
    log.warning("phrasing by %s failed, the facts stand as they are: %s", client.name, reason)
    return plain


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


def _sentence(because: str) -> str:
    """'Recommended because' and what the model wrote behind it."""
    rest = clean_text(because, SENTENCE_LENGTH)
    rest = re.sub(r"^recommended because\s+", "", rest, flags=re.IGNORECASE)
    first = rest.split(" ")[0]
    if first.lower() in _JOINING and not first.isupper():
        rest = rest[:1].lower() + rest[1:]
    return f"Recommended because {rest.rstrip('. ')}." if rest else ""


def _text_of(fact: Mapping[str, Any]) -> str:
    text = fact.get("text")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"a fact needs a 'text'; got {clean_text(repr(fact))}")
    return clean_text(text, FACT_LENGTH)


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
