"""Going on from a model of another log: items meet through their texts, the temporal core is taken over."""

import numpy as np
import torch

from temporec.data.dataset import Dataset
from temporec.errors import ConfigError
from temporec.model import ModelInputs, SequenceModel
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.inputs import Inputs
from temporec.recommend.recommender import NeuralRecommender

__all__ = ["Source"]


class Source:
    """A saved model whose texts, encoder and head start another one.

    Raises:
        ConfigError: the folder holds no model with texts, or its network is not the one that `config` describes.
    """

    def __init__(self, folder: str, config: FitConfig) -> None:
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
        self.recommender, self.cold, self.inputs = recommender, recommender.cold, recommender.inputs

    def build_inputs(self, train: Dataset) -> tuple[Inputs, np.ndarray]:
        """Inputs of the new model, and the text vectors [V, d] of its items in the space of the old one."""
        texts = self.inputs.vectors.transform_catalog(train.catalog)
        log = train.interactions
        if "event_kind" in self.recommender.model.config.events and log.kinds != self.inputs.kinds:
            raise ConfigError(f"the model knows the event kinds {self.inputs.kinds}, this log has {log.kinds}")
        has_events = np.bincount(log.item, minlength=train.catalog.size)[1:] > 0
        released = torch.from_numpy(has_events | ~texts.any(axis=1))
        model = ModelInputs(train.catalog.size, released=released, options=self.inputs.model.options)
        return Inputs(model, self.inputs.vectors, None, log.kinds), texts

    @torch.no_grad()
    def start(self, model: SequenceModel, train: Dataset, texts: np.ndarray) -> None:
        """Copy the temporal core; item rows come from the old model where it knows the id, else from the text."""
        old = self.recommender.model.state_dict()
        model.load_state_dict({name: own if name.startswith("items.") else old[name] for name, own in
                               model.state_dict().items()})  # fmt: skip
        rows = model.get_parameter("items.0.weight")
        placed = self.cold.text_map(texts)
        said = placed.any(dim=1)
        rows[1:][said] = placed[said]
        shared = self.recommender.catalog.vocabulary.encode(train.catalog.vocabulary.ids.to_list(), unknown="zero")
        known = np.flatnonzero(shared)
        rows[1 + torch.from_numpy(known)] = self.recommender.model.item_table()[torch.from_numpy(shared[known]).long()]
