"""recommend --rerank and explain --phrase, with an endpoint in another process."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("httpx", reason="the extra llm is not installed")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPOREC_LLM_MODEL", "tiny")


def test_the_first_of_a_longer_shortlist(answered: Callable[..., str], shop: Path, endpoint: str) -> None:
    own = json.loads(answered("recommend", shop, "--user", "u3", "--k", "20", "--json"))
    ids = [row["item"] for row in own["items"]]
    reranked = answered("recommend", shop, "--user", "u3", "--k", "4", "--json", "--llm", f"{endpoint}/good/v1")
    answer = json.loads(reranked)
    assert (answer["reranked"], answer["reason"]) == (True, None)
    assert [row["item"] for row in answer["items"]] == ids[::-1][:4]


def test_a_failing_endpoint_leaves_the_ranking_and_says_why(
    temporec: Run, answered: Callable[..., str], shop: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = json.loads(answered("recommend", shop, "--user", "u3", "--k", "4", "--json"))
    monkeypatch.setenv("OPENAI_BASE_URL", f"{endpoint}/redirect/v1")
    done = temporec("recommend", shop, "--user", "u3", "--k", "4", "--json", "--rerank")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["items"] == own["items"]
    assert not answer["reranked"]
    assert "HTTP 307" in answer["reason"]
    assert answer["reason"] in done.stderr


def test_the_facts_stand_where_no_sentence_comes(
    answered: Callable[..., str], shop: Path, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    [row] = json.loads(answered("recommend", shop, "--user", "u3", "--k", "1", "--json"))["items"]
    words = ("explain", shop, "--user", "u3", "--item", row["item"])
    plain = json.loads(answered(*words, "--json"))
    phrased = json.loads(answered(*words, "--json", "--phrase", f"{endpoint}/refused/v1"))
    assert phrased == {**plain, "phrased": plain["text"].replace("\n", " ")}
    assert "HTTP 401" in caplog.text


def test_bad_names_are_one_sentence(refused: Callable[..., str], shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not exist" in refused("recommend", shop, "--user", "u3", "--llm", "none.jsonl")
    assert "--rerank is for one user" in refused("recommend", shop, "--all-users", "--rerank")
    monkeypatch.delenv("TEMPOREC_LLM_MODEL")
    assert "set TEMPOREC_LLM_MODEL" in refused("recommend", shop, "--user", "u3", "--rerank")
