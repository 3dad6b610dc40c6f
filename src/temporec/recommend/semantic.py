"""Recommending by generation: the codes of the next item, one after the other, among those that exist."""

from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from temporec import registry
from temporec.data.batch import Histories, SequenceBatch
from temporec.data.cooccurrence import cooccurrence_vectors
from temporec.data.dataset import Dataset
from temporec.data.semantic_ids import CodeTree, SemanticIds
from temporec.embeddings.codes import CodeEmbedding, CodeEmbeddingConfig
from temporec.errors import ConfigError
from temporec.heads.codes import CodeHead, CodeHeadConfig
from temporec.losses.base import Negatives
from temporec.model import ModelConfig, ModelInputs, SequenceModel
from temporec.ranking.beam import Logits, beam_search, item_log_probabilities
from temporec.recommend.base import DIVERSE
from temporec.recommend.fit_config import FitConfig, RecommenderConfig
from temporec.recommend.inputs import Inputs
from temporec.recommend.query import Query
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import generator

__all__ = ["SemanticConfig", "SemanticModel", "SemanticRecommender"]


class SemanticConfig(RecommenderConfig):
    """Options of semantic ids.

    Args:
        levels: codes of an item, the last one aside, which tells items apart that share all others.
        codes: centroids of each level.
        beam: prefixes that `recommend` keeps on each level; at least the number of items asked for.
    """

    kind: Literal["semantic"] = "semantic"
    levels: PositiveInt = 3
    codes: PositiveInt = 256
    beam: PositiveInt = 50


