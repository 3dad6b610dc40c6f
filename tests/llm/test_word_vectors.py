"""Averages of word vectors: the formats, the weights, words that are not known, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from temporec.data.text_encoder import open_text_encoder
from temporec.errors import ReadError
from temporec.llm.word_vectors import WordVectors

WORDS = ["the", "red", "lamp", "蓝牙", "耳机", "école"]
ROWS = np.arange(1, 13, dtype=np.float32).reshape(6, 2)
GLOVE = "".join(f"{word} {a:g} {b:g}\n" for word, (a, b) in zip(WORDS, ROWS, strict=True))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPOREC_CACHE", str(tmp_path / "cache"))


def written(folder: Path, text: str = GLOVE, name: str = "vectors.txt") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def as_npy(folder: Path, words: str, rows: np.ndarray = ROWS) -> str:
    np.save(folder / "v.npy", rows)
    written(folder, words, "v.txt")
    return str(folder / "v.npy")


def weights(counts: np.ndarray, a: float = 1e-3) -> np.ndarray:
    return np.asarray(a / (a + counts / counts.sum()))


ZIPF = weights(1 / (np.arange(6) + 2.7))


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.vec"])
@pytest.mark.parametrize("header", ["", "6 2\n"])
def test_the_weighted_mean(tmp_path: Path, name: str, header: str) -> None:
    made = open_text_encoder(written(tmp_path, header + GLOVE, name))
    vectors = made.encode(["The RED unknown lamp!", "unknown", ""])
    expected = (ROWS[:3] * ZIPF[:3, None]).mean(axis=0)
    assert vectors[0] == pytest.approx(expected, rel=1e-5)
    assert not vectors[1:].any()
    assert ZIPF[0] < ZIPF[5]


def test_npy_with_words_or_with_counts(tmp_path: Path) -> None:
    plain = WordVectors(as_npy(tmp_path, "\n".join(WORDS))).encode(["the red"])
    assert plain[0] == pytest.approx((ROWS[:2] * ZIPF[:2, None]).mean(axis=0), rel=1e-5)
    counts = np.array([900, 50, 20, 10, 10, 0])
    lines = "\n".join(f"{word} {count}" for word, count in zip(WORDS, counts, strict=True))
    counted = WordVectors(as_npy(tmp_path, lines)).encode(["the red"])
    assert counted[0] == pytest.approx((ROWS[:2] * weights(counts + 1.0)[:2, None]).mean(axis=0), rel=1e-5)


def test_script_without_spaces_is_cut_into_known_words(tmp_path: Path) -> None:
    made = WordVectors(written(tmp_path))
    vectors = made.encode(["蓝牙耳机", "无线蓝牙耳机", "École"])
    expected = (ROWS[3:5] * ZIPF[3:5, None]).mean(axis=0)
    assert vectors[:2] == pytest.approx(np.stack([expected, expected]), rel=1e-5)
    assert vectors[2].any()


def test_a_changed_file_is_another_encoder(tmp_path: Path) -> None:
    before = WordVectors(written(tmp_path))
    before.encode(["red"])
    after = WordVectors(written(tmp_path, GLOVE.replace("red 3", "red 8")))
    assert after.identity != before.identity
    assert after.encode(["red"])[0, 0] == pytest.approx(8 * ZIPF[1], rel=1e-5)
    again = WordVectors(str(tmp_path / "vectors.txt"))
    again.encode(["red"])
    assert (again.encoded, again.cached) == (0, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no word vectors"),
        ("red 1 2\nlamp 1\n", "line 2: not a word and 2 finite numbers"),
        ("red 1 2\nlamp 1 nan\n", "line 2"),
        ("red 1 2\nlamp one 2\n", "line 2"),
        ("<html><body>\n", "line 1"),
    ],
)
def test_refused_text_files(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ReadError, match=reason):
        WordVectors(written(tmp_path, text)).encode(["red"])


def test_refused_arrays(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="has 1 words"):
        WordVectors(as_npy(tmp_path, "red")).encode(["red"])
    with pytest.raises(ReadError, match="NaN"):
        WordVectors(as_npy(tmp_path, "\n".join(WORDS), ROWS * np.nan)).encode(["red"])
    (tmp_path / "v.npy").write_bytes(b"no array")
    with pytest.raises(ReadError, match=r"not a plain .npy array"):
        WordVectors(str(tmp_path / "v.npy")).encode(["red"])
    (tmp_path / "v.txt").unlink()
    with pytest.raises(ReadError, match=r"v.txt does not exist"):
        WordVectors(str(tmp_path / "v.npy"))
    with pytest.raises(ReadError, match=r"gone.txt does not exist"):
        open_text_encoder("gone.txt")
