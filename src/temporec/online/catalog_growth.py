"""Items that come while a model learns: at the end of the catalog, with a row of their own from the first event on."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from temporec.online.continue_training import Continuation, rows_of_neighbours
from temporec.online.replay import Piece
from temporec.recommend.cold import ColdItems
from temporec.recommend.recommender import NeuralRecommender
from temporec.recommend.text_map import TextMap

__all__ = ["refit_texts", "start_new_items"]


def start_new_items(training: Continuation, recommender: NeuralRecommender, pieces: Sequence[Piece]) -> np.ndarray:
    """Give items with their first events a row: the one of their text, else that of the items beside them.

    Returns:
        Their numbers.
    """
    met = np.unique(np.concatenate([piece.items[len(piece.items) - piece.fresh :] for piece in pieces]))
    new: np.ndarray = met[training.counts[met] == 0]
    if not len(new):
        return new
    table = training.model.item_table().detach().cpu()
    known = np.ones(len(table), dtype=bool)
    known[new] = False
    rows = rows_of_neighbours(table, pieces, known, training.model.config.ids.std, training.options.seed)
    if (cold := recommender.cold) is not None:
        told = cold.texts[new - 1].any(axis=1)
        rows[torch.from_numpy(told)] = cold.text_map(cold.texts[new[told] - 1])
        trained = cold.trained.copy()
        trained[new - 1] = True
        recommender.cold = replace(cold, trained=trained)
    training.start_rows(new, rows)
    return new


def refit_texts(cold: ColdItems | None, table: Tensor) -> ColdItems | None:
    """The map from texts to rows, fitted again to a table that has learned since."""
    if cold is None:
        return None
    text_map = TextMap.fit(cold.texts, table, cold.trained, cold.text_map.neighbours, [cold.text_map.span])
    return cold if text_map is None else replace(cold, text_map=text_map)
