"""The recommender around a trained SequenceModel."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from temporec import registry
from temporec.data.batch import Histories, SequenceBatch
from temporec.data.catalog import Catalog
from temporec.data.dataset import Dataset
from temporec.data.interactions import kind_numbers
from temporec.data.sequences import event_marks
from temporec.embeddings.events import ValueEmbedding
from temporec.errors import CheckpointError, ConfigError, DataError, UnknownIdError
from temporec.model import SequenceModel, grown
from temporec.recommend.base import CHUNK, Recommender
from temporec.recommend.cold import ColdItems
from temporec.recommend.fit_config import FitConfig, NeuralConfig, RecommenderConfig
from temporec.recommend.inputs import Inputs
from temporec.recommend.profiles import Profiles
from temporec.recommend.query import Query, with_marks

__all__ = ["NeuralRecommender"]

_TOGETHER = 32_768  # histories that are sorted by length together


@registry.register("recommender", "neural")
class NeuralRecommender(Recommender):
    """Scores all items with one forward pass over the history and one product with the item vectors.

    Item vectors are computed once per set of weights; scores are written into one reused buffer.
    """

    kind = "neural"
    needs_map: ClassVar[bool] = True  # to place a new item by its text
    Config: ClassVar[type[RecommenderConfig]] = NeuralConfig
    model: SequenceModel

    def __init__(
        self,
        model: SequenceModel,
        dataset: Dataset,
        exclude_seen: bool = True,
        inputs: Inputs | None = None,
        cold: ColdItems | None = None,
    ) -> None:
        self.model = model.eval()
        self.inputs, self.cold = inputs, cold
        self.max_len = model.config.encoder.receptive_field
        self.remember(dataset, exclude_seen)
        self._mean_value = next((e.config.mean for e in model.events if isinstance(e, ValueEmbedding)), 0.0)
        self._buffer: Tensor | None = None
        self.refresh()

    @classmethod
    def new_model(
        cls, config: FitConfig, inputs: Inputs, train: Dataset, vectors: np.ndarray | None, seed: int
    ) -> SequenceModel:
        """The model to train. `vectors` [V, d] are what the items' texts say, before any use."""
        return SequenceModel(config, inputs.model, seed)

    @classmethod
    def saved_model(cls, config: FitConfig, inputs: Inputs, dataset: Dataset, folder: Path) -> SequenceModel:
        """The model of a saved folder, before its weights are put in."""
        return SequenceModel(config, inputs.model)

    def remember(self, dataset: Dataset, exclude_seen: bool | None = None) -> None:
        super().remember(dataset, exclude_seen)
        kinds = dataset.interactions.kinds  # numbered anew when events of another kind have come
        trained = kinds if self.inputs is None else self.inputs.kinds
        self._kind_numbers = kind_numbers(kinds, trained)

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute the item vectors after the weights have changed."""
        table = self.model.item_table().detach()
        self._table = table if self.cold is None else self.cold.place(table)
        vectors = self.model.head.item_vectors(self._table).detach()
        across = vectors.T.contiguous()  # in this layout a product with few queries takes half the time
        # NumPy asks for huge pages, by which a product with vectors out of memory takes a fifth less.
        self._vectors = (torch.from_numpy(np.array(across.numpy())) if across.device.type == "cpu" else across).T
        self._silent = (~vectors[1:].any(dim=1)).nonzero()[:, 0].cpu() + 1  # items of which nothing is known

    @property
    def head(self) -> tuple[str, nn.Module]:
        """How states become scores, in words, and what has been learned for it."""
        config = self.model.config.head
        return f"{config.score} scores, {'tied table' if config.tied else 'dense layer'}", self.model.head

    @property
    def item_vectors(self) -> Tensor:
        """Output vectors [V + 1, D], row 0 = PAD."""
        return self._vectors

    def text_vectors(self, numbers: np.ndarray) -> np.ndarray | None:
        return None if self.cold is None else self.cold.texts[numbers - 1]

    @torch.no_grad()
    def queries(self, histories: Histories) -> Tensor:
        """Query vectors [B, D]; what stands for an empty history is undefined."""
        return self.model.query(self.batch(histories, histories.starts(self.max_len)), self.table(histories))

    def batch(self, histories: Histories, starts: np.ndarray) -> SequenceBatch:
        """The events from `starts` on, with their kinds and values where the model has learned them."""
        batch = histories.batch(starts)
        if len(self.model.events) and len(histories.items):
            steps = np.arange(batch.items.shape[1])
            rows = np.where(batch.mask, starts[:, None] + steps, 0)
            kinds = None if histories.kinds is None else self._kind_numbers[histories.kinds]
            marks = event_marks(kinds, histories.values, rows, batch.mask, self._mean_value)
            batch = replace(batch, kinds=marks[0], values=marks[1])
        return batch.to(self._table.device)

    def table(self, histories: Histories) -> Tensor:
        """Input vectors of all items and, behind them, of events that are no items."""
        if histories.extra is None:
            return self._table
        return torch.cat([self._table, histories.extra.to(self._table)])

    def known(self, users: np.ndarray) -> Histories:
        found = super().known(users)
        if self.profiles is None:
            return found
        return self.profiles.put_known(found, self.users.decode(users), self.catalog.size)

    def histories(self, queries: Sequence[Query]) -> Histories:
        """The events of some queries, with their kinds and values; a profile stands before them."""
        if self.profiles is None:
            return self._events_of(queries)
        new = [query.user not in self.users and bool(self.profiles.of(query)) for query in queries]
        made = self._events_of([replace(q, user=None) if n else q for q, n in zip(queries, new, strict=True)])
        return self.profiles.put_first(made, queries, self.catalog.size)

    def _events_of(self, queries: Sequence[Query]) -> Histories:
        made, known = super().histories(queries), self.log
        if made.users is None or not len(self.model.events):
            return made
        return with_marks(made, known, queries, self.dataset.interactions.kinds)

    def score(self, histories: Histories) -> Tensor:
        return self.score_queries(self.sorted_queries(histories), histories)

    def chunks(self, histories: Histories, size: int = CHUNK) -> Iterator[tuple[np.ndarray, Tensor]]:
        for begin in range(0, len(histories), _TOGETHER):
            many = histories.rows(np.arange(begin, min(begin + _TOGETHER, len(histories))))
            queries = self.sorted_queries(many)
            for first in range(0, len(many), size):
                rows = np.arange(first, min(first + size, len(many)))
                yield begin + rows, self.score_queries(queries[first : first + size], many.rows(rows))

    @torch.no_grad()
    def score_queries(self, query: Tensor, histories: Histories) -> Tensor:
        """The second half of `score`, from query vectors [B, D] of the histories."""
        rows = len(query)
        if self._buffer is None or len(self._buffer) < rows or self._buffer.device != query.device:
            self._buffer = torch.empty(rows, len(self._vectors), device=query.device)
        scores = self.model.head.scores(query, self._vectors, out=self._buffer[:rows]).cpu()
        if len(self._silent):
            scores[:, self._silent] = -torch.inf
        if self.cold is not None:
            self.cold.temper(scores, histories, self.exclude_seen)
        empty = histories.lengths == 0
        if empty.any():
            scores[torch.from_numpy(empty)] = self.popularity
            scores[:, 0] = -torch.inf
        return scores

    def word_vectors(self, words: Sequence[str]) -> Tensor:
        """What the item table would hold for an item with such a text."""
        if self.inputs is None or not self.reads_texts:
            return super().word_vectors(words)
        texts = self.inputs.vectors.transform(words)
        if (silent := np.flatnonzero(~texts.any(axis=1))).size:
            raise UnknownIdError(
                f"{words[int(silent[0])]!r} is neither an item id nor in words that this model has learned; give an id "
                "or other words"
            )
        return self.text_rows(texts)

    @property
    def reads_texts(self) -> bool:
        """Whether texts tell where an item stands."""
        return self.inputs is not None and self.inputs.vectors.fitted and not (self.needs_map and self.cold is None)

    def text_rows(self, texts: np.ndarray) -> Tensor:
        """Rows of the item table for text vectors [n, d]."""
        assert self.cold is not None
        return self.cold.text_map(texts)

    def add_items(self, items: pl.DataFrame) -> int:
        """Make new items rankable at once, by what their rows say; nothing that was learned changes.

        Args:
            items: a table like the one of `fit`, with the column `item`; known items are left out.

        Returns:
            How many items are new.

        Raises:
            ConfigError: the model was fitted without texts (or other vectors) of items.
            DataError: a new item has none, so there is nothing to place it by. Nothing is added.
        """
        catalog, size = self.catalog.extend(items), self.catalog.size
        if catalog.size == size:
            return 0
        if self.inputs is None or not self.reads_texts:
            raise ConfigError(
                "this model was fitted without texts of items (or with head.tied=false), so it cannot place new ones; "
                "fit with --items and text.encoder"
            )
        texts = self.inputs.vectors.transform_catalog(catalog.restrict(np.arange(size, catalog.size)))
        if (silent := np.flatnonzero(~texts.any(axis=1))).size:
            name = catalog.vocabulary.decode([size + int(silent[0])])[0]
            raise DataError(f"{len(silent)} new item(s) have no known text, for instance {name!r}; give each a text")
        return self._enlarge(self.inputs, catalog, texts)

    def admit(self, items: pl.DataFrame) -> int:
        """As `add_items`, but items that no text can place come in too.

        They may stand in histories, and the model shows them when it has learned them (`temporec learn`).
        """
        catalog, size = self.catalog.extend(items), self.catalog.size
        if catalog.size == size:
            return 0
        if self.inputs is None:
            raise ConfigError("this recommender has no fitted inputs; take the one that fit_recommender returned")
        texts = np.zeros((catalog.size - size, 0), np.float32)
        if self.cold is not None or self.inputs.model.vectors is not None:
            texts = self.inputs.vectors.transform_catalog(catalog.restrict(np.arange(size, catalog.size)))
        return self._enlarge(self.inputs, catalog, texts)

    def _enlarge(self, inputs: Inputs, catalog: Catalog, texts: np.ndarray) -> int:
        added, self._buffer = catalog.size - self.catalog.size, None
        self.grow(inputs.extended(catalog, texts), texts)
        self.remember(replace(self.dataset, catalog=catalog))
        self.refresh()
        return added

    def grow(self, inputs: Inputs, texts: np.ndarray) -> None:
        """Give new items a place in the model, by their text vectors [n, d]."""
        self.inputs, self.cold = inputs, None if self.cold is None else self.cold.extended(texts)
        self.model = grown(self.model, inputs.model)

    @torch.no_grad()
    def item_scores(self, number: int) -> Tensor:
        """Cosine of the output vectors [V + 1]; an item of which nothing is known is like none."""
        vectors = torch.nn.functional.normalize(self._vectors, dim=1)
        close = (vectors @ vectors[number]).cpu()
        return close.index_fill(0, self._silent, -torch.inf) if vectors[number].any() else close - torch.inf

    def sorted_queries(self, histories: Histories, size: int = 256) -> Tensor:
        """Queries computed in groups of similar length, so that short histories do not pay for long ones."""
        if len(histories) <= size:
            return self.queries(histories)
        order = np.argsort(histories.lengths, kind="stable")
        parts = [self.queries(histories.rows(order[begin : begin + size])) for begin in range(0, len(order), size)]
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    def write(self, folder: Path) -> None:
        """model.safetensors, model.json and the fitted text vectors."""
        if self.inputs is None:
            raise CheckpointError("this recommender has no fitted inputs; save the one that fit_recommender returned")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        if self.cold is not None:
            self.cold.save(folder)
        if self.profiles is not None:
            self.profiles.save(folder)
        own = {"config": self.model.config.to_dict(), "exclude_seen": self.exclude_seen}
        plain = {**own, **self.inputs.save(folder)}
        (folder / "model.json").write_text(json.dumps(plain, indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, dataset: Dataset) -> Self:
        """From what `write` wrote; reads JSON and tensors, executes nothing."""
        try:
            plain = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            config = FitConfig.of(plain["config"])
            inputs = Inputs.load(folder, plain, dataset.catalog, config.text)
            model = cls.saved_model(config, inputs, dataset, folder)
            model.load_state_dict(load_file(folder / "model.safetensors"))
            made = cls(model, dataset, plain["exclude_seen"], inputs, ColdItems.load(folder))
            made.profiles = Profiles.load(folder)
            return made
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{folder} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
