"""The recommender around a trained SequenceModel."""

import numpy as np
import torch
from torch import Tensor

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.model import SequenceModel
from temporec.recommend.base import Recommender

__all__ = ["NeuralRecommender"]


class NeuralRecommender(Recommender):
    """Scores all items with one forward pass over the last `max_len` events and one product with the item vectors.

    Item vectors are computed once per set of weights; scores are written into one reused buffer.
    """

    def __init__(self, model: SequenceModel, dataset: Dataset | None = None, exclude_seen: bool = True) -> None:
        self.model = model.eval()
        self.exclude_seen = exclude_seen
        if dataset is not None:
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
