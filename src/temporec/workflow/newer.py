"""Cases from a log that is newer than a model."""

import numpy as np

from temporec.data.batch import Histories
from temporec.data.dataset import Dataset
from temporec.data.split import Cases
from temporec.errors import EmptyLogError
from temporec.recommend.base import Recommender

__all__ = ["newer_cases"]


def newer_cases(recommender: Recommender, dataset: Dataset) -> Cases:
    """Each user's first event after the end of training, with everything known before it as the history.

    Events of the new log that are not newer than the model's last event are skipped: it may have learned them.

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
    spans = [known.items[known.offsets[u] : known.offsets[u + 1]] if u >= 0 else known.items[:0] for u in own]
    times = [known.times[known.offsets[u] : known.offsets[u + 1]] if u >= 0 else known.times[:0] for u in own]
    ends = np.cumsum([len(span) for span in spans])
    histories = Histories(
        np.concatenate(spans), np.concatenate(times), np.concatenate([[0], ends]).astype(np.int64), None,
        own.astype(np.int32),
    )  # fmt: skip
    return Cases(histories, item[log.item[rows[first]]], np.arange(len(users) + 1))
