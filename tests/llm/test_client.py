"""Clients against a real endpoint with bad habits, and the recorded twin."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from temporec.errors import ConfigError, LanguageModelError
from temporec.llm.chat import Budget, Message, read_answer, within
from temporec.llm.recorded import RecordedClient

pytest.importorskip("httpx", reason="the extra llm is not installed")

from temporec.llm.client import OpenAIClient, open_client

KEY = "sk-secret-0123456789"
QUICK = Budget(seconds=3.0, attempts=2)
MESSAGES: list[Message] = [
    {"role": "system", "content": "Rank."},
    {"role": "user", "content": '{"candidates": [{"id": "i1"}, {"id": "i2"}, {"id": "i3"}]}'},
]
Seen = Callable[[str], list[dict[str, Any]]]


class Ranking(BaseModel):
    ranking: list[Literal["i1", "i2", "i3"]]


def client(endpoint: str, habit: str) -> OpenAIClient:
    return OpenAIClient(f"{endpoint}/{habit}/v1", KEY, "tiny")


def test_answer_by_schema_with_key_model_and_limits_in_the_request(endpoint: str, seen: Seen) -> None:
    assert client(endpoint, "good").complete(MESSAGES, Ranking, QUICK) == {"ranking": ["i3", "i2", "i1"]}
    request = seen("good")[-1]
    assert request["path"] == "/good/v1/chat/completions"
    assert request["key"] == f"Bearer {KEY}"
    body = request["body"]
    assert (body["model"], body["messages"], body["max_tokens"]) == ("tiny", MESSAGES, QUICK.answer_tokens)
    assert body["response_format"]["json_schema"]["schema"] == Ranking.model_json_schema()


def test_thoughts_fences_and_prose_around_the_json_are_left_out(endpoint: str) -> None:
    assert client(endpoint, "fenced").complete(MESSAGES, Ranking, QUICK)["ranking"][0] == "i3"


def test_an_endpoint_without_schemas_is_asked_for_less_and_remembered(endpoint: str, seen: Seen) -> None:
    old = client(endpoint, "old")
    for _ in range(2):
        assert old.complete(MESSAGES, Ranking, QUICK)["ranking"][0] == "i3"
    kinds = [request["body"].get("response_format", {}).get("type") for request in seen("old")]
    assert kinds == ["json_schema", "json_object", None, None]


def test_an_endpoint_that_renamed_its_options_keeps_the_schema(endpoint: str, seen: Seen) -> None:
    assert client(endpoint, "new").complete(MESSAGES, Ranking, QUICK)["ranking"][0] == "i3"
    body = seen("new")[-1]["body"]
    assert body["max_completion_tokens"] == QUICK.answer_tokens
    assert "temperature" not in body
    assert body["response_format"]["type"] == "json_schema"


BAD = {
    "prose": "prose, not with JSON",
    "html": "web page",
    "broken": "HTTP 503",
    "foreign": "ranking.1: Input should be 'i1', 'i2' or 'i3'",
    "wrong": "ranking: Field required",
    "truncated": "broken or cut off",
    "cut": "cannot be reached",
    "long": "raise budget.answer_tokens",
    "silent": "refused to answer",
    "odd": "no chat completion",
    "huge": "longer than",
}


@pytest.mark.parametrize("habit", BAD)
def test_bad_answers_are_named(endpoint: str, seen: Seen, habit: str) -> None:
    with pytest.raises(LanguageModelError, match=BAD[habit]):
        client(endpoint, habit).complete(MESSAGES, Ranking, Budget(seconds=20.0, attempts=1))
    assert not seen("huge-all"), "a huge body was read to its end"


@pytest.mark.parametrize("habit", ["prose", "broken", "cut"])
def test_what_may_pass_is_tried_again(endpoint: str, seen: Seen, habit: str) -> None:
    before = len(seen(habit))
    with pytest.raises(LanguageModelError, match=rf"{BAD[habit]}.*\(2 attempts\)"):
        client(endpoint, habit).complete(MESSAGES, Ranking, Budget(seconds=20.0, attempts=2))
    assert len(seen(habit)) - before == 2


@pytest.mark.parametrize("habit", ["hang", "drip"])
def test_time_is_over_when_it_is_over(endpoint: str, habit: str) -> None:
    begin = time.monotonic()
    with pytest.raises(LanguageModelError, match=r"no answer within 0\.5 s"):
        client(endpoint, habit).complete(MESSAGES, Ranking, Budget(seconds=0.5))
    assert time.monotonic() - begin < 1.5


def test_retry_after_is_honoured(endpoint: str) -> None:
    begin = time.monotonic()
    assert client(endpoint, "busy_once").complete(MESSAGES, Ranking, QUICK)["ranking"][0] == "i3"
    assert time.monotonic() - begin >= 1.0


def test_a_wait_longer_than_the_budget_is_not_begun(endpoint: str, seen: Seen) -> None:
    begin, before = time.monotonic(), len(seen("busy"))
    with pytest.raises(LanguageModelError, match=r"HTTP 429.*the wait of 3600\.\d s exceeds"):
        client(endpoint, "busy").complete(MESSAGES, Ranking, QUICK)
    assert time.monotonic() - begin < 1.0
    assert len(seen("busy")) - before == 1


def test_a_redirect_is_refused_and_the_key_goes_nowhere(endpoint: str, seen: Seen) -> None:
    before = len(seen("good"))
    with pytest.raises(LanguageModelError, match="HTTP 307, a redirect"):
        client(endpoint, "redirect").complete(MESSAGES, Ranking, QUICK)
    assert len(seen("good")) == before
    assert len(seen("redirect")) == 1


def test_the_key_is_in_no_log_message_or_repr(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refused = client(endpoint, "refused")
    with pytest.raises(LanguageModelError, match="check the key in OPENAI_API_KEY") as error:
        refused.complete(MESSAGES, Ranking, QUICK)
    assert "(key)" in str(error.value), "the endpoint echoes the key, so this test would see it"
    assert "<b>" not in str(error.value)
    assert "\n" not in str(error.value)
    assert KEY not in f"{error.value}{caplog.text}{refused!r}{refused.name}"


def test_an_endpoint_that_is_not_there() -> None:
    with pytest.raises(LanguageModelError, match="cannot be reached"):
        OpenAIClient("http://127.0.0.1:9/v1", "", "tiny").complete(MESSAGES, Ranking, Budget(attempts=1))


def test_a_prompt_beyond_the_budget_is_never_sent(endpoint: str, seen: Seen) -> None:
    before = len(seen("good"))
    long: list[Message] = [{"role": "user", "content": "word " * 3000}]
    with pytest.raises(LanguageModelError, match=r"raise budget\.tokens"):
        client(endpoint, "good").complete(long, Ranking, Budget(tokens=1000))
    assert len(seen("good")) == before


def test_tokens_of_all_attempts_count(endpoint: str, seen: Seen) -> None:
    before = len(seen("prose"))
    with pytest.raises(LanguageModelError, match="left of the budget of 150"):
        client(endpoint, "prose").complete(MESSAGES, Ranking, Budget(seconds=30, tokens=150, attempts=9))
    assert len(seen("prose")) - before == 2, "each attempt costs the 100 tokens that the endpoint reports"


@pytest.mark.parametrize(
    ("url", "key", "model", "says"),
    [
        ("ftp://x/v1", "", "m", "must start with http"),
        ("http://", "", "m", "name a host"),
        ("http://h:99999/v1", "", "m", "not a URL"),
        ("http://me:secret@h/v1", "", "m", "neither a password"),
        ("http://h/v1", "sk-1\nX: y", "m", "no header may hold"),
        ("http://h/v1", "sk-ключ", "m", "no header may hold"),
        ("http://h/v1", "", "", "TEMPOREC_LLM_MODEL"),
    ],
)
def test_a_client_that_cannot_work_is_not_made(url: str, key: str, model: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        OpenAIClient(url, key, model)
    assert "secret" not in str(error.value)
    assert "sk-" not in str(error.value)


def test_names_stand_for_clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set TEMPOREC_LLM_MODEL"):
        open_client()
    monkeypatch.setenv("TEMPOREC_LLM_MODEL", "tiny")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://env.example/v1/")
    assert open_client().name == "tiny at env.example"
    assert open_client("https://other.example/v1").name == "tiny at other.example"
    with pytest.raises(ConfigError, match=r"none\.jsonl does not exist"):
        open_client(str(tmp_path / "none.jsonl"))


@pytest.mark.parametrize("field", ["seconds", "tokens", "answer_tokens", "attempts"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_budget_is_positive_and_finite(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"budget\.{field}"):
        Budget(**{field: value})  # type: ignore[arg-type]


def test_errors_inside_a_timed_call_come_out() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 // 0)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"ranking": "i1"}', "{" * 5000, '{"ranking": [NaN]}'])
def test_no_answer_fits_by_chance(text: str) -> None:
    with pytest.raises(LanguageModelError):
        read_answer(text, Ranking)


def test_a_recording_answers_without_the_endpoint(endpoint: str, seen: Seen, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    recording = RecordedClient(path, client(endpoint, "good"))
    first = recording.complete(MESSAGES, Ranking, QUICK)
    asked = len(seen("good"))
    assert recording.complete(MESSAGES, Ranking, QUICK) == first
    twin = RecordedClient(path)
    assert twin.complete(MESSAGES, Ranking, Budget(seconds=1.0)) == first
    assert len(seen("good")) == asked
    assert KEY not in path.read_text(encoding="utf-8")
    with pytest.raises(LanguageModelError, match="holds no answer"):
        twin.complete(MESSAGES[:1], Ranking, QUICK)


def test_a_damaged_recording_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'{"request": "a", "answer": {}}\n{"request": \xff\n')
    with pytest.raises(ConfigError, match="line 2 of"):
        RecordedClient(path)
