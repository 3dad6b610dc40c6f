"""Items that the same users had: nearest neighbours of the library `implicit`."""

import importlib
import warnings
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt
from scipy import sparse

from temporec import registry
from temporec.baselines.base import Baseline, BaselineConfig, last_events
from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.errors import MissingExtraError

__all__ = ["ItemKnn", "ItemKnnConfig"]


class ItemKnnConfig(BaselineConfig):
    """How two items are compared.

    Args:
        weighting: "cosine" of the raw counts, or after "tfidf" or "bm25" weighting of them.
        neighbours: similar items that are kept per item.
        decay: an event at age a (0 = newest) counts decay^a; 1 = order does not matter.
    """

    weighting: Literal["cosine", "tfidf", "bm25"] = "tfidf"
    neighbours: PositiveInt = 100
    decay: float = Field(default=0.8, gt=0.0, le=1.0)


@registry.register("baseline", "item_knn")
class ItemKnn(Baseline):
    """The weight of an item is the sum of its similarities to the events of the history."""

    kind = "baseline:item_knn"
    Config: ClassVar[type[BaselineConfig]] = ItemKnnConfig
    scoring_options = frozenset({"popularity_share", "decay"})
    config: ItemKnnConfig

    @classmethod
    def grid(cls) -> list[BaselineConfig]:
        weightings: tuple[Literal["cosine", "tfidf", "bm25"], ...] = ("tfidf", "cosine", "bm25")
        return [
            ItemKnnConfig(weighting=weighting, neighbours=neighbours, decay=decay)
            for weighting in weightings
            for neighbours in (100, 500)
            for decay in (0.8, 0.6, 1.0)
        ]

    def learn(self, dataset: Dataset) -> None:
        log = dataset.interactions
        shape = (len(log.users), self.catalog.size)
        seen = sparse.coo_matrix((np.ones(len(log)), (log.user, log.item)), shape).tocsr()
        model = _neighbours(self.config)
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore")  # implicit converts its own matrices, and warns about it
            model.fit(seen, show_progress=False)
        self._similar = sparse.csr_array(model.similarity.astype(np.float32))
        np.nan_to_num(self._similar.data, copy=False)  # 0 / 0: an item that all users but one have has no idf

    def weights(self, histories: Histories) -> np.ndarray:
        last = last_events(histories)
        product = last.matrix(self.config.decay**last.age, len(self.share)) @ self._similar
        return np.asarray(product.toarray(), dtype=np.float32)

    def state(self) -> dict[str, np.ndarray]:
        similar = self._similar
        return {
            "similarities": similar.data,
            "columns": similar.indices.astype(np.int32),
            "offsets": similar.indptr.astype(np.int64),
        }

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        size = len(self.share)
        self._similar = sparse.csr_array((arrays["similarities"], arrays["columns"], arrays["offsets"]), (size, size))


def _neighbours(config: ItemKnnConfig) -> Any:
    try:
        module = importlib.import_module("implicit.nearest_neighbours")
    except ImportError:
        raise MissingExtraError(
            'the baseline item_knn needs the library implicit; install it with: pip install "temporec[baselines]"'
        ) from None
    name = {"cosine": "CosineRecommender", "tfidf": "TFIDFRecommender", "bm25": "BM25Recommender"}[config.weighting]
    return getattr(module, name)(K=config.neighbours, num_threads=1)
