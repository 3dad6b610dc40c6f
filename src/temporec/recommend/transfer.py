"""Going on from a model of another log: items meet through their texts, the temporal core is taken over."""

import numpy as np
import torch

from temporec.data.catalog import Catalog
from temporec.data.dataset import Dataset
from temporec.errors import ConfigError
from temporec.model import ModelInputs, SequenceModel
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.inputs import Inputs
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.texts import TextConfig

__all__ = ["Source"]


class Source:
    """A saved model whose texts, encoder and head start another one.

    Attributes:
        config: of the new model: its texts are encoded as those of the old one. Which columns they come from may be
            said anew, because another shop has others.

    Raises:
        ConfigError: the folder holds no model with texts, or its network is not the one that `config` describes.
    """

    def __init__(self, folder: str, config: FitConfig, catalog: Catalog) -> None:
        recommender = Recommender.load(folder)
        if not isinstance(recommender, NeuralRecommender) or recommender.cold is None or recommender.inputs is None:
            raise ConfigError(f"{folder} cannot start another model: that takes a model fitted with item texts")
        own = recommender.model.config
        for name in ("recommender", "encoder", "head", "events", "fuse", "residual", "norm"):
            if getattr(own, name) != getattr(config, name) or own.fuse != "start":
                raise ConfigError(
                    f"{folder} has {name}={getattr(own, name)}, this fit {name}={getattr(config, name)}; a fit that "
                    "goes on from a model needs the same network, with fuse=start"
                )
        if recommender.inputs.features is not None or config.features.columns != ():
            raise ConfigError(
                "a fit that goes on from a model knows items by id and text; leave features.columns empty"
            )
        assert isinstance(own, FitConfig)
        self.recommender, self.cold, self.inputs = recommender, recommender.cold, recommender.inputs
        self.config = config.override({"text": _texts(folder, own.text, config.text, catalog).to_dict()})

    def build_inputs(self, train: Dataset) -> tuple[Inputs, np.ndarray]:
        """Inputs of the new model, and the text vectors [V, d] of its items in the space of the old one."""
        vectors = self.inputs.vectors.reading(self.config.text)
        texts = vectors.transform_catalog(train.catalog)
        log = train.interactions
        if "event_kind" in self.recommender.model.config.events and log.kinds != self.inputs.kinds:
            raise ConfigError(f"the model knows the event kinds {self.inputs.kinds}, this log has {log.kinds}")
        has_events = np.bincount(log.item, minlength=train.catalog.size)[1:] > 0
        released = torch.from_numpy(has_events | ~texts.any(axis=1))
        model = ModelInputs(train.catalog.size, released=released, options=self.inputs.model.options)
        return Inputs(model, vectors, None, log.kinds), texts

    @torch.no_grad()
    def start(self, model: SequenceModel, train: Dataset, texts: np.ndarray) -> None:
        """Copy the temporal core; item rows come from the old model where it has learned the id, else from the text."""
        old = self.recommender.model.state_dict()
        model.load_state_dict({name: own if name.startswith("items.") else old[name] for name, own in
                               model.state_dict().items()})  # fmt: skip
        rows = model.get_parameter("items.0.weight")
        placed = self.cold.text_map(texts)
        said = placed.any(dim=1)
        rows[1:][said] = placed[said]
        shared = self.recommender.catalog.vocabulary.encode(train.catalog.vocabulary.ids.to_list(), unknown="zero")
        known = np.flatnonzero((shared > 0) & self.cold.trained[shared - 1])
        rows[1 + torch.from_numpy(known)] = self.recommender.model.item_table()[torch.from_numpy(shared[known]).long()]


def _texts(folder: str, own: TextConfig, given: TextConfig, catalog: Catalog) -> TextConfig:
    """How the new items are read: as the old ones, from the given columns, else from the same ones, else from all."""
    plain, old = TextConfig(), own.to_dict()
    for name, value in given.to_dict().items():
        if name not in ("columns", "template") and value not in (old[name], plain.to_dict()[name]):
            raise ConfigError(
                f"{folder} has text.{name}={old[name]}, this fit {value}; a fit that goes on from a model reads texts "
                "as that one does; only text.columns and text.template may be others"
            )
    source = given if given.columns or given.template else own
    if source is own and not set(own.columns or ()) <= set(catalog.frame.columns):
        source = plain
    return own.override({"columns": source.columns, "template": source.template})
