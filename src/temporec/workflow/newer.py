"""Cases from a log that is newer than a model."""

from dataclasses import replace

import numpy as np

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.data.interactions import kind_numbers
from temporec.data.split import Cases
from temporec.errors import EmptyLogError
from temporec.recommend.base import Recommender

__all__ = ["newer_cases"]


def newer_cases(recommender: Recommender, dataset: Dataset) -> Cases:
    """Each user's first event after the end of training, with everything known before it as the history.

    Of a user whom the model knows, that is what the model knows; other events of the new log that are not newer than
    the model's last one are skipped, because it may have learned them. A new user's history is their earlier events
    in the new log. Histories carry kinds and values where the model's log has them.

    Raises:
        EmptyLogError: no event is newer.
    """
    log, known = dataset.interactions, recommender.log
    last = int(known.times.max())
    rows = np.flatnonzero(log.time > last)
    if not len(rows) or not log.has_time or not known.has_time:
        raise EmptyLogError(
            "no event of the log is later than the last one that the model has learned, so nothing can be tested "
            "honestly; give a log that goes on after it, or leave out LOG for the held-out run of fit"
        )
    users, first = np.unique(log.user[rows], return_index=True)
    item = np.zeros(dataset.catalog.size, dtype=np.int32)
    item[1:] = recommender.catalog.vocabulary.encode_series(dataset.catalog.vocabulary.ids)
    own = recommender.users.encode_series(log.users.ids.gather(users))
    early = np.flatnonzero((log.time <= last) & (item[log.item] > 0))
    ends = np.searchsorted(log.user[early], np.arange(len(log.users)), side="right")
    kinds = None if log.kind is None else kind_numbers(log.kinds, recommender.dataset.interactions.kinds)[log.kind]
    both = Histories(
        np.append(known.items, item[log.item[early]]),
        np.append(known.times, log.time[early]),
        np.append(known.offsets, known.offsets[-1] + ends),
        kinds=_joined(known.kinds, kinds, early, -1),
        values=_joined(known.values, log.value, early, np.nan),
    )
    histories = replace(both.rows(np.where(own >= 0, own, len(known) + users)), users=own.astype(np.int32))
    return Cases(histories, item[log.item[rows[first]]], np.arange(len(users) + 1))


def _joined(known: np.ndarray | None, new: np.ndarray | None, rows: np.ndarray, unknown: float) -> np.ndarray | None:
    """The known column with some rows of the new one behind it; unknown where the new log lacks it."""
    if known is None:
        return None
    return np.append(known, np.full(len(rows), unknown) if new is None else new[rows]).astype(known.dtype)
