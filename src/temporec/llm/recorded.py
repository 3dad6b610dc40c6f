"""The recorded twin of a chat client: answers from a file, and a way to write that file."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from temporec.errors import ConfigError, LanguageModelError
from temporec.llm.chat import Budget, ChatClient, Message, fit_answer

__all__ = ["RecordedClient"]


class RecordedClient:
    """Answers from JSON lines `{"request": SHA-256, "answer": {...}}`.

    Args:
        path: the file.
        client: asked for what the file does not have, and its answers are appended; None = the file must exist, and
            an unknown request is refused.

    Raises:
        ConfigError: the file is missing or a line of it is damaged.
    """

    def __init__(self, path: str | Path, client: ChatClient | None = None) -> None:
        self._path, self._client = Path(path), client
        self._answers: dict[str, dict[str, Any]] = {}
        if client is None and not self._path.is_file():
            raise ConfigError(f"recording {self._path} does not exist; check the path, or record it with a real client")
        if self._path.is_file():
            for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
                self._read(number, line)

    @property
    def name(self) -> str:
        return f"recording {self._path.name}"

    def complete(self, messages: Sequence[Message], schema: type[BaseModel], budget: Budget) -> dict[str, Any]:
        request = _hash(messages, schema)
        if request not in self._answers:
            if self._client is None:
                raise LanguageModelError(
                    f"{self._path} holds no answer to this request ({request[:12]}); record it anew"
                )
            answer = self._client.complete(messages, schema, budget)
            line = json.dumps({"request": request, "answer": answer}, ensure_ascii=False)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self._answers[request] = answer
        return fit_answer(self._answers[request], schema)

    def _read(self, number: int, line: bytes) -> None:
        try:
            row = json.loads(line)
            self._answers[str(row["request"])] = dict(row["answer"])
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"line {number} of {self._path} is damaged; delete the line and record it anew") from None


def _hash(messages: Sequence[Message], schema: type[BaseModel]) -> str:
    text = json.dumps([[*messages], schema.model_json_schema()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
