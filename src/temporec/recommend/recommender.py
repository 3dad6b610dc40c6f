"""The recommender around a trained SequenceModel."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from temporec import registry
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.errors import CheckpointError
from temporec.model import ModelInputs, SequenceModel
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.inputs import TextVectors

__all__ = ["Inputs", "NeuralRecommender"]


@dataclass(frozen=True)
class Inputs:
    """What the training data contributed: fitted transforms, and the inputs that the model was built from."""

    vectors: TextVectors
    model: ModelInputs


@registry.register("recommender", "neural")
class NeuralRecommender(Recommender):
    """Scores all items with one forward pass over the last `max_len` events and one product with the item vectors.

    Item vectors are computed once per set of weights; scores are written into one reused buffer.
    """

    kind = "neural"

    def __init__(
        self, model: SequenceModel, dataset: Dataset, exclude_seen: bool = True, inputs: Inputs | None = None
    ) -> None:
        self.model = model.eval()
        self.inputs = inputs
        self.remember(dataset, exclude_seen)
        self._buffer: Tensor | None = None
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Recompute the item vectors after the weights have changed."""
        self._table = self.model.item_table().detach()
        self._vectors = self.model.head.item_vectors(self._table).detach().contiguous()

    @property
    def item_vectors(self) -> Tensor:
        """Output vectors [V + 1, D], row 0 = PAD."""
        return self._vectors

    @torch.no_grad()
    def queries(self, histories: Histories) -> Tensor:
        """Query vectors [B, D]; what stands for an empty history is undefined."""
        batch = histories.batch(self.model.config.encoder.max_len)
        return self.model.query(batch.to(self._table.device), self._table)

    @torch.no_grad()
    def score(self, histories: Histories) -> Tensor:
        query = self._sorted_queries(histories)
        rows = len(query)
        if self._buffer is None or len(self._buffer) < rows or self._buffer.device != query.device:
            self._buffer = torch.empty(rows, len(self._vectors), device=query.device)
        scores = self.model.head.scores(query, self._vectors, out=self._buffer[:rows]).cpu()
        empty = histories.lengths == 0
        if empty.any():
            scores[torch.from_numpy(empty)] = self.popularity
            scores[:, 0] = -torch.inf
        return scores

    @torch.no_grad()
    def item_scores(self, number: int) -> Tensor:
        """Cosine of the output vectors [V + 1]."""
        vectors = torch.nn.functional.normalize(self._vectors, dim=1)
        return (vectors @ vectors[number]).cpu()

    def _sorted_queries(self, histories: Histories, size: int = 256) -> Tensor:
        """Queries computed in groups of similar length, so that short histories do not pay for long ones."""
        if len(histories) <= size:
            return self.queries(histories)
        order = np.argsort(histories.lengths, kind="stable")
        result: Tensor | None = None
        for begin in range(0, len(order), size):
            rows = order[begin : begin + size]
            part = self.queries(histories.rows(rows))
            if result is None:
                result = torch.empty(len(order), part.shape[1], device=part.device)
            result[torch.from_numpy(rows)] = part
        assert result is not None
        return result

    def write(self, folder: Path) -> None:
        """model.safetensors, model.json and the fitted text vectors."""
        if self.inputs is None:
            raise CheckpointError("this recommender has no fitted inputs; save the one that fit_recommender returned")
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
        vectors = self.inputs.model.vectors
        plain = {
            "config": self.model.config.to_dict(),
            "exclude_seen": self.exclude_seen,
            "event_options": self.inputs.model.options,
            "vector_dim": None if vectors is None else int(vectors.shape[1]),
        }
        (folder / "model.json").write_text(json.dumps(plain, indent=2), encoding="utf-8")
        self.inputs.vectors.save(folder)

    @classmethod
    def read(cls, folder: Path, dataset: Dataset) -> Self:
        """From what `write` wrote; reads JSON and tensors, executes nothing."""
        try:
            plain = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            config = FitConfig.of(plain["config"])
            width = plain["vector_dim"]
            vectors = None if width is None else torch.zeros(len(dataset.catalog), width)
            inputs = ModelInputs(dataset.catalog.size, None, vectors, options=plain["event_options"])
            model = SequenceModel(config, inputs)
            model.load_state_dict(load_file(folder / "model.safetensors"))
            return cls(model, dataset, plain["exclude_seen"], Inputs(TextVectors.load(folder, config.text), inputs))
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(f"{folder} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
