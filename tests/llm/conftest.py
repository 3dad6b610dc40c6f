"""A real endpoint in another process, and a shortlist to re-rank."""

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from temporec.recommend.query import Recommendation, Recommendations


@pytest.fixture(scope="session")
def seen(endpoint: str) -> Callable[[str], list[dict[str, Any]]]:
    """`seen("good")`: the requests that this habit got so far."""

    def read(habit: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{endpoint}/{habit}/seen", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)
            return found

    return read


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, model or proxy of the machine reaches a test."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TEMPOREC_LLM_MODEL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shortlist() -> Recommendations:
    titles = ["white lantern", "red teapot", "retro clock", "白色 蜡烛"]
    rows = [Recommendation(f"SKU{n}", 1.0 - n / 10, 0.2, title) for n, title in enumerate(titles)]
    return Recommendations(tuple(rows), user="u1")
