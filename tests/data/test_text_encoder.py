"""From a name to a text encoder, without any language model."""

import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from temporec import registry
from temporec.data.text_encoder import TextEncoder, open_text_encoder
from temporec.errors import ConfigError, MissingExtraError, UnknownNameError

ROOT = Path(__file__).parents[2]


class Lengths(TextEncoder):
    """Number of characters."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    @property
    def identity(self) -> str:
        return f"lengths:{self.name}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text)] for text in texts], dtype=np.float32)


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """A registry of text encoders of its own, with `lengths` in it."""
    found: dict[str, object] = {"lengths": Lengths}
    registry.names("text_encoder")
    monkeypatch.setitem(registry._entries, "text_encoder", found)
    return found


def test_a_registered_name(entries: dict[str, object]) -> None:
    assert open_text_encoder("lengths").encode(["ab", ""]).tolist() == [[2], [0]]
    assert registry.names("text_encoder") == ["lengths"]


def test_folders_hub_names_and_files_of_word_vectors(entries: dict[str, object], tmp_path: Path) -> None:
    entries["huggingface"], entries["word-vectors"] = lambda name: Lengths(f"hub {name}"), Lengths
    assert open_text_encoder(str(tmp_path)).identity == f"lengths:hub {tmp_path}"
    assert open_text_encoder("intfloat/e5-small").identity == "lengths:hub intfloat/e5-small"
    assert open_text_encoder("gpt2").identity == "lengths:hub gpt2"
    assert open_text_encoder("vectors/glove.6B.txt").identity == "lengths:vectors/glove.6B.txt"


@pytest.mark.parametrize("name", ["lenghts", "tf-idf", "no such encoder", "a/b/c", ""])
def test_refused_with_what_is_known(entries: dict[str, object], name: str) -> None:
    entries["huggingface"] = Lengths
    with pytest.raises(UnknownNameError, match=r"no text encoder named .*tfidf, given, none.*lengths"):
        open_text_encoder(name)


def test_without_the_extra(entries: dict[str, object]) -> None:
    for name in ("intfloat/e5-small", "glove.txt"):
        with pytest.raises(MissingExtraError, match=r"pip install 'temporec\[llm\]'"):
            open_text_encoder(name)


def test_an_entry_that_makes_something_else(entries: dict[str, object]) -> None:
    entries["wrong"] = dict
    with pytest.raises(ConfigError, match="'wrong' is a dict; it must be a TextEncoder"):
        open_text_encoder("wrong")


def test_the_entry_points_exist_and_register_under_their_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name, place in project["entry-points"]["temporec.text_encoder"].items():
        module, attribute = place.split(":")
        made = getattr(import_module(module), attribute)
        assert registry.get("text_encoder", name) is made
