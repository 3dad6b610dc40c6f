"""What every chat client shares: messages, a budget and how it is spent, and an answer that fits its schema."""

import json
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, TypeVar

from pydantic import BaseModel, ValidationError

from temporec.errors import ConfigError, LanguageModelError

__all__ = ["Budget", "ChatClient", "Message", "Spending", "fit_answer", "read_answer", "within"]

Result = TypeVar("Result")

_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)  # reasoning models think aloud before they answer


class Message(TypedDict):
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What one question may cost, all attempts together.

    Args:
        seconds: wall-clock time, waiting between attempts included.
        tokens: prompts and answers; a prompt counts one token per three bytes until the model says its own count.
        answer_tokens: the longest single answer.
        attempts: how often to ask.
    """

    seconds: float = 20.0
    tokens: int = 16_384
    answer_tokens: int = 512
    attempts: int = 3

    def __post_init__(self) -> None:
        for name in ("seconds", "tokens", "answer_tokens", "attempts"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"budget.{name} must be a positive, finite number; got {getattr(self, name)!r}")


class ChatClient(Protocol):
    """A language model that answers with JSON. In memory or far away: callers cannot tell."""

    @property
    def name(self) -> str:
        """The model, for people."""

    def complete(self, messages: Sequence[Message], schema: type[BaseModel], budget: Budget) -> dict[str, Any]:
        """The answer to a chat, as the JSON object that `schema` describes.

        Raises:
            LanguageModelError: there is no answer that fits the schema within the budget; the message says why.
        """


class Spending:
    """Clock, tokens and attempts of one question."""

    def __init__(self, budget: Budget, messages: Sequence[Message]) -> None:
        self.budget = budget
        self.deadline = time.monotonic() + budget.seconds
        self.tokens = budget.tokens
        self.attempts = 0
        self.prompt = sum(len(m["content"].encode("utf-8", "replace")) // 3 + 8 for m in messages)

    @property
    def seconds(self) -> float:
        """Seconds left; 0 where time is up."""
        return max(0.0, self.deadline - time.monotonic())

    def start(self) -> int:
        """Begin an attempt; gives the number of tokens that its answer may have."""
        left = self.tokens - self.prompt
        if left < 1:
            raise LanguageModelError(
                f"a prompt of about {self.prompt:,} tokens exceeds the {self.tokens:,} left of the budget of "
                f"{self.budget.tokens:,}; give fewer or shorter texts, or raise budget.tokens"
            )
        self.attempts += 1
        return min(left, self.budget.answer_tokens)

    def charge(self, tokens: int | None = None) -> None:
        """Count the tokens of an attempt: what the model said, else the estimate and the longest answer."""
        self.tokens -= self.prompt + self.budget.answer_tokens if tokens is None else tokens

    def again(self, reason: str, wait: float | None = None) -> None:
        """Wait before another attempt: as long as the other side asks, else longer each time, with jitter.

        Raises:
            LanguageModelError: attempts or time do not suffice; carries `reason`.
        """
        if self.attempts >= self.budget.attempts:
            raise LanguageModelError(f"{reason} ({self.attempts} attempt{'s' * (self.attempts > 1)})")
        jitter = random.uniform(0.5, 1.0)  # outside every seeded stream: it must differ between processes
        pause = min(8.0, 0.5 * 2**self.attempts) * jitter if wait is None else wait + 0.1 * jitter
        if pause >= self.seconds:
            raise LanguageModelError(f"{reason}; the wait of {pause:.1f} s exceeds the {self.seconds:.1f} s left")
        time.sleep(pause)


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """What `call` gives or raises. It runs in a thread of its own, which is abandoned when time is up.

    Time-outs of sockets guard single reads only; this one also ends name look-ups and answers that drip.

    Raises:
        TimeoutError: after `seconds`.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="temporec-llm", daemon=True).start()
    return future.result(timeout=seconds)


def read_answer(text: str, schema: type[BaseModel]) -> dict[str, Any]:
    """The first JSON object in an answer (alone, in a code fence or in prose), checked against its schema.

    Raises:
        LanguageModelError: there is none, it is cut off, or it does not fit.
    """
    text = _THOUGHT.sub("", text)
    start = text.find("{")
    if start < 0:
        raise LanguageModelError("the model answered with prose, not with JSON")
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        raise LanguageModelError("the model's JSON is broken or cut off") from None
    return fit_answer(found, schema)


def fit_answer(found: Any, schema: type[BaseModel]) -> dict[str, Any]:
    """A decoded answer checked against its schema; raises LanguageModelError with the first thing that is wrong."""
    try:
        return schema.model_validate(found).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise LanguageModelError(f"the model's JSON does not fit: {where}: {first['msg']}") from None
