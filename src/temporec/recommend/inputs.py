"""What a data set contributes to a model: text vectors, features of the items, event kinds, the scale of values."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from temporec.config import Config, Names
from temporec.data.catalog import Catalog
from temporec.data.cooccurrence import cooccurrence_vectors
from temporec.data.dataset import Dataset
from temporec.data.features import FeatureConfig, FeatureEncoder
from temporec.data.text_vectors import TextVectorConfig, TextVectorizer, Whitener
from temporec.errors import ConfigError
from temporec.model import ModelConfig, ModelInputs

__all__ = ["CooccurrenceConfig", "Inputs", "TextConfig", "TextVectors", "build_inputs"]


class TextConfig(Config):
    """Where item vectors come from: `tfidf` (the core's own), `none`, or `given` vector columns of the items table."""

    encoder: Literal["tfidf", "none", "given"] = "tfidf"
    columns: Names | None = None  # text, category or vector columns; None = all of the role
    dim: PositiveInt = 256  # of the SVD


class CooccurrenceConfig(Config):
    """Vectors from the order of the training log; beside the text they start the id table (`fuse="start"`)."""

    weight: NonNegativeFloat = 0.5  # their length beside that of the text vectors; 0 = off
    reach: PositiveInt = 5  # events apart
    dim: PositiveInt = 256  # of the SVD


class TextVectors:
    """Item vectors of a catalog, fitted once; items added later go through the same transform."""

    def __init__(self, config: TextConfig, seed: int = 0) -> None:
        self.config = config
        self.vectorizer = TextVectorizer(TextVectorConfig(dim=config.dim, seed=seed))
        self.fitted = False

    def fit(self, catalog: Catalog) -> np.ndarray | None:
        """Vectors float32 [V, d]; None where the catalog has nothing to say or the config does not want it."""
        if self.config.encoder == "none":
            return None
        if self.config.encoder == "given":
            return given_vectors(catalog, self.config.columns)
        texts = catalog.texts(self.config.columns)
        self.fitted = any(texts)
        return self.vectorizer.fit_transform(texts) if self.fitted else None

    def transform(self, catalog: Catalog) -> np.ndarray | None:
        """Vectors float32 [V, d] of other items, by what was fitted; None where nothing was."""
        if self.config.encoder == "given":
            return given_vectors(catalog, self.config.columns)
        return self.vectorizer.transform(catalog.texts(self.config.columns)) if self.fitted else None

    def save(self, folder: Path) -> None:
        """Write the fitted transform, where there is one."""
        if self.fitted:
            self.vectorizer.save(folder)

    @classmethod
    def load(cls, folder: Path, config: TextConfig) -> "TextVectors":
        """The fitted transform of a saved folder."""
        made = cls(config)
        if (folder / "text_vectors.json").exists():
            made.vectorizer, made.fitted = TextVectorizer.load(folder), True
        return made


def given_vectors(catalog: Catalog, columns: Sequence[str] | None) -> np.ndarray:
    """Vector columns joined, float32 [V, d]; a missing vector is zero, non-finite numbers are refused."""
    names = list(columns) if columns else catalog.columns("vector")
    if not names:
        raise ConfigError("text.encoder=given needs a column of vectors (lists of numbers) in the items table")
    parts = []
    for name in names:
        rows = catalog.frame[name].to_list()
        width = max((len(row) for row in rows if row is not None), default=0)
        wrong = next((i for i, row in enumerate(rows) if row is not None and len(row) != width), None)
        if wrong is not None or width == 0:
            raise ConfigError(
                f"vectors in column {name!r} must all have one width; item row {wrong} differs from {width}"
            )
        parts.append(np.asarray([row if row is not None else [0.0] * width for row in rows], dtype=np.float32))
    joined = np.concatenate(parts, axis=1)
    if not np.isfinite(joined).all():
        raise ConfigError(f"vectors in {', '.join(names)} hold NaN or infinite numbers; clean them first")
    return joined


@dataclass(frozen=True)
class Inputs:
    """What the training data contributed: the inputs that the model is built from, and the fitted transforms."""

    model: ModelInputs
    vectors: TextVectors
    features: FeatureEncoder | None = None
    kinds: tuple[str, ...] = ()  # of the training events; their numbers are places in this list

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the fitted transforms; returns plain values for the rest."""
        self.vectors.save(folder)
        if self.features is not None:
            text = json.dumps(self.features.to_dict(), ensure_ascii=False)
            (folder / "features.json").write_text(text, encoding="utf-8")
        width = None if self.model.vectors is None else int(self.model.vectors.shape[1])
        return {"event_options": self.model.options, "vector_dim": width, "kinds": list(self.kinds)}

    @classmethod
    def load(cls, folder: Path, plain: dict[str, Any], catalog: Catalog, text: TextConfig) -> Self:
        """The inverse of `save`; given vectors are zeros, because they stand among the weights."""
        width, path = plain["vector_dim"], folder / "features.json"
        vectors = None if width is None else torch.zeros(len(catalog), width)
        encoder = FeatureEncoder.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
        features = None if encoder is None else encoder.transform(catalog)
        model = ModelInputs(catalog.size, None, vectors, features, options=plain["event_options"])
        return cls(model, TextVectors.load(folder, text), encoder, tuple(plain.get("kinds", ())))


def build_inputs(
    dataset: Dataset, config: ModelConfig, text: TextConfig, cooccurrence: CooccurrenceConfig, features: FeatureConfig
) -> tuple[Inputs, np.ndarray | None]:
    """Fit the transforms on a (training) data set: what the model needs, and the item vectors [V, d] before any use."""
    vectors = TextVectors(text)
    raw = vectors.fit(dataset.catalog)
    start = projected = None
    if config.fuse == "start":
        start = _start(dataset, raw, cooccurrence, config.encoder.dim)
    elif raw is not None:
        projected = torch.from_numpy(raw)
    log = dataset.interactions
    encoder = None
    if features.columns is None or features.columns:
        encoder = FeatureEncoder(features).fit(dataset.catalog.restrict(log.item))
    described = None if encoder is None else encoder.transform(dataset.catalog)
    options: dict[str, dict[str, Any]] = {"event_kind": {"kinds": len(log.kinds)}}
    if log.value is not None and np.isfinite(log.value).any():
        options["event_value"] = {"mean": float(np.nanmean(log.value)), "std": float(np.nanstd(log.value))}
    model = ModelInputs(dataset.catalog.size, start, projected, described, options=options)
    return Inputs(model, vectors, encoder, log.kinds), raw


def _start(dataset: Dataset, text: np.ndarray | None, config: CooccurrenceConfig, dim: int) -> Tensor | None:
    """Text and co-occurrence vectors side by side, whitened to the width of the model."""
    parts = [] if text is None else [text]
    if config.weight:
        log, size = dataset.interactions, dataset.catalog.size
        parts.append(config.weight * cooccurrence_vectors(log, size, config.dim, config.reach))
    if not parts:
        return None
    joined = np.concatenate(parts, axis=1)
    return torch.from_numpy(Whitener.fit(joined, dim).transform(joined))
