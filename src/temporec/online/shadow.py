"""Predict first: how well recommenders would have answered just before each event."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from temporec.data.batch import Histories
from temporec.data.interactions import kind_numbers
from temporec.data.split import Cases
from temporec.evaluation.protocol import answer
from temporec.metrics.ranking import evaluate_ranks
from temporec.recommend.base import Recommender

__all__ = ["Known", "figures", "questions"]

K = 10
Known = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # items, times, kinds, values of a history


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """Histories in numbers of one catalog, and the item that came next."""

    histories: Histories
    targets: np.ndarray  # int32 [B]
    asker: Recommender  # whose numbers of items and kinds they are


def questions(known: Sequence[Known], targets: Sequence[int], asker: Recommender) -> Questions:
    """The histories before some events, and their items, in numbers of `asker`."""
    like = asker.log
    items, times, kinds, values = (np.concatenate([each[i] for each in known]) for i in range(4))
    offsets = np.concatenate([[0], np.cumsum([len(each[0]) for each in known])]).astype(np.int64)
    histories = Histories(
        items, times, offsets, None, None, like.has_time, None if like.kinds is None else kinds,
        None if like.values is None else values,
    )  # fmt: skip
    return Questions(histories, np.asarray(targets, np.int32), asker)


def figures(recommender: Recommender, asked: Questions) -> tuple[np.ndarray, np.ndarray]:
    """NDCG@10 and hit rate@10 of each question, float64 [B]; a target that the recommender does not know is a miss."""
    number = np.zeros(asked.asker.catalog.size, dtype=np.int32)
    number[1:] = recommender.catalog.vocabulary.encode_series(asked.asker.catalog.vocabulary.ids)
    kinds = kind_numbers(asked.asker.dataset.interactions.kinds, recommender.dataset.interactions.kinds)
    histories = _renumbered(asked.histories, number, kinds)
    cases = Cases(histories, number[asked.targets], np.arange(len(asked.targets) + 1, dtype=np.int64))
    ranks = answer(recommender, cases, recommender.exclude_seen, 1).ranks
    found = evaluate_ranks((f"ndcg@{K}", f"hit_rate@{K}"), ranks)
    return found[f"ndcg@{K}"], found[f"hit_rate@{K}"]


def _renumbered(histories: Histories, number: np.ndarray, kinds: np.ndarray) -> Histories:
    """In the numbers of another recommender, without the events of items that it does not know."""
    items = number[histories.items]
    kept = items > 0
    before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    return Histories(
        items[kept], histories.times[kept], before[histories.offsets], None, None, histories.has_time,
        None if histories.kinds is None else kinds[histories.kinds[kept]],
        None if histories.values is None else histories.values[kept],
    )  # fmt: skip
