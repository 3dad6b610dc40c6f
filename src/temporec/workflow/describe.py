"""describe: the stages of a fitted model with shapes and parameters, and a Mermaid graph."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from temporec.errors import ConfigError
from temporec.recommend.base import Recommender
from temporec.recommend.recommender import NeuralRecommender

__all__ = ["Description", "Stage", "describe"]


@dataclass(frozen=True)
class Stage:
    """One stage: its name, what it is, the shape that it gives, and its own parameters."""

    name: str
    what: str
    shape: str
    parameters: int


@dataclass(frozen=True)
class Description:
    """All stages of a model, in the way of the data."""

    stages: tuple[Stage, ...]

    @property
    def parameters(self) -> int:
        return sum(stage.parameters for stage in self.stages)

    def mermaid(self) -> str:
        """A graph that Markdown pages of GitHub and GitLab draw."""
        lines = ["graph LR"]
        for i, stage in enumerate(self.stages):
            lines.append(f'  s{i}["{stage.name}<br/>{stage.what}<br/>{stage.shape}"]')
            if i:
                lines.append(f"  s{i - 1} --> s{i}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "parameters": self.parameters,
            "mermaid": self.mermaid(),
        }

    def to_text(self) -> str:
        width = max(len(stage.name) for stage in self.stages)
        what = max(len(stage.what) for stage in self.stages)
        shape = max(len(stage.shape) for stage in self.stages)
        rows = [f"{s.name:<{width}}  {s.what:<{what}}  {s.shape:<{shape}}  {s.parameters:>12,}" for s in self.stages]
        total = f"{'total':<{width}}  {'':<{what}}  {'':<{shape}}  {self.parameters:>12,}"
        return "\n".join([*rows, total, "", "```mermaid", self.mermaid(), "```"])


def describe(folder: str | Path) -> Description:
    """The stages of the model in a folder that `fit` wrote."""
    recommender = Recommender.load(folder)
    if not isinstance(recommender, NeuralRecommender):
        raise ConfigError(f"{folder} holds the baseline {recommender.kind!r}, which has no stages")
    model, config = recommender.model, recommender.model.config
    dim, length, size = config.encoder.dim, config.encoder.max_len, recommender.catalog.size
    what, head = recommender.head
    steps = f"[B, T <= {length}, {dim}]"
    item_parts = " + ".join(type(part).__name__ for part in model.items)
    return Description(
        (
            Stage("events", "item numbers, time gaps", f"[B, T <= {length}]", 0),
            Stage("embedding", item_parts, steps, _count(model.items)),
            *(Stage("event", type(part).__name__, steps, _count(part)) for part in model.events),
            Stage("encoder", f"{config.encoder.kind} x {config.encoder.layers}", steps, _count(model.encoder)),
            Stage("norm", "LayerNorm" if config.norm else "none", steps, _count(model.norm)),
            Stage("head", what, f"[B, {size - 1:,} items]", _count(head)),
            Stage("softmax", f"loss {config.loss.kind}", "probabilities", 0),
        )
    )


def _count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
