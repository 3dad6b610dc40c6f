"""From a data set to a fitted recommender: inputs, model, training, validation, refit."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from temporec import registry
from temporec.data.dataset import Dataset
from temporec.data.sequences import Sequences
from temporec.data.split import Cases
from temporec.model import SequenceModel
from temporec.recommend.calibration import fit_cold_items
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.inputs import Inputs, build_inputs
from temporec.recommend.neighbours import neighbour_table
from temporec.recommend.profile_fit import encode_users, fit_profiles
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.transfer import Source
from temporec.recommend.validation import sampled, validation_ndcg
from temporec.runtime import RunOptions
from temporec.training.listeners import EpochRecord, Listener
from temporec.training.trainer import Trainer

__all__ = ["Fitted", "fit_recommender"]


@dataclass(frozen=True)
class Fitted:
    """A recommender and how it came about."""

    recommender: NeuralRecommender
    records: list[EpochRecord]
    epochs: int  # that validation chose
    seconds: float
    fade: float = 0.0  # what `cold.fade` was, or what validation chose


def fit_recommender(
    train: Dataset,
    config: FitConfig,
    options: RunOptions,
    valid: Cases | None = None,
    *,
    exclude_seen: bool = True,
    listener: Listener | None = None,
    resume: Path | None = None,
) -> Fitted:
    """Train on a data set; with `valid`, the best epoch by NDCG@10 on it is kept, otherwise all epochs are run."""
    began = time.perf_counter()
    options.apply()
    users = encode_users(train, config, options.seed)
    model, inputs, vectors = _build(train, config, options.seed)
    sequences = _sequences(train, config, vectors)
    trainer = Trainer(config.training, options, listener, resume)
    validate = None if valid is None else _validator(train, valid, config, options, exclude_seen)
    progress = trainer.fit(model, sequences, validate)
    if model.live is not None:
        inputs = inputs.settled(model)
        vectors = model.given[1:].cpu().numpy()
    cold, fade = None, 0.0
    if vectors is not None and config.recommender.kind == "neural":
        spans = inputs.vectors.spans
        cold, fade = fit_cold_items(model, train, vectors, config.cold, valid, spans, exclude_seen)
    recommender = _kind(config)(model, train, exclude_seen, inputs, cold)
    if users is not None:
        recommender.profiles = fit_profiles(recommender, users, config.profiles, options.seed)
    return Fitted(recommender, progress.records, progress.best_epochs, time.perf_counter() - began, fade)


def _build(train: Dataset, config: FitConfig, seed: int) -> tuple[SequenceModel, Inputs, np.ndarray | None]:
    """The model before training, what it was built from, and the text vectors [V, d] of the items."""
    if config.start_from is None:
        inputs, vectors = build_inputs(train, config, config.text, config.cooccurrence, config.features)
        if config.text.tune != "none":
            inputs = inputs.live(train.catalog, seed)
        return _kind(config).new_model(config, inputs, train, vectors, seed), inputs, vectors
    source = Source(config.start_from, config, train.catalog)
    inputs, texts = source.build_inputs(train)
    model = SequenceModel(source.config, inputs.model, seed)
    source.start(model, train, texts)
    return model, inputs, texts


def _kind(config: FitConfig) -> type[NeuralRecommender]:
    kind: type[NeuralRecommender] = registry.get("recommender", config.recommender.kind)
    return kind


def _sequences(train: Dataset, config: FitConfig, vectors: np.ndarray | None) -> Sequences:
    log, augment, neighbours = train.interactions, config.augment, None
    if augment.substitute:
        neighbours = neighbour_table(log, train.catalog.size, vectors, augment.nearest)
    return Sequences(
        log, config.encoder.max_len, config.training.tokens, config.target, config.training.batch, augment, neighbours
    )


def _validator(
    train: Dataset, valid: Cases, config: FitConfig, options: RunOptions, exclude_seen: bool
) -> Callable[[SequenceModel], tuple[float, float]]:
    cases = sampled(valid, config.validation_cases, options.seed)

    def validate(model: SequenceModel) -> tuple[float, float]:
        return validation_ndcg(_kind(config)(model, train, exclude_seen), cases)

    return validate
