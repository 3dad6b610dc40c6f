"""By what two items are alike, the same for every model that is judged: categories, given vectors, words, or users."""

from weakref import WeakKeyDictionary

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from temporec.data.catalog import Catalog
from temporec.data.dataset import Dataset
from temporec.metrics.beyond import cooccurrence_vectors

__all__ = ["item_space"]

Space = tuple[sparse.csr_matrix, str]
_TOKEN = "[\u3040-\u30ff\u3400-\u9fff]|[^\\W\u3040-\u30ff\u3400-\u9fff]{2,}"  # a CJK character, or a word
_CHARACTERS = 1000  # of a text that are read
_known: "WeakKeyDictionary[Dataset, Space]" = WeakKeyDictionary()


def item_space(train: Dataset) -> Space:
    """Vectors [V + 1, D] (row 0 = PAD, zero) for the diversity of lists, and their name for a reader.

    The first that the catalog has of: categories, given vectors, texts. Without any of them, the users of each item.
    Computed once per data set.
    """
    if train not in _known:
        found = _categories(train.catalog) or _vectors(train.catalog) or _words(train.catalog)
        if found is None:
            log = train.interactions
            users = cooccurrence_vectors(log.user, log.item, train.catalog.size)
            _known[train] = users, "cosine of the items' training users"
        else:
            rows = sparse.vstack([sparse.csr_matrix((1, found[0].shape[1])), found[0]], format="csr")
            _known[train] = rows, found[1]
    return _known[train]


def _categories(catalog: Catalog) -> Space | None:
    """Columns of lists of strings: each distinct value of each column is a dimension."""
    names = [name for name in catalog.columns("category") if catalog.frame[name].list.len().fill_null(0).sum() > 0]
    if not names:
        return None
    parts = []
    for name in names:
        pairs = catalog.frame.select(name).with_row_index("row").explode(name).drop_nulls(name)
        values = pairs[name].rank("dense").to_numpy().astype(np.int64) - 1
        ones = np.ones(len(pairs))
        shape = (len(catalog), int(values.max()) + 1)
        parts.append(sparse.csr_matrix((ones, (pairs["row"].to_numpy(), values)), shape=shape))
    return sparse.hstack(parts, format="csr"), f"cosine of categories ({', '.join(names)})"


def _vectors(catalog: Catalog) -> Space | None:
    """The first column of vectors that all have one width."""
    for name in catalog.columns("vector"):
        rows = catalog.frame[name].to_list()
        width = max((len(row) for row in rows if row is not None), default=0)
        if width and all(row is None or len(row) == width for row in rows):
            dense = np.asarray([[0.0] * width if row is None else row for row in rows], dtype=np.float64)
            return sparse.csr_matrix(np.nan_to_num(dense)), f"cosine of given vectors ({name})"
    return None


def _words(catalog: Catalog) -> Space | None:
    """TF-IDF of the words (of Chinese and Japanese, the characters) of all text columns."""
    if not (names := catalog.columns("text")):
        return None
    texts = [text[:_CHARACTERS] for text in catalog.texts(names)]
    try:
        vectors = TfidfVectorizer(token_pattern=_TOKEN, dtype=np.float32).fit_transform(texts)
    except ValueError:  # not a single word
        return None
    return vectors.tocsr(), f"cosine of words ({', '.join(names)})"
