"""SequenceModel = embedding + encoder + head: from a batch of events to scores of all items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BeforeValidator, Field, SerializeAsAny
from torch import Tensor, nn

from temporec import registry
from temporec.config import Config, Names
from temporec.data.batch import SequenceBatch
from temporec.data.features import Features
from temporec.embeddings.base import EventEmbedding, ItemEmbedding, VectorTable
from temporec.embeddings.features import FeatureEmbedding, FeatureEmbeddingConfig
from temporec.embeddings.fuse import FusedEmbedding, FusedEmbeddingConfig
from temporec.embeddings.ids import IdEmbedding, IdEmbeddingConfig
from temporec.embeddings.live import LiveVectors
from temporec.embeddings.one_hot import OneHotEmbedding, OneHotEmbeddingConfig
from temporec.embeddings.vectors import VectorEmbedding, VectorEmbeddingConfig
from temporec.encoders.base import EncoderConfig, State, Steps, dropout
from temporec.errors import ConfigError
from temporec.heads.next_item import NextItemHead, NextItemHeadConfig
from temporec.losses.base import LossConfig, Negatives
from temporec.runtime import generator

__all__ = ["ModelConfig", "ModelInputs", "SequenceModel", "by_kind", "grown"]


def by_kind(kind: str) -> BeforeValidator:
    """Turn `{kind: NAME, ...}` or just `NAME` into the config class that NAME registered."""

    def build(value: Any) -> Any:
        if isinstance(value, str):
            value = {"kind": value}
        if not isinstance(value, dict):
            return value
        if "kind" not in value:
            raise ConfigError(f"{kind} needs a kind; known: {', '.join(registry.names(kind))}")
        return registry.get(kind, value["kind"]).Config.of(value)

    return BeforeValidator(build)


Encoder = Annotated[SerializeAsAny[EncoderConfig], by_kind("encoder")]
Losses = Annotated[SerializeAsAny[LossConfig], by_kind("loss")]


class ModelConfig(Config):
    """What the network is made of. `encoder.dim` is the width everywhere.

    `fuse`: "start" - given vectors (text) start the id table; "add", "concat", "gate" - the table is made of ids and
    projected vectors (see `FusedEmbedding`); "only" - projected vectors without ids; "one_hot" - unit vectors. Features
    of the items, where chosen, are added to each.
    """

    encoder: Encoder = Field(default_factory=lambda: registry.get("encoder", "transformer").Config())
    head: NextItemHeadConfig = NextItemHeadConfig()
    loss: Losses = Field(default_factory=lambda: registry.get("loss", "cross_entropy").Config())
    ids: IdEmbeddingConfig = IdEmbeddingConfig()
    events: Names = ()  # event embeddings by name: time, event_kind, event_value
    fuse: Literal["start", "add", "concat", "gate", "only", "one_hot"] = (
        "start"  # how ids and given vectors make the item table
    )
    dropout: float = Field(0.3, ge=0.0, lt=1.0)  # on the event vectors and on the encoder's output
    residual: bool = True  # encoder output + event vector, unless the encoder adds it itself
    norm: bool = True  # LayerNorm before the head


@dataclass(frozen=True)
class ModelInputs:
    """What the training data contributes to the build of a model.

    Args:
        size: items + 1 (PAD).
        start: vectors [V, D] that start the id table (`fuse="start"`).
        vectors: vectors [V, d] that are projected (`fuse="add" | "concat" | "gate" | "only"`).
        released: bool [V], the items that stand in the softmax of the training; None = all.
        features: categories and numbers of the items, added to the table.
        live: makes some of `vectors` anew while the model is trained.
        classes: outputs of an untied head + 1, where they are not the items themselves.
        options: further options of event embeddings by name, such as {"event_kind": {"kinds": 3}}.
    """

    size: int
    start: Tensor | None = None
    vectors: Tensor | None = None
    features: Features | None = None
    released: Tensor | None = None
    live: LiveVectors | None = None
    classes: int | None = None
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


class SequenceModel(nn.Module):
    """A batch of events [B, T] -> states [B, T, D] -> scores over all items."""

    released: Tensor | None

    def __init__(self, config: ModelConfig, inputs: ModelInputs, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        dim = config.encoder.dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(generator(seed, 11).initial_seed()))
            self.items = nn.ModuleList(_item_embeddings(config, inputs, dim, seed))
            self.events = nn.ModuleList(_event_embeddings(config.events, inputs, dim))
            self.encoder = registry.get("encoder", config.encoder.kind)(config.encoder)
            self.head = NextItemHead(config.head, dim, inputs.classes or inputs.size)
            self.norm = nn.LayerNorm(dim) if config.norm else nn.Identity()
        self.live = inputs.live
        self.criterion = registry.get("loss", config.loss.kind)(config.loss)
        kept, rows = inputs.released if config.head.tied else None, None
        if kept is not None and not kept.all():
            rows = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + torch.nonzero(kept)[:, 0]])
        self.register_buffer("released", rows, persistent=False)  # items in the softmax of the training, PAD first

    def item_table(self, vectors: Tensor | None = None) -> Tensor:
        """Input vectors of all items [V, D], for once from other `vectors` [V, d] than the given ones."""
        parts: list[Tensor] = []
        for item in self.items:
            if vectors is not None and isinstance(item, VectorTable):
                parts.append(item.of(vectors))
            elif isinstance(item, ItemEmbedding):
                parts.append(item.table())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)

    @property
    def given(self) -> Tensor:
        """The given vectors [V, d] that the item table is made of."""
        return next(item.vectors for item in self.items if isinstance(item, VectorTable))

    def renew(self) -> Iterator[tuple[int, int]]:
        """Make given vectors anew where their encoder learns; how many of how many are done."""
        return iter(()) if self.live is None else self.live.refresh(self.given)

    def item_vectors(self) -> Tensor:
        """Output vectors of all items [V, D], ready to be compared with queries."""
        return self.head.item_vectors(self.item_table())

    def embed(self, batch: SequenceBatch, table: Tensor) -> Tensor:
        """Event vectors [B, T, D]; zero at padded positions."""
        x = F.embedding(batch.items, table)
        if len(self.events):
            extra = torch.stack([event(batch).expand_as(x) for event in self.events]).sum(dim=0)
            x = x + extra * batch.mask[..., None]
        return dropout(x, self.config.dropout, self.training)

    def hidden(self, batch: SequenceBatch, table: Tensor | None = None) -> Tensor:
        """States [B, T, D]; state t has seen events 0..t."""
        x = self.embed(batch, self.item_table() if table is None else table)
        return self._finish(self.encoder(Steps(x, batch.dt, batch.lengths)), x)

    def _finish(self, h: Tensor, x: Tensor) -> Tensor:
        """Dropout, residual and LayerNorm of encoder outputs h for event vectors x.

        The residual path is not dropped: where the encoder has added x itself, dropout falls on what it added to x.
        """
        skip = x if self.config.residual else torch.zeros((), device=x.device)
        own = h - skip if self.encoder.adds_input else h
        result: Tensor = self.norm(skip + dropout(own, self.config.dropout, self.training))
        return result

    def last_hidden(self, batch: SequenceBatch, table: Tensor | None = None) -> Tensor:
        """State after the last event of every history [B, D] (of a zero history: undefined)."""
        h = self.hidden(batch, table)
        return h[torch.arange(len(h), device=h.device), (batch.lengths - 1).clamp(min=0)]

    def query(self, batch: SequenceBatch, table: Tensor | None = None) -> Tensor:
        """What is compared with `item_vectors`, after the last event [B, D]."""
        gap = None
        if batch.gap is not None:
            gap = batch.gap.gather(1, (batch.lengths - 1).clamp(min=0)[:, None])[:, 0]
        return self.head.query(self.last_hidden(batch, table), gap)

    def advance(self, batch: SequenceBatch, state: State, table: Tensor) -> tuple[Tensor, State]:
        """More events of every row, as many for each: (state [B, D] after the last, next encoder state)."""
        x = self.embed(batch, table)
        h, state = self.encoder.advance(x, batch.dt, state)
        return self._finish(h, x[:, -1]), state

    def loss(self, batch: SequenceBatch, negatives: Negatives | None = None) -> Tensor:
        """Mean loss over all positions that have a target."""
        if batch.targets is None:
            raise ConfigError("this batch has no targets; take batches from Sequences")
        table = self.item_table(None if self.live is None else self.live(self.given, batch))
        valid = batch.targets > 0
        hidden, targets = self.hidden(batch, table)[valid], batch.targets[valid]
        gap = None if batch.gap is None else batch.gap[valid]
        vectors = self.head.item_vectors(table)
        if self.released is not None:
            place = torch.zeros(len(vectors), dtype=torch.int64, device=vectors.device)
            place[self.released] = torch.arange(len(self.released), device=vectors.device)
            vectors, targets = vectors[self.released], place[targets]
            if negatives is not None:
                negatives = Negatives(place[negatives.items], negatives.log_q[self.released])
        value: Tensor = self.criterion(self.head.query(hidden, gap), vectors, targets, self.head.bias, negatives)
        return value


def grown(model: SequenceModel, inputs: ModelInputs) -> SequenceModel:
    """The same weights for a catalog with new items behind the known ones; their own rows are zero."""
    made = SequenceModel(model.config, inputs)
    own, learned = made.state_dict(), {name for name, _ in made.named_parameters()}
    for name, old in model.state_dict().items():
        if own[name].shape == old.shape:
            own[name].copy_(old)
            continue
        own[name][: len(old)].copy_(old)
        if name in learned:
            own[name][len(old) :].zero_()
    return made.to(next(model.parameters()).device).eval()


def _item_embeddings(config: ModelConfig, inputs: ModelInputs, dim: int, seed: int) -> list[ItemEmbedding]:
    parts: list[ItemEmbedding] = []
    source = generator(seed, 1)
    if config.fuse == "one_hot":
        parts.append(OneHotEmbedding(OneHotEmbeddingConfig(), dim, inputs.size))
    elif config.fuse == "only":
        if inputs.vectors is not None:
            options = VectorEmbeddingConfig()
            parts.append(VectorEmbedding(options, dim, inputs.size, generator=source, start=inputs.vectors))
    elif config.fuse == "start" or inputs.vectors is None:
        parts.append(IdEmbedding(config.ids, dim, inputs.size, generator=source, start=inputs.start))
    else:
        fused = FusedEmbeddingConfig(how=config.fuse, std=config.ids.std)
        parts.append(FusedEmbedding(fused, dim, inputs.size, generator=source, start=inputs.vectors))
    if inputs.features is not None:
        own = FeatureEmbeddingConfig()
        source = generator(seed, 3)
        parts.append(FeatureEmbedding(own, dim, inputs.size, generator=source, features=inputs.features))
    if not parts:
        raise ConfigError(
            "fuse 'only' needs item vectors; give an items table with text or features, or choose fuse=start"
        )
    return parts


def _event_embeddings(names: Sequence[str], inputs: ModelInputs, dim: int) -> list[EventEmbedding]:
    built = []
    for name in names:
        cls = registry.get("embedding", name)
        if not issubclass(cls, EventEmbedding):
            raise ConfigError(f"{name!r} is not an event embedding; use time, event_kind or event_value")
        built.append(cls(cls.Config.of({"kind": name, **inputs.options.get(name, {})}), dim))
    return built