class SemanticModel(SequenceModel):
    """A SequenceModel over codes: items enter as the sum of their code vectors and leave code by code.

    After TIGER (Rajput et al. 2023), with deviations: the temporal encoder reads one vector per event, not one token
    per code; a code is predicted by a small head per level, not by a decoder; the softmax at each prefix is over the
    codes that training items have there. Items of no training event are thus never pushed down.
    """

    node: Tensor

    def __init__(
        self, config: ModelConfig, inputs: ModelInputs, ids: SemanticIds, trained: np.ndarray, seed: int = 0
    ) -> None:
        """`trained`: item numbers that the training log has."""
        super().__init__(config.override({"fuse": "start"}), ModelInputs(2, options=inputs.options), seed)
        self.config, self.ids, dim = config, ids, config.encoder.dim
        sizes = [len(book) for book in ids.codebooks]
        sizes.append(max(sizes))
        codes = torch.from_numpy(ids.codes.astype(np.int64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(seed, 12).initial_seed())
            embedding = CodeEmbedding(CodeEmbeddingConfig(std=config.ids.std), dim, sizes, codes)
            self.codes = CodeHead(CodeHeadConfig(), dim, sizes)
        self.items = nn.ModuleList([embedding])
        tree = CodeTree(ids.codes[trained - 1], trained)
        node = torch.zeros(len(ids.codes) + 1, len(sizes), dtype=torch.int64)
        node[torch.from_numpy(trained)] = torch.from_numpy(tree.node)
        self.register_buffer("node", node, persistent=False)
        for depth, level in enumerate(tree.levels):
            self.register_buffer(f"code{depth}", torch.from_numpy(level.path[:, -1]), persistent=False)
            self.register_buffer(f"first{depth}", torch.from_numpy(level.first), persistent=False)

    @property
    def embedding(self) -> CodeEmbedding:
        """The vectors of the items, and their codes [V, levels]."""
        embedding = self.items[0]
        assert isinstance(embedding, CodeEmbedding)
        return embedding

    def extend(self, ids: SemanticIds) -> None:
        """Take over the codes of more items."""
        self.ids = ids
        self.embedding.codes = torch.from_numpy(ids.codes.astype(np.int64)).to(self.embedding.codes.device)

    def query(self, batch: SequenceBatch, table: Tensor | None = None) -> Tensor:
        return self.last_hidden(batch, table)

    def loss(self, batch: SequenceBatch, negatives: Negatives | None = None) -> Tensor:
        """Mean over all targets of -log P(its codes), the sum over the levels."""
        if batch.targets is None:
            raise ConfigError("this batch has no targets; take batches from Sequences")
        valid = batch.targets > 0
        hidden, targets = self.hidden(batch)[valid], batch.targets[valid]
        codes, nodes = self.embedding.codes[targets - 1], self.node[targets]
        total = hidden.new_zeros((), dtype=torch.float32)
        for level in range(codes.shape[1]):
            parents = nodes[:, level - 1] if level else torch.zeros_like(targets)
            choices, siblings = self._choices(level, parents)
            rows = (siblings > 1).nonzero()[:, 0]
            logits = self.codes.logits(hidden[rows], codes[rows, :level]).float()
            own = logits.gather(1, (codes[rows, level] % logits.shape[1])[:, None])[:, 0]
            total = total + (torch.logsumexp(logits + choices[rows], dim=1) - own).sum()
        return total / len(targets)

    def _choices(self, level: int, parents: Tensor) -> tuple[Tensor, Tensor]:
        """For nodes [N] of the level above: log of how many children use each row of the table [N, rows]; children."""
        first, code = getattr(self, f"first{level}"), getattr(self, f"code{level}")
        known, place = torch.unique(parents, return_inverse=True)
        count = first[known + 1] - first[known]
        begin = first[known] - count.cumsum(0) + count
        child = torch.repeat_interleave(begin, count) + torch.arange(int(count.sum()), device=code.device)
        row = torch.repeat_interleave(torch.arange(len(known), device=code.device), count)
        size = self.codes.sizes[level]
        table = torch.zeros(len(known) * size, device=code.device)
        table.index_add_(0, row * size + code[child] % size, torch.ones(len(child), device=code.device))
        return table.view(-1, size).log()[place], count[place]


@registry.register("recommender", "semantic")
class SemanticRecommender(NeuralRecommender):
    """Scores are log-probabilities over the whole catalog; `recommend` looks for the best ones with a beam.

    `score` has all items, exactly. A `probability` in an answer is among the items that the beam has reached.
    """

    kind = "semantic"
    needs_map = False
    Config = SemanticConfig
    model: SemanticModel

    @classmethod
    def new_model(
        cls, config: FitConfig, inputs: Inputs, train: Dataset, vectors: np.ndarray | None, seed: int
    ) -> SemanticModel:
        """Codes come from the items' texts (or given vectors); without any, from their co-occurrence in the log."""
        options, log = config.recommender, train.interactions
        assert isinstance(options, SemanticConfig)
        if inputs.features is not None:
            raise ConfigError("a semantic recommender knows items by their codes alone; leave features.columns empty")
        if vectors is None:
            vectors = cooccurrence_vectors(log, train.catalog.size, config.cooccurrence.dim, config.cooccurrence.reach)
        ids = SemanticIds.fit(vectors, options.levels, options.codes, seed)
        return SemanticModel(config, inputs.model, ids, np.unique(log.item), seed)

    @classmethod
    def saved_model(cls, config: FitConfig, inputs: Inputs, dataset: Dataset, folder: Path) -> SemanticModel:
        return SemanticModel(config, inputs.model, SemanticIds.load(folder), np.unique(dataset.interactions.item))

    @property
    def head(self) -> tuple[str, nn.Module]:
        return "codes, one after the other", self.model.codes

    def write(self, folder: Path) -> None:
        """What the plain recommender writes, and semantic_ids.safetensors."""
        super().write(folder)
        self.model.ids.save(folder)

    @torch.no_grad()
    def refresh(self) -> None:
        super().refresh()
        codes = self.model.ids.codes
        self.tree = CodeTree(codes, np.arange(1, len(codes) + 1))
        device = self._table.device
        self._nodes = [self.model.codes.nodes(torch.from_numpy(level.path).to(device)) for level in self.tree.levels]

    @torch.no_grad()
    def score_queries(self, query: Tensor, histories: Histories) -> Tensor:
        found = item_log_probabilities(self.tree, self._logits(query))
        scores = torch.full((len(histories), self.catalog.size), -torch.inf)
        scores[:, torch.from_numpy(self.tree.items)] = found.T
        scores[torch.from_numpy(histories.lengths == 0)] = self.popularity
        scores[:, 0] = -torch.inf
        return scores

    @torch.no_grad()
    def best_scores(self, histories: Histories, mask: Tensor, query: Query) -> Tensor:
        """By a beam; -inf for all items that it did not reach."""
        wanted = query.k * (DIVERSE if query.diversity > 0 else 1)
        logits = self._logits(self.sorted_queries(histories))
        items, values = beam_search(self.tree, logits, mask.numpy(), max(self.options.beam, wanted))
        scores = torch.full(mask.shape, -torch.inf)
        scores[torch.from_numpy(items)] = torch.from_numpy(values)
        return scores

    def _logits(self, hidden: Tensor) -> Logits:
        queries = [layer(hidden) for layer in self.model.codes.queries]

        def logits(level: int, nodes: np.ndarray) -> Tensor:
            vectors, bias = self._nodes[level]
            rows = torch.from_numpy(nodes).to(hidden.device)
            return torch.addmm(bias[rows, None], vectors[rows], queries[level].T).cpu()

        return logits

    @property
    def options(self) -> SemanticConfig:
        """How it recommends."""
        config = self.model.config
        assert isinstance(config, FitConfig)
        assert isinstance(config.recommender, SemanticConfig)
        return config.recommender

    def admit(self, items: pl.DataFrame) -> int:
        """As `add_items`: an item has codes, or cannot be in a history."""
        return self.add_items(items)

    def text_rows(self, texts: np.ndarray) -> Tensor:
        return self.model.embedding.rows(torch.from_numpy(self.model.ids.of(texts).astype(np.int64)))

    def grow(self, inputs: Inputs, texts: np.ndarray) -> None:
        """Give new items codes by the fitted codebooks."""
        self.model.extend(self.model.ids.extended(texts))
