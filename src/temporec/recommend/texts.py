"""From what a catalog says about its items to item vectors: texts, encoders, vector columns, fitted scales."""

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from pydantic import BeforeValidator, PositiveInt, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors
from torch import Tensor

from temporec.config import Names
from temporec.data.catalog import Catalog
from temporec.data.text_encoder import TextEncoder, open_text_encoder
from temporec.data.text_vectors import TextVectorConfig, TextVectorizer
from temporec.data.trainable_texts import TuneConfig
from temporec.embeddings.live import LiveVectors
from temporec.errors import CheckpointError, ConfigError, DataError, MissingExtraError, ReadError
from temporec.recommend.given import given_vectors, vector_columns
from temporec.recommend.templates import check_template, render

__all__ = ["TextConfig", "TextVectors"]

FORMAT = 1
NAME = "text_parts"  # of the two files in a checkpoint folder
TUNED = "text_tuned.safetensors"  # what a text encoder learned together with the model


def _unbraced(value: Any) -> Any:
    """`{title}` alone, which YAML reads as a mapping."""
    return "{" + next(iter(value)) + "}" if isinstance(value, dict) and list(value.values()) == [None] else value


class TextConfig(TuneConfig):
    """Where item vectors come from, and whether their encoder learns.

    Args:
        encoder: one or several, whose vectors stand side by side: `tfidf` (the core's own), `given` (vector columns of
            the items table), and what `open_text_encoder` takes; or `none`.
        columns: columns of the items table: text and category columns for the texts, vector columns for `given`.
            None, or none of that kind among them = all of that kind.
        template: a text instead, such as "{title}. {categories} {brand}", with any column but vectors.
        dim: width of `tfidf`.
    """

    encoder: Names = ("tfidf",)
    columns: Names | None = None
    template: Annotated[str | None, BeforeValidator(_unbraced)] = None
    dim: PositiveInt = 256

    @field_validator("encoder")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or len(set(names)) < len(names) or ("none" in names and len(names) > 1):
            raise ValueError("give one or several different encoders, or none alone")
        return names

    @model_validator(mode="after")
    def _readable(self) -> "TextConfig":
        if self.template is not None:
            check_template(self.template)
        return self


@dataclass(eq=False)
class _Part:
    """The columns of the vectors that come from one source: centred, mean squared length 1 over the known rows."""

    source: str  # name of an encoder, or of a vector column
    given: bool = False
    identity: str = ""
    mean: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    scale: float = 1.0
    tuned: bool = False  # the encoder has learned together with the model

    def fit(self, raw: np.ndarray) -> np.ndarray:
        """Learn centre and scale from raw vectors [n, d]; zero rows say nothing, and stay zero."""
        known = raw[raw.any(axis=1)].astype(np.float64)
        self.mean = (known.mean(axis=0) if len(known) else np.zeros(raw.shape[1])).astype(np.float32)
        length = float(np.square(known - self.mean).sum(axis=1).mean()) if len(known) else 0.0
        self.scale = float(np.float32(length**-0.5)) if length > 1e-9 else 1.0
        return self.apply(raw)

    def apply(self, raw: np.ndarray) -> np.ndarray:
        if raw.shape[1] != len(self.mean):
            raise DataError(
                f"vectors of {self.source!r} have {raw.shape[1]} numbers; the model was fitted with {len(self.mean)}"
            )
        out = (raw - self.mean) * self.scale
        out[~raw.any(axis=1)] = 0.0
        return np.asarray(out, dtype=np.float32)


