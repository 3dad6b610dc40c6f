"""Why an item was recommended, in one sentence that may use the facts given and nothing else."""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from temporec.errors import DataError
from temporec.llm.chat import Budget, ChatClient, Message, fit_answer
from temporec.llm.client import open_client
from temporec.llm.prompts import clean_text, question
from temporec.recommend.explanation import Explanation

__all__ = ["phrase", "phrase_why", "unsupported"]

log = logging.getLogger(__name__)

FACT_LENGTH = 300
FACTS = 3  # that the model sees; the most telling come first
SENTENCE_LENGTH = 320
BUDGET = Budget(seconds=60.0, answer_tokens=100)

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
# Words that join facts and claim nothing themselves: function words but those of order and amount, and the verbs of
# choosing and recommending.
_JOINING = (ENGLISH_STOP_WORDS - _COUNTED - _DENIED - {
    "again", "all", "always", "bill", "bottom", "cry", "every", "everything", "ever", "few", "fire", "full", "interest",
    "last", "least", "less", "many", "mine", "more", "most", "mostly", "much", "often", "only", "several", "sincere",
    "system", "thick", "thin", "top",
}) | {
    "bought", "buy", "came", "choose", "chose", "chosen", "come", "comes", "customer", "customers", "earlier", "fit",
    "fits", "follow", "following", "follows", "given", "got", "had", "has", "history", "item", "items", "like", "look",
    "looked", "match", "matches", "own", "past", "people", "pick", "picked", "previous", "previously", "product",
    "products", "purchase", "purchased", "purchases", "reason", "recommend", "recommendation", "recommended",
    "recommending", "related", "resemble", "resembles", "saw", "see", "seen", "selected", "share", "shares", "show",
    "shown", "similar", "similarity", "suggest", "suggested", "suggestion", "text", "title", "took", "using", "view",
    "viewed", "word", "words",
}  # fmt: skip


_TASK = (
    "Finish the sentence '{opening} ...' for the customer (you), in plain short English, from the first facts, which "
    "matter most. Name the products of the facts. Use only words and numbers of the facts and plain joining words. Add "
    "no praise and nothing that the facts do not say."
)
_FORM = 'its field "because" is the rest of the sentence.'
_EXAMPLES = {  # facts in the words of `recommend.explanation`
    "What speaks most for it is ”OAK CHAIR” (4 events ago): without it the score falls by 1.2 and the rank stays 8.": (
        "you had OAK CHAIR 4 events ago"
    ),
    "Recommended mainly because of ”GREEN MUG” (the last event): without it the score falls by 0.71 and the rank from "
    "2 to 35.": "your last event was GREEN MUG",
}


def phrase(explanation: Explanation, name: str | None = None, titles: Iterable[str] = ()) -> str:
    """What `recommender.explain` found, in one sentence by the language model that a name stands for.

    Args:
        explanation: its facts are used, and nothing else; of a missing item, why it is not there.
        name: see `open_client`.
        titles: titles of the catalog, so that the sentence cannot name another item.
    """
    facts = [{"text": fact.to_text(), "titles": fact.titles} for fact in explanation.facts]
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

    A sentence that says what no fact says (see `unsupported`), or not what the first fact is about, is refused. Then
    the model is shown the first fact alone; after a second such sentence the facts stand.

    Args:
        facts: each has a `text`, the most telling comes first. The first may have `titles`: if its text names one of
            them, so must the sentence.
        client: the language model.
        titles: titles of the catalog; the sentence may name none that no fact names.
        opening: how the sentence begins.
        budget: time and tokens of one of the two attempts.

    Raises:
        DataError: there is no fact, or one has no text.
    """
    own = [_text_of(fact) for fact in facts]
    if not own:
        raise DataError("an explanation without facts cannot be phrased; give what recommender.explain returned")
    texts = [clean_text(text, FACT_LENGTH) for text in own[:FACTS]]
    reason, titles = "", tuple(titles)
    for shown in (texts, texts[:1]):
        try:
            answer = fit_answer(client.complete(_messages(opening, shown), _Reason, budget or BUDGET), _Reason)
            rest = _rest(answer["because"])
            reason = unsupported(rest, shown, titles) or _silent_on(facts[0], rest)
        except Exception as error:  # whatever a client does, the user gets the facts
            reason = clean_text(str(error) or type(error).__name__, 300)
            break
        if not reason:
            return f"{opening} {rest}."
    log.warning("phrasing by %s failed, the facts stand as they are: %s", client.name, reason)
    return " ".join(text if text.endswith((".", "!", "?", "…", "。")) else f"{text}." for text in own)


def unsupported(sentence: str, facts: Sequence[str], titles: Iterable[str] = ()) -> str | None:
    """What a sentence says beyond the facts, in words; None where it keeps to them.

    Every word must stand in a fact (endings aside) or be a plain joining word, a denial only where a fact denies; a
    number must stand beside the word that it stands beside in a fact. No title of `titles` may appear that no fact has,
    even if it is made of words of the facts. Word order is not understood: facts can still be mixed up.
    """
    if not sentence or len(sentence) > SENTENCE_LENGTH:
        return f"the sentence has {len(sentence)} characters, allowed are 1 to {SENTENCE_LENGTH}"
    if re.search(r"[.!?]\s+\S", sentence):
        return "it is more than one sentence"
    said, known = _words(sentence), [word for fact in facts for word in [*_words(fact), ""]]
    stems, pairs = {_stem(word) for word in known}, set(_pairs(known))
    beside = _pairs(["", *said, ""])
    for place, word in enumerate(said):
        if any(c.isdigit() for c in word):
            supported = bool({beside[place], beside[place + 1]} & pairs)
        elif word in _COUNTED or word in _DENIED or word.endswith(("n't", "n’t")):
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


def _messages(opening: str, facts: Sequence[str]) -> list[Message]:
    """The task, examples of how it is done, and the facts."""
    system, user = question(_TASK.format(opening=opening), _FORM, {"facts": facts})
    messages = [system]
    for fact, because in _EXAMPLES.items():
        messages.append({"role": "user", "content": json.dumps({"facts": [fact]}, ensure_ascii=False)})
        messages.append({"role": "assistant", "content": json.dumps({"because": because})})
    return [*messages, user]


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


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Each word with the next one, endings aside."""
    return list(pairwise(map(_stem, words)))


def _silent_on(fact: Mapping[str, Any], sentence: str) -> str:
    """Why a sentence passes over what a fact is about: a title that the fact's text names. Empty = it does not."""
    line = " ".join(_words(sentence))
    named = [title for title in fact.get("titles", ()) if str(title) in str(fact["text"])]
    if not named or any(" ".join(_words(str(title))) in line for title in named):
        return ""
    return f"it does not name {clean_text(str(named[0]))!r}"


def _stem(word: str) -> str:
    return _ENDING.sub("", word) if len(word) > 4 else word
