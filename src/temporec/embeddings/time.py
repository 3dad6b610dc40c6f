"""When an event happened: the gap before it (log buckets) and the calendar (hour of day, day of week)."""

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from temporec.data.batch import SequenceBatch
from temporec.embeddings.base import EmbeddingConfig, EventEmbedding
from temporec.registry import register

__all__ = ["TimeEmbedding", "TimeEmbeddingConfig", "gap_bucket"]

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


class TimeEmbeddingConfig(EmbeddingConfig):
    """Options of the time embedding."""

    kind: Literal["time"] = "time"
    buckets: PositiveInt = 32
    calendar: bool = True


@register("embedding", "time")
class TimeEmbedding(EventEmbedding):
    """Learned vectors for floor(2 log2(1 + dt in minutes)), UTC hour and weekday; they start at zero."""

    Config = TimeEmbeddingConfig

    def __init__(self, config: TimeEmbeddingConfig, dim: int) -> None:
        super().__init__()
        self.config = config
        self.gap = nn.Embedding(config.buckets, dim)
        self.hour = nn.Embedding(24, dim) if config.calendar else None
        self.weekday = nn.Embedding(7, dim) if config.calendar else None
        for table in (self.gap, self.hour, self.weekday):
            if table is not None:
                nn.init.zeros_(table.weight)

    def forward(self, batch: SequenceBatch) -> Tensor:
        x: Tensor = self.gap(gap_bucket(batch.dt, self.config.buckets))
        if self.hour is not None and self.weekday is not None:
            x = x + self.hour((batch.times // HOUR_MS) % 24) + self.weekday((batch.times // DAY_MS + 3) % 7)
        return x


def gap_bucket(dt: Tensor, buckets: int) -> Tensor:
    """Bucket number int64 of a gap in seconds."""
    return (2.0 * torch.log2(1.0 + dt.float().clamp(min=0) / 60.0)).long().clamp(max=buckets - 1)