class TextVectors:
    """Item vectors of a catalog, fitted once; items added later, and words, go through the same transform."""

    def __init__(self, config: TextConfig, seed: int = 0) -> None:
        self.config = config
        self.vectorizer = TextVectorizer(TextVectorConfig(dim=config.dim, seed=seed))
        self._parts: list[_Part] = []
        self._encoders: dict[str, TextEncoder] = {}
        self._learned: dict[str, Tensor] = {}  # weights of the part that is tuned

    @property
    def fitted(self) -> bool:
        return bool(self._parts)

    def fit(self, catalog: Catalog) -> np.ndarray | None:
        """Vectors float32 [V, d]; None where the catalog has nothing to say or the config does not want it."""
        self._parts, columns = [], []
        texts = self._texts(catalog)
        for name in self.config.encoder:
            if name == "given":
                for column in vector_columns(catalog, self.config.columns):
                    self._parts.append(_Part(column, given=True))
                    columns.append(self._parts[-1].fit(given_vectors(catalog, [column])))
            elif any(texts):
                self._parts.append(_Part(name))
                columns.append(self._fit_texts(self._parts[-1], texts))
            elif name not in ("none", "tfidf"):
                raise ConfigError(f"text.encoder={name} needs texts of items, and there are none; give an items table")
        return np.concatenate(columns, axis=1) if columns else None

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors float32 [n, d] of any texts; zero in the columns of vectors that only a table can give."""
        self._check_fitted()
        zero = np.zeros((len(texts), 0), dtype=np.float32)
        return np.concatenate([zero, *(self._of_texts(part, texts) for part in self._parts)], axis=1)

    def reading(self, config: TextConfig) -> Self:
        """The same transform for texts of other columns, or of another template."""
        made = copy(self)
        made.config = config
        return made

    @property
    def spans(self) -> list[tuple[int, int]]:
        """All columns; and where vectors of several sources stand side by side, those of each."""
        ends = np.cumsum([0, *(len(part.mean) for part in self._parts)]).tolist()
        return [(0, ends[-1]), *(pairwise(ends) if len(self._parts) > 1 else ())]

    def transform_catalog(self, catalog: Catalog) -> np.ndarray:
        """Vectors float32 [V, d] of the items of a catalog; a vector column that it lacks is missing for all."""
        self._check_fitted()
        texts = self._texts(catalog)
        columns = [np.zeros((len(catalog), 0), dtype=np.float32)]
        for part in self._parts:
            if part.given and part.source in catalog.frame.columns and catalog.frame[part.source].count():
                columns.append(part.apply(given_vectors(catalog, [part.source])))
            else:
                columns.append(self._of_texts(part, texts))
        return np.concatenate(columns, axis=1)

    def live(self, catalog: Catalog, ranked: Tensor | None, seed: int) -> LiveVectors:
        """The vectors of the catalog that this was fitted on, for a model that trains their encoder too.

        `ranked`: bool [V], items in the softmax of that training; None = all.

        Raises:
            ConfigError: there is not one encoder that can learn.
        """
        found = [part for part in self._parts if part.identity]
        if len(found) != 1:
            names = ", ".join(part.source for part in found) or "none"
            raise ConfigError(
                f"text.tune={self.config.tune} trains one text encoder beside tfidf and given; text.encoder names "
                f"{names}. Name one, such as minilm, a hub name or a folder, and give items with texts"
            )
        part = found[0]
        texts = self._encoder(part).trainable(self._texts(catalog), self.config, seed)
        first = sum(len(each.mean) for each in self._parts[: self._parts.index(part)])
        return LiveVectors(texts, (torch.from_numpy(part.mean), part.scale), first, self.config, ranked)

    def adopt(self, live: LiveVectors) -> None:
        """From now on, texts go through the encoder as it has become."""
        part = next(part for part in self._parts if part.identity)
        self._learned, part.tuned = live.texts.weights(), True
        self._encoders[part.source] = self._encoder(part).tuned(self.config, self._learned)
        part.identity = self._encoders[part.source].identity

    def save(self, folder: Path) -> None:
        """Write the fitted transform, where there is one."""
        if not self._parts:
            return
        if any(part.source == "tfidf" and not part.given for part in self._parts):
            self.vectorizer.save(folder)
        if self._learned:
            save_tensors(self._learned, folder / TUNED)
        names = ("source", "given", "identity", "tuned")
        plain = [{name: getattr(part, name) for name in names} for part in self._parts]
        text = json.dumps({"format": FORMAT, "parts": plain}, ensure_ascii=False)
        (folder / f"{NAME}.json").write_text(text, encoding="utf-8")
        arrays = {f"mean{i}": part.mean for i, part in enumerate(self._parts)}
        save_file(
            {**arrays, "scale": np.asarray([part.scale for part in self._parts], np.float32)},
            folder / f"{NAME}.safetensors",
        )

    @classmethod
    def load(cls, folder: Path, config: TextConfig) -> Self:
        """The fitted transform of a saved folder.

        Raises:
            CheckpointError: damaged, or an encoder is no longer the one that the model was fitted with.
        """
        made = cls(config)
        if (folder / "text_vectors.json").exists():
            made.vectorizer = TextVectorizer.load(folder)
            made._parts = [_Part("tfidf", mean=np.zeros(made.vectorizer.config.dim, np.float32))]  # of before FORMAT 1
        if (folder / f"{NAME}.json").exists():
            made._parts, made._learned = _read_parts(folder)
        for part in made._parts:
            if part.identity:
                try:
                    made._encoder(part)
                except (MissingExtraError, ConfigError, ReadError):
                    continue  # recommending by ids needs no encoder; words will tell
        return made

    def _fit_texts(self, part: _Part, texts: Sequence[str]) -> np.ndarray:
        if part.source == "tfidf":  # centred and scaled already
            vectors = self.vectorizer.fit_transform(texts)
            part.mean = np.zeros(vectors.shape[1], np.float32)
            return vectors
        encoder = self._encoder(part)
        part.identity = encoder.identity
        return part.fit(encoder.encode(texts))

    def _of_texts(self, part: _Part, texts: Sequence[str]) -> np.ndarray:
        if part.given or not len(texts):
            return np.zeros((len(texts), len(part.mean)), dtype=np.float32)
        if part.source == "tfidf":
            return self.vectorizer.transform(texts)
        return part.apply(self._encoder(part).encode(texts))

    def _encoder(self, part: _Part) -> TextEncoder:
        if part.source not in self._encoders:
            encoder = open_text_encoder(part.source)
            if part.tuned:
                encoder = encoder.tuned(self.config, self._learned)
            if part.identity not in ("", encoder.identity):
                raise CheckpointError(
                    f"text encoder {part.source!r} is not the one that this model was fitted with: its identity was "
                    f"{part.identity} and is now {encoder.identity}; put the old one back, or fit again"
                )
            self._encoders[part.source] = encoder
        return self._encoders[part.source]

    def _texts(self, catalog: Catalog) -> list[str]:
        if not set(self.config.encoder) - {"none", "given"}:
            return [""] * len(catalog)
        if self.config.template is not None:
            return render(catalog, self.config.template)
        vectors = catalog.columns("vector")
        named = [name for name in self.config.columns or () if name not in vectors]
        return catalog.texts(named or None)

    def _check_fitted(self) -> None:
        if not self._parts:
            raise DataError(
                "this model has no text vectors: it was fitted with text.encoder=none or on items without texts"
            )


def _read_parts(folder: Path) -> tuple[list[_Part], dict[str, Tensor]]:
    try:
        state = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
        if state["format"] > FORMAT:
            raise CheckpointError(f"{folder / NAME}.json is of format {state['format']}, not {FORMAT}; update Temporec")
        arrays = load_file(folder / f"{NAME}.safetensors")
        parts = [
            _Part(**plain, mean=arrays[f"mean{i}"], scale=float(arrays["scale"][i]))
            for i, plain in enumerate(state["parts"])
        ]
        return parts, load_tensors(folder / TUNED) if any(part.tuned for part in parts) else {}
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
        raise CheckpointError(
            f"the scales of text vectors in {folder} are incomplete or damaged ({error}); fit the model again"
        ) from None
