"""A version's folder: the model that answers, and in `learner/` what the learner needs to go on from it."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.torch import load_file, save_file

from temporec.data.dataset import Dataset, build_dataset
from temporec.data.interactions import kind_numbers
from temporec.data.split import Target
from temporec.data.vocabulary import Id
from temporec.errors import CheckpointError, ConfigError
from temporec.model import SequenceModel
from temporec.online.continue_training import Continuation, LearnConfig
from temporec.online.replay import Piece, Replay, ReplayConfig
from temporec.online.shadow import Known
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.live_log import LogEvent
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions
from temporec.store.versions import Home

__all__ = ["load_student", "merged", "piece_of", "save_student", "seeded", "twin"]

FOLDER = "learner"


def load_student(
    home: Home, name: str, config: LearnConfig, replay: ReplayConfig, options: RunOptions
) -> tuple[NeuralRecommender, Continuation, Replay, int]:
    """The recommender of a version, its training, its replay buffer, and the log offset from which to read on.

    Raises:
        ConfigError: this kind of recommender does not learn in small steps.
    """
    folder = home.folder(name)
    recommender = Recommender.load(folder)
    if not isinstance(recommender, NeuralRecommender) or recommender.kind != "neural":
        raise ConfigError(
            f"version {name} holds {recommender.kind}, which does not learn in small steps; fit it anew, or choose "
            "--model gru, transformer or another neural model"
        )
    offset = next(info.log_offset for info in home.versions() if info.name == name)
    counts = np.bincount(recommender.log.items, minlength=recommender.catalog.size)
    training = Continuation(twin(recommender), counts, config, options, _target(recommender))
    part = folder / FOLDER
    if not part.is_dir():
        buffer = Replay(replay, options.seed)
        buffer.add(seeded(recommender))
        return recommender, training, buffer, offset
    try:
        training.restore(load_file(part / "training.safetensors"))
        return recommender, training, Replay.load(part / "replay.parquet", replay, options.seed), offset
    except (OSError, KeyError, RuntimeError, pl.exceptions.PolarsError) as error:
        raise CheckpointError(
            f"{part} cannot be read ({error!s:.200}); activate another version, or delete {part} to learn anew from it"
        ) from None


def save_student(folder: Path, recommender: NeuralRecommender, training: Continuation, replay: Replay) -> None:
    """Write a version: the recommender, and beside it the training and the replay buffer."""

    def learner(part: Path) -> None:
        (part / FOLDER).mkdir()
        save_file(training.tensors(), part / FOLDER / "training.safetensors")
        replay.save(part / FOLDER / "replay.parquet")
        plain = {"steps": training.steps, "config": training.config.to_dict()}
        (part / FOLDER / "learner.json").write_text(json.dumps(plain, indent=2), encoding="utf-8")

    recommender.save(folder, learner)


def seeded(recommender: NeuralRecommender) -> list[Piece]:
    """The newest part of every known history as a piece, the users with the oldest last events first."""
    log, reach = recommender.log, recommender.model.config.encoder.max_len + 1
    filled = np.flatnonzero(log.lengths > 1)
    order = filled[np.argsort(log.times[log.offsets[1:][filled] - 1], kind="stable")]
    made = []
    for user, owner in zip(order, recommender.users.decode(order), strict=True):
        span = slice(max(log.offsets[user], log.offsets[user + 1] - reach), log.offsets[user + 1])
        kinds = np.full(span.stop - span.start, -1) if log.kinds is None else log.kinds[span]
        values = np.full(span.stop - span.start, np.nan) if log.values is None else log.values[span]
        known = (log.items[span], log.times[span], kinds, values)
        made.append(piece_of(recommender, owner, known, len(log.items[span])))
    return made


def piece_of(recommender: NeuralRecommender, owner: Id, known: Known, fresh: int) -> Piece:
    """The end of a history, with kinds and values as the model was trained on them."""
    log, inputs = recommender.dataset.interactions, recommender.inputs
    assert inputs is not None
    begin = max(0, len(known[0]) - recommender.model.config.encoder.max_len - fresh)
    items, times, kinds, values = (each[begin:] for each in known)
    mean = inputs.model.options.get("event_value", {}).get("mean", 0.0)
    return Piece(
        str(owner), items, times, min(fresh, len(items)),
        None if log.kind is None else kind_numbers(log.kinds, inputs.kinds)[kinds],
        None if log.value is None else np.nan_to_num(values, nan=mean).astype(np.float32),
    )  # fmt: skip


def merged(dataset: Dataset, events: Sequence[LogEvent], gone: Collection[Id]) -> Dataset:
    """The data set with new events, and without some users: neither their events nor their ids are left."""
    log = dataset.interactions
    if events:
        rows = [(event.user, event.item, event.time, event.kind, event.value) for event in events]
        columns = list(zip(*rows, strict=True))
        users = pl.Series("user", [str(user) for user in columns[0]])
        items = pl.Series("item", [str(item) for item in columns[1]])
        frame = pl.DataFrame(
            {
                "user": users.cast(log.users.ids.dtype),
                "item": items.cast(dataset.catalog.vocabulary.ids.dtype),
                "time": pl.Series(columns[2], dtype=pl.Int64),
                "kind": pl.Series(columns[3], dtype=pl.String),
                "value": pl.Series(columns[4], dtype=pl.Float64),
            }
        )
        dataset = dataset.with_events(frame)
    if not gone:
        return dataset
    log = dataset.interactions
    kept = log.to_frame(dataset.catalog.vocabulary).filter(
        ~pl.col("user").cast(pl.String).is_in([str(user) for user in gone])
    )
    made = build_dataset(kept if log.has_time else kept.drop("time"), dataset.catalog.frame, tuple(log.context))
    return replace(dataset, interactions=made.interactions)


def twin(recommender: NeuralRecommender) -> SequenceModel:
    """A model of its own with the same weights, to train."""
    assert recommender.inputs is not None
    made = SequenceModel(recommender.model.config, recommender.inputs.model)
    made.load_state_dict(recommender.model.state_dict())
    return made


def _target(recommender: NeuralRecommender) -> Target:
    config = recommender.model.config
    return config.target if isinstance(config, FitConfig) else "next_event"
