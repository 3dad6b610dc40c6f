"""Approximate top-k for catalogs of millions: a FAISS index over item vectors, measured against the exact answer."""

import importlib
from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from temporec.config import Config
from temporec.errors import ConfigError, MissingExtraError
from temporec.ranking.topk import top_k

__all__ = ["AnnConfig", "AnnIndex", "exact_search"]

POINTS_PER_CELL = 40  # what the k-means of FAISS asks for
CHUNK = 65_536  # items whose products exact search holds at once


class AnnConfig(Config):
    """Kind of index and how hard it searches.

    Args:
        kind: "hnsw" (a graph; no training), "ivf" (cells; less memory per item) or "flat" (exact).
        links: neighbours per item in the graph (hnsw).
        breadth: candidates kept while searching (hnsw), at least k.
        cells: clusters (ivf); None = the square root of the number of items.
        probes: cells that a search looks into (ivf).
    """

    kind: Literal["hnsw", "ivf", "flat"] = "hnsw"
    links: PositiveInt = 32
    breadth: PositiveInt = 128
    cells: PositiveInt | None = None
    probes: PositiveInt = 16


class AnnIndex:
    """Item numbers with the largest inner products. FAISS runs with as many threads as torch.

    Args:
        vectors: float [V + 1, D] output vectors of the items; row 0 (PAD) is left out.
        config: see `AnnConfig`.

    Raises:
        MissingExtraError: FAISS is not installed.
    """

    def __init__(self, vectors: Tensor, config: AnnConfig | None = None) -> None:
        self.config = config or AnnConfig()
        self.vectors = vectors.detach().to("cpu", torch.float32).contiguous()
        if self.vectors.ndim != 2 or len(self.vectors) < 2:
            raise ConfigError(f"an index needs item vectors [V + 1, D]; got the shape {list(vectors.shape)}")
        self._index = _build(self.vectors[1:].numpy(), self.config)

    def __len__(self) -> int:
        return len(self.vectors) - 1

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Inner products [B, k] and item numbers [B, k], best first; -inf and 0 where the index found fewer."""
        k = min(k, len(self))
        _faiss()
        if self.config.kind == "hnsw":
            self._index.hnsw.efSearch = max(self.config.breadth, k)
        values, rows = self._index.search(queries.detach().to("cpu", torch.float32).contiguous().numpy(), k)
        found = rows >= 0
        return torch.from_numpy(np.where(found, values, -np.inf)), torch.from_numpy(np.where(found, rows + 1, 0))

    def recall(self, queries: Tensor, k: int = 10) -> float:
        """Share of the exact first k that the index finds, over some queries."""
        exact, found = exact_search(queries, self.vectors, k)[1], self.search(queries, k)[1]
        return float((exact[:, :, None] == found[:, None, :]).any(dim=2).double().mean())


def exact_search(queries: Tensor, vectors: Tensor, k: int, chunk: int = CHUNK) -> tuple[Tensor, Tensor]:
    """What `AnnIndex.search` approximates: inner products with all items, some at a time, of which the k best stay."""
    queries, vectors = queries.detach().to("cpu", torch.float32), vectors.detach().to("cpu", torch.float32)
    values, items = torch.zeros(len(queries), 0), torch.zeros(len(queries), 0, dtype=torch.int64)
    for begin in range(1, len(vectors), chunk):
        new, places = top_k(queries @ vectors[begin : begin + chunk].T, k)
        # Items of equal score stay in the order of their numbers: those so far are lower than the new ones.
        values, order = top_k(torch.cat([values, new], dim=1), k)
        items = torch.cat([items, places + begin], dim=1).gather(1, order)
    return values, items


def _faiss() -> Any:
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        raise MissingExtraError(
            'approximate search needs FAISS; install it with: pip install "temporec[ann]"'
        ) from None
    faiss.omp_set_num_threads(torch.get_num_threads())
    return faiss


def _build(vectors: np.ndarray, config: AnnConfig) -> Any:
    faiss = _faiss()
    count, dim = vectors.shape
    if config.kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, config.links, faiss.METRIC_INNER_PRODUCT)
    elif config.kind == "ivf":
        cells = min(config.cells or max(1, round(count**0.5)), max(1, count // POINTS_PER_CELL))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.nprobe = min(config.probes, cells)
    else:
        index = faiss.IndexFlatIP(dim)
    index.add(vectors)
    return index
