"""Texts of any language to vectors without any download: TF-IDF over words and character n-grams, truncated SVD.

Words are runs of letters and digits: they give themselves, pairs of neighbours, and character n-grams. Runs in scripts
written without spaces (Chinese, Japanese, Thai, ...) give single characters, pairs and triples instead. Fitted on the
training catalog only; items added later go through the fitted transform.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt, PositiveInt, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse

from temporec.config import Config
from temporec.errors import CheckpointError, DataError
from temporec.runtime import random_state

__all__ = ["TextVectorConfig", "TextVectorizer", "Whitener", "is_unspaced", "tokens_of", "whiten"]

FORMAT = 1
NAME = "text_vectors"  # of the two files in a checkpoint folder

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Myanmar, Khmer
    "\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = "\u0300-\u036f\u0900-\u0dff"  # accents and Indic vowel signs, which \w leaves out
_TOKEN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[\w{_MARKS}])+")
_UNSPACED_START = re.compile(rf"[{_UNSPACED}]")
_LONGEST_WORD = 40  # characters of a word that its n-grams come from


class TextVectorConfig(Config):
    """Options of `TextVectorizer`.

    Args:
        dim: width of the vectors.
        words: so many words and word pairs are kept, the most frequent ones.
        characters: so many character n-grams are kept, the most frequent ones.
        shortest: shortest character n-gram of a word (which has a border mark on both sides).
        longest: longest character n-gram of a word.
        min_texts: a feature must stand in so many texts (from 1,000 texts on).
        fit_texts: where there are more texts, a random sample of so many is used to fit.
        max_characters: only the beginning of a longer text is read.
        iterations: power iterations of the randomized SVD (Halko et al. 2011).
        seed: of the SVD and the sample.
    """

    dim: PositiveInt = 256
    words: PositiveInt = 16_384
    characters: PositiveInt = 16_384
    shortest: PositiveInt = 3
    longest: PositiveInt = 5
    min_texts: PositiveInt = 2
    fit_texts: PositiveInt = 200_000
    max_characters: PositiveInt = 4_000
    iterations: PositiveInt = 4
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _ordered(self) -> "TextVectorConfig":
        if self.longest < self.shortest:
            raise ValueError(f"longest ({self.longest}) must be at least shortest ({self.shortest})")
        return self


class TextVectorizer:
    """`fit(texts)`, then `transform(texts)` -> float32 [n, dim], centred, and scaled to a mean squared length of 1.

    A text without any known feature is the zero vector. With fewer texts or features than `dim`, the last columns are
    zero. The same texts, config and machine give the same vectors, before and after `save` and `load`.
    """

    def __init__(self, config: TextVectorConfig | None = None) -> None:
        self.config = config or TextVectorConfig()
        self._views: list[Any] = []
        self._components = np.zeros((self.config.dim, 0), dtype=np.float16)  # [dim, features]
        self._mean = np.zeros(self.config.dim, dtype=np.float32)
        self._scale = np.float32(1.0)

    def fit(self, texts: Sequence[str]) -> "TextVectorizer":
        """Learn vocabularies, document frequencies, components, mean and scale."""
        self.fit_transform(texts)
        return self

    def fit_transform(self, texts: Sequence[str]) -> np.ndarray:
        """`fit`, and the vectors of the same texts."""
        config, sample = self.config, list(texts)
        if len(sample) > config.fit_texts:
            chosen = np.sort(random_state(config.seed).choice(len(sample), config.fit_texts, replace=False))
            sample = [sample[i] for i in chosen]
        tokens = [tokens_of(text, config.max_characters) for text in sample]
        fewest = config.min_texts if len(sample) >= 1_000 else 1
        limits = (config.words, config.characters)
        fitted = [_fit_view(tokens, each, n, fewest) for each, n in zip(self._analyzers(), limits, strict=True)]
        self._views = [view for view, _ in fitted]
        matrix = _join([found for _, found in fitted])
        self._components = _fit_components(matrix, config)
        raw, known = self._project(matrix)
        if known.any():
            self._mean = raw[known].mean(axis=0, dtype=np.float64).astype(np.float32)
            length = float(np.square(raw[known] - self._mean, dtype=np.float64).sum(axis=1).mean())
            self._scale = np.float32(1.0 / length**0.5 if length > 1e-9 else 1.0)
        return self._finish(raw, known) if len(sample) == len(texts) else self.transform(texts)

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors float32 [n, dim] of any texts, seen at `fit` or not."""
        if not self._views:
            raise DataError("this TextVectorizer is not fitted; call fit(texts) or load(folder) first")
        if not len(texts):
            return np.zeros((0, self.config.dim), dtype=np.float32)
        tokens = [tokens_of(text, self.config.max_characters) for text in texts]
        return self._finish(*self._project(_join([view.transform(tokens) for view in self._views])))

    def save(self, folder: str | Path) -> None:
        """Write text_vectors.json and text_vectors.safetensors into an existing folder."""
        if not self._views:
            raise DataError("this TextVectorizer is not fitted, so there is nothing to save; call fit(texts) first")
        arrays: dict[str, np.ndarray] = {
            "components": self._components,
            "mean": self._mean,
            "scale": np.asarray([self._scale], dtype=np.float32),
            **{f"idf{i}": np.asarray(view.idf_, dtype=np.float64) for i, view in enumerate(self._views)},
        }
        terms = [list(view.get_feature_names_out()) for view in self._views]
        state = {"format": FORMAT, "config": self.config.to_dict(), "terms": terms}
        text = json.dumps(state, ensure_ascii=False)
        (Path(folder) / f"{NAME}.json").write_text(text, encoding="utf-8")
        save_file(arrays, Path(folder) / f"{NAME}.safetensors")

    @classmethod
    def load(cls, folder: str | Path) -> "TextVectorizer":
        """Read what `save` wrote; nothing in the files is executed."""
        path = Path(folder)
        try:
            state: dict[str, Any] = json.loads((path / f"{NAME}.json").read_text(encoding="utf-8"))
            if state["format"] > FORMAT:
                raise CheckpointError(
                    f"{path / NAME}.json is of format {state['format']}, newer than {FORMAT}; update Temporec"
                )
            made = cls(TextVectorConfig.of(state["config"]))
            arrays = load_file(path / f"{NAME}.safetensors")
            views = enumerate(zip(made._analyzers(), state["terms"], strict=True))
            made._views = [_view(analyzer, terms, arrays[f"idf{i}"]) for i, (analyzer, terms) in views]
            made._components, made._mean = arrays["components"], arrays["mean"]
            made._scale = np.float32(arrays["scale"][0])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise CheckpointError(
                f"the text vectors in {path} are incomplete or damaged ({error}); fit the model again"
            ) from None
        return made

    def _analyzers(self) -> tuple["_Analyzer", "_Analyzer"]:
        return _word_features, partial(_character_features, shortest=self.config.shortest, longest=self.config.longest)

    def _project(self, matrix: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """Raw vectors [n, dim], and which texts have a known feature [n]."""
        return matrix @ self._components.astype(np.float32).T, np.diff(matrix.indptr) > 0

    def _finish(self, raw: np.ndarray, known: np.ndarray) -> np.ndarray:
        vectors = (raw - self._mean) * self._scale
        vectors[~known] = 0.0
        return np.asarray(vectors, dtype=np.float32)


class Whitener:
    """Principal axes of some vectors, each scaled to variance 1: `transform(x) = (x - mean) @ matrix`.

    Rows that are all zero ("nothing known") stay zero. Axes without variance, and axes beyond the input's width,
    give zero columns.
    """

    def __init__(self, mean: np.ndarray, matrix: np.ndarray) -> None:
        self.mean = mean  # float32 [d]
        self.matrix = matrix  # float32 [d, dim]

    @classmethod
    def fit(cls, vectors: np.ndarray, dim: int) -> "Whitener":
        """Fit on vectors [n, d]; rows that are all zero are left out."""
        known = vectors[np.any(vectors != 0, axis=1)].astype(np.float64)
        matrix = np.zeros((vectors.shape[1], dim))
        mean = known.mean(axis=0) if len(known) else np.zeros(vectors.shape[1])
        if len(known) > 1:
            centred = known - mean
            values, axes = np.linalg.eigh(centred.T @ centred / len(known))
            values, axes = values[::-1][:dim], axes[:, ::-1][:, :dim]
            axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
            keep = values > max(1e-9 * float(values[0]), 1e-12)
            matrix[:, np.flatnonzero(keep)] = axes[:, keep] / np.sqrt(values[keep])
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def transform(self, vectors: np.ndarray) -> np.ndarray:
        """Whitened vectors float32 [n, dim]."""
        out = (vectors.astype(np.float32) - self.mean) @ self.matrix
        out[~np.any(vectors != 0, axis=1)] = 0.0
        return np.asarray(out, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"mean": self.mean.tolist(), "matrix": self.matrix.tolist()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> "Whitener":
        """The inverse of `to_dict`, exact to the last bit."""
        mean = np.asarray(state["mean"], dtype=np.float32)
        return cls(mean, np.asarray(state["matrix"], dtype=np.float32).reshape(len(mean), -1))


def whiten(vectors: np.ndarray, dim: int) -> Whitener:
    """A `Whitener` fitted on vectors [n, d]."""
    return Whitener.fit(vectors, dim)


_Analyzer = Callable[[list[str]], list[str]]


def tokens_of(text: str, limit: int) -> list[str]:
    """Words, and runs of unspaced script, of a normalised text in lower case."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text[:limit]).lower())


def is_unspaced(token: str) -> bool:
    """Whether a token is a run of script that is written without spaces."""
    return not token.isascii() and _UNSPACED_START.match(token) is not None


def _word_features(tokens: list[str]) -> list[str]:
    """Words and pairs of neighbouring words; of unspaced runs, pairs of characters (or the only one)."""
    found, before = [], ""
    for token in tokens:
        if is_unspaced(token):
            found.extend([token[i : i + 2] for i in range(max(1, len(token) - 1))])
            before = ""
            continue
        found.append(token)
        if before:
            found.append(f"{before} {token}")
        before = token
    return found


def _character_features(tokens: list[str], shortest: int, longest: int) -> list[str]:
    return [gram for token in tokens for gram in _grams(token, shortest, longest)]


@lru_cache(maxsize=1 << 15)
def _grams(token: str, shortest: int, longest: int) -> tuple[str, ...]:
    """Character n-grams of a word between border marks; one to three characters of an unspaced run."""
    if is_unspaced(token):
        return tuple(token[i : i + n] for n in (1, 2, 3) for i in range(len(token) - n + 1))
    word = f" {token[:_LONGEST_WORD]} "
    return tuple(word[i : i + n] for n in range(shortest, longest + 1) for i in range(len(word) - n + 1))


def _view(analyzer: _Analyzer, terms: Sequence[str], idf: np.ndarray) -> Any:
    """A fitted vectoriser from its plain state."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    view = TfidfVectorizer(analyzer=analyzer, vocabulary=list(terms), sublinear_tf=True, dtype=np.float32)
    view.idf_ = np.asarray(idf)
    return view


def _fit_view(tokens: list[list[str]], analyzer: _Analyzer, limit: int, fewest: int) -> tuple[Any, sparse.csr_matrix]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    for least in sorted({fewest, 1}, reverse=True):
        view = TfidfVectorizer(analyzer=analyzer, max_features=limit, min_df=least, sublinear_tf=True, dtype=np.float32)
        try:
            return view, view.fit_transform(tokens)
        except ValueError:  # scikit-learn's way to say that no feature is left
            continue
    return _view(analyzer, [""], np.ones(1, dtype=np.float32)), sparse.csr_matrix((len(tokens), 1), dtype=np.float32)


def _join(views: list[sparse.csr_matrix]) -> sparse.csr_matrix:
    """One row of length at most 1 per text; every view has the same weight."""
    return sparse.hstack(views, format="csr", dtype=np.float32) * np.float32(len(views) ** -0.5)


def _fit_components(matrix: sparse.csr_matrix, config: TextVectorConfig) -> np.ndarray:
    """Right singular vectors [dim, features], in half precision so that what is saved is what was used."""
    from sklearn.utils.extmath import randomized_svd

    components = np.zeros((config.dim, matrix.shape[1]), dtype=np.float16)
    if (rank := min(config.dim, *matrix.shape)) and matrix.nnz:
        _, values, axes = randomized_svd(
            matrix, rank, n_oversamples=20, n_iter=config.iterations, random_state=config.seed
        )
        real = int((values > 1e-4 * values[0]).sum())
        components[:real] = axes[:real]
    return components
