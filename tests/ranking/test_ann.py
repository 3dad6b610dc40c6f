"""The approximate index against the exact answer."""

import sys

import pytest
import torch
from torch import Tensor

from temporec.errors import ConfigError, MissingExtraError
from temporec.ranking.ann import AnnConfig, AnnIndex, exact_search


@pytest.fixture(scope="module")
def vectors() -> Tensor:
    return torch.randn(2001, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def queries() -> Tensor:
    return torch.randn(64, 16, generator=torch.Generator().manual_seed(1))


def test_exact_search_is_slow_and_right(vectors: Tensor, queries: Tensor) -> None:
    values, items = exact_search(queries, vectors, 5)
    products = queries @ vectors[1:].T
    for row in range(4):
        order = sorted(range(2000), key=lambda i: -float(products[row, i]))[:5]
        assert items[row].tolist() == [i + 1 for i in order]
        torch.testing.assert_close(values[row], products[row, order])


@pytest.mark.parametrize("chunk", [37, 1000, 2000])
def test_exact_search_in_chunks(chunk: int, vectors: Tensor, queries: Tensor) -> None:
    rounded = vectors.round()  # many equal products
    whole, some = exact_search(queries.round(), rounded, 10), exact_search(queries.round(), rounded, 10, chunk)
    assert torch.equal(whole[0], some[0])
    assert torch.equal(whole[1], some[1])


def test_faiss_takes_the_threads_of_torch(vectors: Tensor, queries: Tensor) -> None:
    faiss = pytest.importorskip("faiss")
    index = AnnIndex(vectors)
    faiss.omp_set_num_threads(2)
    index.search(queries, 3)
    assert faiss.omp_get_max_threads() == torch.get_num_threads()


@pytest.mark.parametrize(
    ("config", "least"),
    [(AnnConfig(kind="flat"), 1.0), (AnnConfig(kind="hnsw"), 0.95), (AnnConfig(kind="ivf", probes=30), 0.9)],
)
def test_recall_against_the_exact_twin(config: AnnConfig, least: float, vectors: Tensor, queries: Tensor) -> None:
    pytest.importorskip("faiss")
    index = AnnIndex(vectors, config)
    assert index.recall(queries, 10) >= least
    values, items = index.search(queries, 10)
    assert (values[:, :-1] >= values[:, 1:]).all()
    torch.testing.assert_close(values, (queries[:, None, :] * vectors[items]).sum(dim=2), rtol=1e-4, atol=1e-4)


def test_recall_falls_where_the_index_looks_into_one_cell(vectors: Tensor, queries: Tensor) -> None:
    pytest.importorskip("faiss")
    assert AnnIndex(vectors, AnnConfig(kind="ivf", probes=1)).recall(queries, 10) < 0.9


def test_small_catalogs_and_large_k(vectors: Tensor, queries: Tensor) -> None:
    pytest.importorskip("faiss")
    for kind in ("flat", "hnsw", "ivf"):
        values, items = AnnIndex(vectors[:4], AnnConfig.of({"kind": kind})).search(queries[:2], 10)
        assert sorted(items[0].tolist()) == [1, 2, 3]
        assert torch.isfinite(values).all()


def test_no_vectors(vectors: Tensor) -> None:
    with pytest.raises(ConfigError, match=r"\[1, 16\]"):
        AnnIndex(vectors[:1])


def test_without_faiss(vectors: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"temporec\[ann\]"):
        AnnIndex(vectors)
