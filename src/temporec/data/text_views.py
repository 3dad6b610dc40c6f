"""Sparse TF-IDF views of texts and their truncated SVD: what of `text_vectors` needs scikit-learn."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

__all__ = ["fit_components", "fit_view", "join", "view"]

Analyzer = Callable[[list[str]], list[str]]


def view(analyzer: Analyzer, terms: Sequence[str], idf: np.ndarray) -> TfidfVectorizer:
    """A fitted vectoriser from its plain state."""
    made = TfidfVectorizer(analyzer=analyzer, vocabulary=list(terms), sublinear_tf=True, dtype=np.float32)
    made.idf_ = np.asarray(idf)
    return made


def fit_view(
    tokens: list[list[str]], analyzer: Analyzer, limit: int, fewest: int
) -> tuple[TfidfVectorizer, sparse.csr_matrix]:
    """A vectoriser of the most frequent features, and what it makes of the texts."""
    for least in sorted({fewest, 1}, reverse=True):
        made = TfidfVectorizer(analyzer=analyzer, max_features=limit, min_df=least, sublinear_tf=True, dtype=np.float32)
        try:
            return made, made.fit_transform(tokens)
        except ValueError:  # scikit-learn's way to say that no feature is left
            continue
    return view(analyzer, [""], np.ones(1, dtype=np.float32)), sparse.csr_matrix((len(tokens), 1), dtype=np.float32)


def join(views: list[sparse.csr_matrix]) -> sparse.csr_matrix:
    """One row of length at most 1 per text; every view has the same weight."""
    return sparse.hstack(views, format="csr", dtype=np.float32) * np.float32(len(views) ** -0.5)


def fit_components(matrix: sparse.csr_matrix, dim: int, iterations: int, seed: int) -> np.ndarray:
    """Right singular vectors [dim, features], in half precision so that what is saved is what was used."""
    components = np.zeros((dim, matrix.shape[1]), dtype=np.float16)
    rank = min(dim, *matrix.shape)
    if rank and matrix.nnz:
        _, values, axes = randomized_svd(matrix, rank, n_oversamples=20, n_iter=iterations, random_state=seed)
        real = int((values > 1e-4 * values[0]).sum())
        components[:real] = axes[:real]
    return components
