"""Any OpenAI-compatible endpoint as a chat client, and `open_client`, which picks a client by a name."""

import json
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel

from temporec.errors import ConfigError, LanguageModelError, MissingExtraError
from temporec.llm.chat import Budget, ChatClient, Message, Spending, read_answer, within
from temporec.llm.prompts import clean_text

__all__ = ["OpenAIClient", "open_client"]

OPENAI = "https://api.openai.com/v1"
BODY_LIMIT = 1 << 20  # bytes of an answer that are read
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_UNSUPPORTED = frozenset({400, 415, 422, 501})  # what servers say to an option that they do not know


class _FinalError(LanguageModelError):
    """Another attempt would not help."""


class _Reply(NamedTuple):
    """One HTTP answer: its status, two headers, and at most 1 MB of its body."""

    status: int
    kind: str
    retry_after: str | None
    body: bytes

    def text(self) -> str:
        return self.body[:4096].decode("utf-8", "replace")

    def is_html(self) -> bool:
        return "html" in self.kind or self.body.lstrip()[:1] == b"<"


class OpenAIClient:
    """`POST BASE/chat/completions` with structured output, time-outs, retries and a budget.

    Asks for JSON by schema; an endpoint that refuses this is asked for a JSON object, then for plain text that is
    parsed. 429 and 5xx are tried again after `Retry-After`, or after a growing pause. Redirects are refused, because
    the key would travel along. The key stands in no message, log or repr.

    Args:
        base_url: up to and with the version, such as `http://localhost:11434/v1`; else OPENAI_BASE_URL, else OpenAI.
        key: else OPENAI_API_KEY; local servers need none.
        model: else TEMPOREC_LLM_MODEL.
    """

    def __init__(self, base_url: str | None = None, key: str | None = None, model: str | None = None) -> None:
        self._key = (os.environ.get("OPENAI_API_KEY", "") if key is None else key).strip()
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI).strip().rstrip("/")
        self.model = (model or os.environ.get("TEMPOREC_LLM_MODEL") or "").strip()
        self._left_out: set[str] = set()  # options that this endpoint has refused
        _check(self.base_url, self._key, self.model)

    @property
    def name(self) -> str:
        return f"{self.model} at {urlsplit(self.base_url).netloc}"

    def __repr__(self) -> str:
        return f"OpenAIClient({self.base_url!r}, model={self.model!r})"

    def complete(self, messages: Sequence[Message], schema: type[BaseModel], budget: Budget) -> dict[str, Any]:
        spending = Spending(budget, messages)
        while True:
            limit = spending.start()
            wait = None
            try:
                reply = self._accepted(messages, schema, limit, spending)
                if reply.status == 200:
                    text = _answer_text(reply, spending)
                    return read_answer(text, schema)
                reason, wait = self._described(reply), _retry_after(reply.retry_after)
                if reply.status not in _TRANSIENT:
                    raise _FinalError(reason)
            except _FinalError:
                raise
            except LanguageModelError as error:
                reason = str(error)
            spending.again(reason, wait)

    def _accepted(self, messages: Sequence[Message], schema: type[BaseModel], limit: int, spending: Spending) -> _Reply:
        """The reply to one attempt; options that the endpoint refuses are left out from then on."""
        while True:
            reply = self._post(self._body(messages, schema, limit, spending.attempts), spending)
            if reply.status not in _UNSUPPORTED or not self._leave_out(reply.text()):
                return reply

    def _leave_out(self, complaint: str) -> bool:
        named = [option for option in ("max_tokens", "temperature") if f"'{option}'" in complaint.replace('"', "'")]
        for option in (*named, "json_schema", "json_object"):
            if option not in self._left_out:
                self._left_out.add(option)
                return True
        return False

    def _body(self, messages: Sequence[Message], schema: type[BaseModel], limit: int, attempt: int) -> bytes:
        gone = self._left_out
        body: dict[str, Any] = {"model": self.model, "messages": [*messages]}
        body["max_completion_tokens" if "max_tokens" in gone else "max_tokens"] = limit
        if "temperature" not in gone:
            body["temperature"] = 0.0 if attempt == 1 else 0.7  # the same answer again would not help
        if "json_schema" not in gone:
            form = {"name": schema.__name__.strip("_"), "strict": True, "schema": schema.model_json_schema()}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif "json_object" not in gone:
            body["response_format"] = {"type": "json_object"}
        return json.dumps(body).encode()

    def _post(self, body: bytes, spending: Spending) -> _Reply:
        import httpx

        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        seconds = spending.seconds
        url = f"{self.base_url}/chat/completions"

        def exchange() -> _Reply:
            read = bytearray()
            with (
                httpx.Client(timeout=max(seconds, 0.001), follow_redirects=False) as http,
                http.stream("POST", url, content=body, headers=headers) as response,
            ):
                for chunk in response.iter_raw():
                    read += chunk
                    if len(read) > BODY_LIMIT or time.monotonic() > spending.deadline:
                        break
            kind, after = response.headers.get("content-type", ""), response.headers.get("retry-after")
            return _Reply(response.status_code, kind, after, bytes(read))

        try:
            return within(seconds, exchange)
        except (TimeoutError, httpx.TimeoutException):
            raise _FinalError(f"{self.name} gave no answer within {spending.budget.seconds:g} s") from None
        except httpx.HTTPError as error:
            raise LanguageModelError(f"{self.name} cannot be reached: {self._safe(str(error))}") from None

    def _described(self, reply: _Reply) -> str:
        """What an answer other than 200 means, and what to do."""
        hint = ""
        if 300 <= reply.status < 400:
            hint = ", a redirect, which is not followed; give the final address as base URL"
        elif reply.status in (401, 403):
            hint = "; check the key in OPENAI_API_KEY"
        elif reply.status == 404:
            hint = "; check base URL (it often ends in /v1) and model name"
        said = "" if reply.is_html() else self._safe(reply.text())
        return f"{self.name} answered HTTP {reply.status}{hint}" + (f": {said}" if said else "")

    def _safe(self, text: str) -> str:
        """Foreign text for an error message: one line, short, and without the key, should it be echoed."""
        return clean_text(text.replace(self._key, "(key)") if self._key else text, 200)


