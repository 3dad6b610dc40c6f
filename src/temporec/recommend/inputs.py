"""What a data set contributes to a model: text vectors, features of the items, event kinds, the scale of values."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from temporec.config import Config
from temporec.data.catalog import Catalog
from temporec.data.cooccurrence import cooccurrence_vectors
from temporec.data.dataset import Dataset
from temporec.data.features import FeatureConfig, FeatureEncoder
from temporec.data.text_vectors import Whitener
from temporec.model import ModelConfig, ModelInputs, SequenceModel
from temporec.recommend.texts import TextConfig, TextVectors

__all__ = ["CooccurrenceConfig", "Inputs", "build_inputs"]


class CooccurrenceConfig(Config):
    """Vectors from the order of the training log; beside the text they start the id table (`fuse="start"`)."""

    weight: NonNegativeFloat = 0.5  # their length beside that of the text vectors; 0 = off
    reach: PositiveInt = 5  # events apart
    dim: PositiveInt = 256  # of the SVD


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

    def extended(self, catalog: Catalog, texts: np.ndarray) -> Self:
        """For a catalog with new items behind the known ones, whose text vectors [n, d] are given."""
        vectors = self.model.vectors
        if vectors is not None:
            vectors = torch.cat([vectors, torch.from_numpy(texts)])
        features = None if self.features is None else self.features.transform(catalog)
        return replace(self, model=ModelInputs(catalog.size, None, vectors, features, options=self.model.options))

    def live(self, catalog: Catalog, seed: int) -> Self:
        """For a model that trains the encoder of its texts too."""
        return replace(self, model=replace(self.model, live=self.vectors.live(catalog, self.model.released, seed)))

    def settled(self, model: SequenceModel) -> Self:
        """After such a training: the encoder becomes a fixed one again, and the model an ordinary one."""
        assert model.live is not None
        self.vectors.adopt(model.live)
        model.live = None
        return replace(self, model=replace(self.model, live=None, vectors=model.given[1:].cpu()))

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
    released = None
    if raw is not None:  # an item without events waits for its text to place it, and is not pushed away meanwhile
        has_events = np.bincount(log.item, minlength=dataset.catalog.size)[1:] > 0
        released = torch.from_numpy(has_events | ~raw.any(axis=1))
    model = ModelInputs(dataset.catalog.size, start, projected, described, released, options=options)
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
