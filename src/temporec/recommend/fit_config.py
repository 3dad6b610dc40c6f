"""Everything that decides what a fitted recommender is."""

from pydantic import Field

from temporec.data.split import Target
from temporec.model import ModelConfig
from temporec.recommend.inputs import TextConfig
from temporec.training.trainer import TrainingConfig

__all__ = ["FitConfig"]


class FitConfig(ModelConfig):
    """Everything that decides what a fitted recommender is."""

    text: TextConfig = TextConfig()
    training: TrainingConfig = Field(default_factory=lambda: TrainingConfig.of({}))
    target: Target = "next_event"
    validation_cases: int = Field(20_000, ge=1)  # more are sampled, with the seed