def open_client(name: str | None = None) -> ChatClient:
    """The client that a name stands for.

    Args:
        name: a URL (model and key from the environment), `smollm2` (the packaged model), a `.gguf` file, a `.jsonl`
            recording, a folder or hub name for transformers; None = the endpoint that the environment names.

    Raises:
        ConfigError: the environment names no model, or the name stands for nothing.
        MissingExtraError: a package that the client needs is absent; the message gives the command.
    """
    from temporec.llm import in_process, recorded

    if name is None or name.startswith(("http://", "https://")):
        if name is None and not os.environ.get("TEMPOREC_LLM_MODEL"):
            raise ConfigError(
                "no language model is named; set TEMPOREC_LLM_MODEL (with OPENAI_BASE_URL and OPENAI_API_KEY), or "
                "name one: a URL, smollm2, a .gguf file, a folder or a hub name"
            )
        return OpenAIClient(name)
    if name == "smollm2":
        return in_process.packaged_client()
    if name.endswith(".gguf"):
        return in_process.LlamaCppClient(name)
    if name.endswith(".jsonl"):
        return recorded.RecordedClient(name)
    return in_process.TransformersClient(name)


def _check(base_url: str, key: str, model: str) -> None:
    try:
        import httpx  # noqa: F401
    except ImportError:
        raise MissingExtraError("a language model's endpoint needs httpx. Run: pip install 'temporec[llm]'") from None
    try:
        address = urlsplit(base_url)
        port = address.port
    except ValueError:
        raise ConfigError(
            f"base URL {clean_text(base_url)!r} is not a URL; write it like http://host:8000/v1"
        ) from None
    if address.scheme not in ("http", "https") or not address.hostname or port == 0:
        raise ConfigError(f"base URL {clean_text(base_url)!r} must start with http:// or https:// and name a host")
    if address.username or address.password or address.query:
        raise ConfigError("the base URL must hold neither a password nor a query; the key goes into OPENAI_API_KEY")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError("the key has characters that no header may hold; check OPENAI_API_KEY for a pasting slip")
    if not model:
        raise ConfigError(f"no model is named for {base_url}; set TEMPOREC_LLM_MODEL or give model=")


def _answer_text(reply: _Reply, spending: Spending) -> str:
    """The text of a chat completion."""
    if len(reply.body) > BODY_LIMIT:
        raise LanguageModelError(f"the answer is longer than {BODY_LIMIT:,} bytes")
    if reply.is_html():
        raise LanguageModelError("the endpoint answered with a web page; check base URL (it often ends in /v1)")
    try:
        document = json.loads(reply.body)
        choice = document["choices"][0]
        used = (document.get("usage") or {}).get("total_tokens")
        spending.charge(used if isinstance(used, int) else None)
        text = choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise LanguageModelError("the endpoint's answer is no chat completion, or is cut off") from None
    if choice.get("finish_reason") == "length":
        raise LanguageModelError("the answer was cut off at its longest; raise budget.answer_tokens")
    if not isinstance(text, str) or not text.strip():
        raise LanguageModelError("the model refused to answer, or said nothing")
    return text


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date (RFC 9110, 10.2.3); None where there is none."""
    if value is None:
        return None
    try:
        if value.strip().isdecimal():
            return float(value)
        then = parsedate_to_datetime(value)
        return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp())
    except (ValueError, OverflowError):
        return None
