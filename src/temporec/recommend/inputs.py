"""What a data set contributes to a model: text vectors for the id table, event kinds, the scale of values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveInt, field_validator

from temporec.config import Config
from temporec.data.catalog import Catalog
from temporec.data.dataset import Dataset
from temporec.data.text_vectors import TextVectorConfig, TextVectorizer, Whitener
from temporec.errors import ConfigError
from temporec.model import ModelConfig, ModelInputs

__all__ = ["TextConfig", "TextVectors", "build_inputs"]


class TextConfig(Config):
    """Where item vectors come from: `tfidf` (the core's own), `none`, or `given` vector columns of the items table."""

    encoder: Literal["tfidf", "none", "given"] = "tfidf"
    columns: tuple[str, ...] | None = None  # text, category or vector columns; None = all of the role
    dim: PositiveInt = 256  # of the SVD

    @field_validator("columns", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


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


def build_inputs(dataset: Dataset, config: ModelConfig, text: TextConfig) -> tuple[ModelInputs, TextVectors]:
    """Fit the transforms on a (training) data set and give what the model needs."""
    vectors = TextVectors(text)
    raw = vectors.fit(dataset.catalog)
    start = projected = None
    if raw is not None and config.fuse == "start":
        start = torch.from_numpy(Whitener.fit(raw, config.encoder.dim).transform(raw))
    elif raw is not None:
        projected = torch.from_numpy(raw)
    log = dataset.interactions
    options: dict[str, dict[str, Any]] = {"event_kind": {"kinds": len(log.kinds)}}
    if log.value is not None:
        options["event_value"] = {"mean": float(np.nanmean(log.value)), "std": float(np.nanstd(log.value))}
    return ModelInputs(dataset.catalog.size, start, projected, options=options), vectors
