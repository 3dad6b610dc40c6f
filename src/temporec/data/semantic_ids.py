"""Semantic ids: a few codes per item from its vector, coarse to fine, and the prefix tree of the codes that exist."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import load_file, save_file

from temporec.errors import DataError

__all__ = ["CodeLevel", "CodeTree", "SemanticIds"]

_ROWS = 65_536  # vectors whose distances to a codebook are held at once
_FILE = "semantic_ids.safetensors"


@dataclass(frozen=True, eq=False)
class SemanticIds:
    """Residual k-means codes (Rajput et al. 2023, with k-means in place of their RQ-VAE), unique for each item.

    Level l codes what the levels before it have left over of the vector. The last code counts the items that share all
    others: 0 for the first of them, in the order of the catalog, and so on.
    """

    codebooks: tuple[np.ndarray, ...]  # float32 [k, d] of each level but the last
    codes: np.ndarray  # int32 [V, levels + 1]

    @classmethod
    def fit(cls, vectors: np.ndarray, levels: int, codes: int, seed: int) -> Self:
        """Codebooks of at most `codes` centroids from item vectors float32 [V, d], and the codes of these items."""
        from sklearn.cluster import MiniBatchKMeans

        if not len(vectors) or not np.isfinite(vectors).all():
            raise DataError("semantic ids need item vectors of finite numbers; got none, or NaN or infinite ones")
        rest, books = vectors.astype(np.float32), []
        for level in range(levels):
            distinct = np.unique(rest, axis=0)
            if len(distinct) > codes:
                means = MiniBatchKMeans(
                    codes, random_state=seed + level, batch_size=4096, n_init=3, max_no_improvement=50
                )
                distinct = means.fit(rest).cluster_centers_.astype(np.float32)
            books.append(distinct)
            rest = rest - distinct[_nearest(rest, distinct)]
        return cls(tuple(books), np.zeros((0, levels + 1), np.int32)).extended(vectors)

    def of(self, vectors: np.ndarray) -> np.ndarray:
        """Codes int32 [n, levels + 1] of vectors float32 [n, d], as if each were the first with its codes."""
        codes = type(self)(self.codebooks, self.codes[:0]).extended(vectors).codes
        codes[:, -1] = 0
        return codes

    def extended(self, vectors: np.ndarray) -> Self:
        """The same codes with those of new items behind them, by the fitted codebooks; vectors float32 [n, d]."""
        width = self.codebooks[0].shape[1]
        if vectors.shape[1:] != (width,) or not np.isfinite(vectors).all():
            raise DataError(f"semantic ids were fitted on {width} finite numbers per item; got shape {vectors.shape}")
        rest, columns = vectors.astype(np.float32), []
        for book in self.codebooks:
            columns.append(_nearest(rest, book))
            rest = rest - book[columns[-1]]
        shared = np.concatenate([self.codes[:, :-1], np.stack(columns, axis=1).astype(np.int32)])
        return type(self)(self.codebooks, np.column_stack([shared, _places(shared)]))

    def save(self, folder: Path) -> None:
        """Write semantic_ids.safetensors."""
        books = {f"codebook{level}": book for level, book in enumerate(self.codebooks)}
        save_file({**books, "codes": np.ascontiguousarray(self.codes)}, folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The inverse of `save`; raises OSError, KeyError or SafetensorError where the file is not whole."""
        arrays = load_file(folder / _FILE)
        codes = arrays.pop("codes")
        return cls(tuple(arrays[f"codebook{level}"] for level in range(len(arrays))), codes)


@dataclass(frozen=True, eq=False)
class CodeLevel:
    """All prefixes of one length that exist, in the order of their codes: nodes of a tree."""

    path: np.ndarray  # int64 [n, length] the codes of each prefix
    parent: np.ndarray  # int64 [n] its prefix on the level above (all 0 on the first)
    first: np.ndarray  # int64 [m + 1] node p of the level above has the children first[p]:first[p + 1]


class CodeTree:
    """The prefix tree of some items' codes as arrays; its leaves are the items.

    Attributes:
        levels: from one code to all of them.
        items: item number of each leaf, int64 [n].
        node: of each row of `codes`, the node on each level, int64 [n, levels].
    """

    def __init__(self, codes: np.ndarray, items: np.ndarray) -> None:
        order = np.lexsort(codes.T[::-1])
        rows = codes[order].astype(np.int64)
        self.items = items[order].astype(np.int64)
        self.node = np.zeros(rows.shape, dtype=np.int64)
        levels, above = [], np.zeros(len(rows), dtype=np.int64)
        new = np.arange(len(rows)) == 0
        for level in range(rows.shape[1]):
            count = 1 if level == 0 else int(above[-1]) + 1
            new = new | np.r_[True, rows[1:, level] != rows[:-1, level]]
            starts = np.flatnonzero(new)
            parent = above[starts]
            first = np.searchsorted(parent, np.arange(count + 1))
            levels.append(CodeLevel(rows[starts, : level + 1], parent, first))
            above = np.cumsum(new) - 1
            self.node[order, level] = above
        self.levels = tuple(levels)

    def holding(self, items: np.ndarray) -> list[np.ndarray]:
        """On each level, which nodes lead to one of some items; `items` is bool [V + 1]."""
        found = [items[self.items]]
        for level in self.levels[:0:-1]:
            found.append(np.logical_or.reduceat(found[-1], level.first[:-1]))
        return found[::-1]


def _nearest(vectors: np.ndarray, book: np.ndarray) -> np.ndarray:
    """The nearest centroid of each vector, int64 [n]; of equally near ones the first."""
    half = np.square(book).sum(axis=1) / 2
    parts = [np.argmax(vectors[i : i + _ROWS] @ book.T - half, axis=1) for i in range(0, len(vectors), _ROWS)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _places(codes: np.ndarray) -> np.ndarray:
    """How many rows before each row are equal to it, int32 [n]."""
    order = np.lexsort(codes.T[::-1])
    new = np.r_[True, (codes[order][1:] != codes[order][:-1]).any(axis=1)]
    starts = np.flatnonzero(new)
    places = np.zeros(len(codes), dtype=np.int32)
    places[order] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return places
