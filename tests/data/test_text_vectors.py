"""Text vectors: any language, few, empty and equal texts, plain files, and what is near what."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from temporec.data.text_vectors import TextVectorConfig, TextVectorizer, Whitener, whiten
from temporec.errors import CheckpointError, ConfigError, DataError

SMALL = TextVectorConfig(dim=8)
TEXTS = [
    "Red nail polish, glossy",
    "Blue nail polish, matte",
    "Nail polish remover",
    "蓝牙耳机 无线",
    "无线蓝牙耳机降噪",
    "ワイヤレスヘッドホン",
    "ワイヤレスイヤホン",
    "Écharpe en laine",
    "Echarpe laine épaisse",
    "हिन्दी किताब",
    "नई हिन्दी किताब",
]


def cosines(vectors: np.ndarray) -> np.ndarray:
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return units @ units.T


@pytest.mark.parametrize(("a", "b", "other"), [(0, 1, 3), (3, 4, 5), (5, 6, 3), (7, 8, 0), (9, 10, 4)])
def test_alike_texts_are_near_in_every_script(a: int, b: int, other: int) -> None:
    near = cosines(TextVectorizer(TextVectorConfig(dim=11)).fit_transform(TEXTS))
    assert near[a, b] > near[a, other] + 0.2


def test_centred_scaled_and_the_same_by_transform() -> None:
    vectorizer = TextVectorizer(SMALL)
    vectors = vectorizer.fit_transform(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 8)
    assert vectors.mean(axis=0) == pytest.approx(np.zeros(8), abs=1e-6)
    assert np.square(vectors).sum(axis=1).mean() == pytest.approx(1.0, rel=1e-5)
    assert vectorizer.transform(TEXTS) == pytest.approx(vectors, abs=1e-5)
    assert np.array_equal(vectors, TextVectorizer(SMALL).fit_transform(TEXTS))


def test_new_texts_by_the_fitted_transform() -> None:
    vectorizer = TextVectorizer(SMALL).fit(TEXTS)
    new = vectorizer.transform(["green nail polish", "unrelated 未知", "", "?!"])
    known = vectorizer.transform(TEXTS)
    assert cosines(np.concatenate([new[:1], known]))[0, 1:].argmax() in {0, 1, 2}
    assert not new[2:].any()
    assert vectorizer.transform([]).shape == (0, 8)


@pytest.mark.parametrize(
    "texts",
    [[], [""], ["", "", ""], ["a"], ["same text"] * 5, ["!!!", "hello"], ["x" * 100_000], ["\x00\ud800", "b"]],
    ids=["none", "empty", "all empty", "one", "equal", "no word", "very long", "broken unicode"],
)
def test_little_to_learn_from(texts: list[str]) -> None:
    vectorizer = TextVectorizer(SMALL)
    vectors = vectorizer.fit_transform(texts)
    assert vectors.shape == (len(texts), 8)
    assert np.isfinite(vectors).all()
    assert vectorizer.transform([*texts, "something new"]) == pytest.approx(
        np.concatenate([vectors, np.zeros((1, 8))]), abs=1e-5
    )


def test_an_empty_text_is_the_zero_vector_among_others() -> None:
    vectors = TextVectorizer(SMALL).fit_transform([*TEXTS, "", " - "])
    assert not vectors[-2:].any()
    assert vectors[:-2].any(axis=1).all()


def test_equal_texts_have_equal_vectors() -> None:
    vectors = TextVectorizer(SMALL).fit_transform([*TEXTS, TEXTS[0], TEXTS[0].upper(), "Ｒｅｄ nail polish glossy"])
    assert vectors[-3:] == pytest.approx(np.repeat(vectors[:1], 3, axis=0), abs=1e-6)


@settings(max_examples=25)
@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_text_gives_finite_vectors(texts: list[str]) -> None:
    vectorizer = TextVectorizer(TextVectorConfig(dim=3))
    vectors = vectorizer.fit_transform(texts)
    assert np.isfinite(vectors).all()
    assert vectorizer.transform(texts) == pytest.approx(vectors, abs=1e-4)


def test_save_and_load(tmp_path: Path) -> None:
    vectorizer = TextVectorizer(SMALL).fit(TEXTS)
    vectorizer.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text_vectors.json", "text_vectors.safetensors"]
    loaded = TextVectorizer.load(tmp_path)
    assert loaded.config == SMALL
    new = [*TEXTS, "nail ワイヤレス", ""]
    assert np.array_equal(loaded.transform(new), vectorizer.transform(new))


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not fitted"):
        TextVectorizer().transform(["a"])
    with pytest.raises(DataError, match="not fitted"):
        TextVectorizer().save(tmp_path)
    with pytest.raises(CheckpointError, match="incomplete"):
        TextVectorizer.load(tmp_path)
    with pytest.raises(ConfigError, match="longest"):
        TextVectorConfig.of({"shortest": 4, "longest": 3})
    TextVectorizer(SMALL).fit(TEXTS).save(tmp_path)
    path = tmp_path / "text_vectors.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(state | {"format": 99}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="newer"):
        TextVectorizer.load(tmp_path)
    path.write_text(json.dumps(state | {"terms": [["a"], ["b"]]}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged"):
        TextVectorizer.load(tmp_path)


def test_more_texts_than_are_used_to_fit() -> None:
    vectorizer = TextVectorizer(TextVectorConfig(dim=4, fit_texts=6))
    vectors = vectorizer.fit_transform(TEXTS)
    assert vectors.shape == (len(TEXTS), 4)
    assert np.array_equal(vectors, vectorizer.transform(TEXTS))


def test_whiten() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 3).astype(np.float32)
    vectors[[4, 9]] = 0.0
    whitener = whiten(vectors, 4)
    white = whitener.transform(vectors)
    assert not white[[4, 9]].any()
    rest = np.delete(white, [4, 9], axis=0).astype(np.float64)
    assert rest.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-4)
    assert rest.T @ rest / len(rest) == pytest.approx(np.eye(4), abs=1e-3)
    again = Whitener.from_dict(json.loads(json.dumps(whitener.to_dict())))
    assert np.array_equal(again.transform(vectors), white)
    assert np.array_equal(whiten(vectors, 4).matrix, whitener.matrix)


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_whiten_with_fewer_rows_than_axes(rows: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    white = whiten(vectors, 5).transform(vectors)
    assert white.shape == (rows, 5)
    assert np.isfinite(white).all()
    assert not white[:, min(3, max(0, rows - 1)) :].any()
