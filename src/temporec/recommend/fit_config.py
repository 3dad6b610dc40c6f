"""Everything that decides what a fitted recommender is."""

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny, model_validator

from temporec.config import Config
from temporec.data.augment import AugmentConfig
from temporec.data.features import FeatureConfig
from temporec.data.split import Target
from temporec.errors import ConfigError
from temporec.model import ModelConfig, by_kind
from temporec.recommend.cold import ColdConfig
from temporec.recommend.inputs import CooccurrenceConfig
from temporec.recommend.profile_encoder import ProfileConfig
from temporec.recommend.texts import TextConfig
from temporec.training.trainer import TrainingConfig

__all__ = ["FitConfig", "NeuralConfig", "RecommenderConfig"]


class RecommenderConfig(Config):
    """Options that every kind of trained recommender has; each adds its own in a subclass beside it."""

    kind: str


class NeuralConfig(RecommenderConfig):
    """Items are compared with the hidden state; it has no options of its own."""

    kind: Literal["neural"] = "neural"


Recommenders = Annotated[SerializeAsAny[RecommenderConfig], by_kind("recommender")]


class FitConfig(ModelConfig):
    """Everything that decides what a fitted recommender is."""

    recommender: Recommenders = Field(default_factory=NeuralConfig)  # how hidden states become items
    text: TextConfig = TextConfig()
    cooccurrence: CooccurrenceConfig = CooccurrenceConfig()
    cold: ColdConfig = Field(default_factory=lambda: ColdConfig.of({}))
    features: FeatureConfig = FeatureConfig()  # of the items, off unless columns are named
    profiles: ProfileConfig = Field(default_factory=lambda: ProfileConfig.of({}))  # of users, from a users table
    augment: AugmentConfig = Field(default_factory=lambda: AugmentConfig.of({}))  # of the training histories, off
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig.of({}))
    target: Target = "next_event"
    start_from: str | None = None  # folder of a fitted model to go on from; item texts are the bridge
    validation_cases: int = Field(20_000, ge=1)  # more are sampled, with the seed

    @model_validator(mode="after")
    def _tunable(self) -> "FitConfig":
        if self.text.tune != "none" and (self.fuse in ("start", "one_hot") or self.recommender.kind != "neural"):
            raise ConfigError(
                f"text.tune={self.text.tune} needs an item table that is made of text vectors: fuse=add, concat, gate "
                f"or only, and recommender=neural; this is fuse={self.fuse}, recommender={self.recommender.kind}"
            )
        return self

    @property
    def name(self) -> str:
        """What to call it: its encoder, or its kind of recommender where that is not the plain one."""
        return self.encoder.kind if self.recommender.kind == "neural" else self.recommender.kind
