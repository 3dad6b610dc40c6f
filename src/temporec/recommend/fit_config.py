"""Everything that decides what a fitted recommender is."""

from pydantic import Field

from temporec.data.augment import AugmentConfig
from temporec.data.features import FeatureConfig
from temporec.data.split import Target
from temporec.model import ModelConfig
from temporec.recommend.cold import ColdConfig
from temporec.recommend.inputs import CooccurrenceConfig
from temporec.recommend.texts import TextConfig
from temporec.training.trainer import TrainingConfig

__all__ = ["FitConfig"]


class FitConfig(ModelConfig):
    """Everything that decides what a fitted recommender is."""

    text: TextConfig = TextConfig()
    cooccurrence: CooccurrenceConfig = CooccurrenceConfig()
    cold: ColdConfig = Field(default_factory=lambda: ColdConfig.of({}))
    features: FeatureConfig = FeatureConfig()  # of the items, off unless columns are named
    augment: AugmentConfig = Field(default_factory=lambda: AugmentConfig.of({}))  # of the training histories, off
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig.of({}))
    target: Target = "next_event"
    start_from: str | None = None  # folder of a fitted model to go on from; item texts are the bridge
    validation_cases: int = Field(20_000, ge=1)  # more are sampled, with the seed
