"""From what a catalog says about its items to item vectors: texts, encoders, vector columns, fitted scales."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import polars as pl
from pydantic import BeforeValidator, PositiveInt, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from temporec.config import Config, Names
from temporec.data.catalog import Catalog
from temporec.data.text_encoder import TextEncoder, open_text_encoder
from temporec.data.text_vectors import TextVectorConfig, TextVectorizer
from temporec.errors import CheckpointError, ConfigError, DataError, MissingExtraError, ReadError
from temporec.recommend.templates import check_template, render

__all__ = ["TextConfig", "TextVectors", "given_vectors"]

FORMAT = 1
NAME = "text_parts"  # of the two files in a checkpoint folder


def _unbraced(value: Any) -> Any:
    """`{title}` alone, which YAML reads as a mapping."""
    return "{" + next(iter(value)) + "}" if isinstance(value, dict) and list(value.values()) == [None] else value


class TextConfig(Config):
    """Where item vectors come from.

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

    @property
    def fitted(self) -> bool:
        return bool(self._parts)

    def fit(self, catalog: Catalog) -> np.ndarray | None:
        """Vectors float32 [V, d]; None where the catalog has nothing to say or the config does not want it."""
        self._parts, columns = [], []
        texts = self._texts(catalog)
        for name in self.config.encoder:
            if name == "given":
                for column in _vector_columns(catalog, self.config.columns):
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

    def save(self, folder: Path) -> None:
        """Write the fitted transform, where there is one."""
        if not self._parts:
            return
        if any(part.source == "tfidf" and not part.given for part in self._parts):
            self.vectorizer.save(folder)
        plain = [{"source": part.source, "given": part.given, "identity": part.identity} for part in self._parts]
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
            made._parts = _read_parts(folder)
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


def _vector_columns(catalog: Catalog, columns: Sequence[str] | None) -> list[str]:
    known = catalog.columns("vector")
    if not known:
        raise ConfigError("text.encoder=given needs a column of vectors (lists of numbers) in the items table")
    return [name for name in columns or () if name in known] or known


def given_vectors(catalog: Catalog, columns: Sequence[str] | None = None) -> np.ndarray:
    """Vector columns joined, float32 [V, d]; a missing vector is zero.

    Raises:
        ConfigError: no such column, vectors of several widths, NaN or infinite numbers.
    """
    parts = []
    for name in _vector_columns(catalog, columns):
        column = catalog.frame[name].rename("")
        if isinstance(column.dtype, pl.Array):
            column = column.arr.to_list()
        lengths = column.list.len()
        width = int(lengths.max() or 0)  # type: ignore[arg-type]
        wrong = (lengths != width).arg_true()
        if len(wrong) or not width:
            where = f"item {catalog.frame['item'][int(wrong[0])]!r} differs" if len(wrong) else "all are empty"
            raise ConfigError(f"vectors in column {name!r} must all have one width, here {width}: {where}")
        known = column.is_not_null().to_numpy()
        numbers = column.drop_nulls().explode().cast(pl.Float32).to_numpy().reshape(-1, width)
        finite = np.isfinite(numbers).all(axis=1)
        if not finite.all():
            item = catalog.frame["item"][int(np.flatnonzero(known)[~finite][0])]
            raise ConfigError(f"the vector in column {name!r} of item {item!r} holds NaN or infinite numbers; clean it")
        table = np.zeros((len(column), width), dtype=np.float32)
        table[known] = numbers
        parts.append(table)
    return np.concatenate(parts, axis=1)


def _read_parts(folder: Path) -> list[_Part]:
    try:
        state = json.loads((folder / f"{NAME}.json").read_text(encoding="utf-8"))
        if state["format"] > FORMAT:
            raise CheckpointError(f"{folder / NAME}.json is of format {state['format']}, not {FORMAT}; update Temporec")
        arrays = load_file(folder / f"{NAME}.safetensors")
        return [
            _Part(**plain, mean=arrays[f"mean{i}"], scale=float(arrays["scale"][i]))
            for i, plain in enumerate(state["parts"])
        ]
    except (OSError, ValueError, KeyError, TypeError, IndexError, SafetensorError) as error:
        raise CheckpointError(
            f"the scales of text vectors in {folder} are incomplete or damaged ({error}); fit the model again"
        ) from None
