"""What every recommender can do: a neural model, a baseline and the HTTP client share this protocol."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self, Unpack

import numpy as np
import polars as pl
import torch
from torch import Tensor

from temporec import registry
from temporec.data.batch import Histories
from temporec.data.catalog import Catalog
from temporec.data.dataset import Dataset
from temporec.data.vocabulary import Id, Vocabulary
from temporec.errors import ConfigError, UnknownIdError
from temporec.ranking.diversify import mmr
from temporec.ranking.filters import Filters, allowed_mask
from temporec.ranking.popularity import log_popularity
from temporec.ranking.topk import top_k
from temporec.recommend.explain import explain
from temporec.recommend.explanation import Explanation
from temporec.recommend.folder import load_dataset, new_folder, read_manifest, save_dataset
from temporec.recommend.profiles import Profiles
from temporec.recommend.query import (
    Query,
    QueryFields,
    Recommendation,
    Recommendations,
    event_times,
    item_numbers,
)  # fmt: skip

__all__ = ["CHUNK", "DIVERSE", "Recommender"]

DIVERSE = 10  # times as many items as asked for are there to choose from where a list shall be diverse
CHUNK = 1024  # users scored at once; ranking never holds users x items


class Recommender(ABC):
    """Scores all items for a batch of histories; everything else (ids, filters, top-k, texts) is done here.

    Attributes:
        catalog: items that can be recommended.
        users: known user ids.
        log: the known events of every user, row = user number.
        popularity: float32 [V + 1] log-probability of each item, used where nothing else is known.
        exclude_seen: the default of the filter "seen", from the log's repeat rate.
        profiles: what is known of users beside their events, where there was a users table.
        max_len: so many newest events of a history decide its scores; None = all of them may.
    """

    kind: str  # name in the manifest of a saved folder: "neural" or "baseline:NAME"
    dataset: Dataset
    catalog: Catalog
    users: Vocabulary
    log: Histories
    popularity: Tensor
    profiles: Profiles | None = None
    exclude_seen: bool = True
    max_len: int | None = None

    def save(self, folder: str | Path, extra: Callable[[Path], None] | None = None) -> None:
        """Write everything into a folder of plain files, all or nothing; `extra` may add files before it is closed."""
        with new_folder(Path(folder), self.kind) as part:
            save_dataset(part, self.dataset)
            self.write(part)
            if extra is not None:
                extra(part)

    @staticmethod
    def load(folder: str | Path) -> "Recommender":
        """The recommender of a saved folder; hashes are checked, nothing in it is executed.

        Raises:
            CheckpointError: the folder is missing, incomplete, damaged or from a newer version.
        """
        folder = Path(folder)
        kind, _, name = str(read_manifest(folder)["kind"]).partition(":")
        cls: type[Recommender] = registry.get("baseline" if kind == "baseline" else "recommender", name or kind)
        return cls.read(folder, load_dataset(folder))

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write what was learned into an open folder (the data set is written already)."""

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, dataset: Dataset) -> Self:
        """The inverse of `write`."""

    @property
    def item_vectors(self) -> Tensor | None:
        """Vectors of all items [V + 1, D], row 0 = PAD; None where the method compares items without vectors."""
        return None

    def text_vectors(self, numbers: np.ndarray) -> np.ndarray | None:
        """Vectors float32 [n, d] of the texts of some items; None where none were fitted."""
        return None

    def remember(self, dataset: Dataset, exclude_seen: bool | None = None) -> None:
        """Take over catalog, users and histories of a data set."""
        log = dataset.interactions
        self.dataset = dataset
        self.catalog, self.users = dataset.catalog, log.users
        users = np.arange(len(log.users), dtype=np.int32)
        self.log = Histories(log.item, log.time, log.offsets, None, users, log.has_time, log.kind, log.value)
        self.popularity = log_popularity(np.bincount(log.item, minlength=self.catalog.size))
        if exclude_seen is not None:
            self.exclude_seen = exclude_seen

    @abstractmethod
    def score(self, histories: Histories) -> Tensor:
        """Scores float32 [B, V + 1] of all items after each history; column 0 (PAD) is -inf.

        May return the same buffer again at the next call. An empty history gets what the recommender knows without
        one. Must depend on nothing but the histories and what was fitted.
        """

    def recommend(self, query: Query | None = None, **fields: Unpack[QueryFields]) -> Recommendations:
        """The best items for one user or history, external ids in and out: `recommend(user=7, k=5)`.

        Raises:
            UnknownIdError: an item of history, candidates or filters, or a user without a history, is not known.
        """
        query = query or Query(**fields)
        histories = self.histories([query])
        mask = self.mask(query, histories.items)
        if not len(histories.items):
            return self.answer(self.popularity.clone(), mask, query, "popularity")
        return self.answer(self.best_scores(histories, mask, query), mask, query, "model")

    def best_scores(self, histories: Histories, mask: Tensor, query: Query) -> Tensor:
        """Scores [V + 1] of one history, from which a query is answered; items that cannot be in it may be -inf."""
        return self.score(histories)[0]

    def recommend_many(
        self, users: Sequence[Id] | None = None, k: int = 10, filters: Filters | None = None
    ) -> pl.DataFrame:
        """Top-k of many known users (all by default): columns user, rank, item, score, probability."""
        numbers = np.arange(len(self.users)) if users is None else self.users.encode(users).astype(np.int64)
        filters, k = filters or Filters(), min(k, self.catalog.size)
        items = np.zeros((len(numbers), k), np.int64)
        scores, probabilities = np.zeros(items.shape, np.float32), np.zeros(items.shape, np.float32)
        by_length = np.argsort(self.log.lengths[numbers], kind="stable")  # short histories are not padded to long ones
        for begin in range(0, len(numbers), CHUNK):
            rows = by_length[begin : begin + CHUNK]
            items[rows], scores[rows], probabilities[rows] = self._top_rows(self.known(numbers[rows]), k, filters)
        b, r = np.nonzero(np.isfinite(scores))
        return pl.DataFrame(
            {
                "user": self.users.ids.gather(numbers[b]),
                "rank": (r + 1).astype(np.int32),
                "item": self.catalog.vocabulary.ids.gather(items[b, r] - 1),
                "score": scores[b, r],
                "probability": probabilities[b, r],
            }
        )

    def known(self, users: np.ndarray) -> Histories:
        """What is known of some users, by number."""
        return self.log.rows(users)

    def _top_rows(self, histories: Histories, k: int, filters: Filters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scores = self.score(histories)
        empty = torch.from_numpy(histories.lengths == 0)
        if empty.any():
            scores[empty] = self.popularity
        scores[:, 0] = -torch.inf
        if (allowed := allowed_mask(filters, self.catalog)) is not None:
            scores.masked_fill_(~allowed[None, :], -torch.inf)
        if self.hides_seen(filters):
            seen = torch.from_numpy(np.where(histories.items < scores.shape[1], histories.items, 0).astype(np.int64))
            scores[torch.from_numpy(np.repeat(np.arange(len(histories)), histories.lengths)), seen] = -torch.inf
        values, items = top_k(scores, k)
        top = values[:, :1]
        total = scores.sub_(top).exp_().sum(dim=1, keepdim=True)  # in place: fresh memory costs more than the sum
        return items.numpy(), values.numpy(), ((values - top).exp() / total).numpy()

    def item_scores(self, number: int) -> Tensor:
        """How close every item is to one item, float32 [V + 1]; by default what follows it as a history."""
        one = Histories(np.asarray([number], np.int32), np.zeros(1, np.int64), np.asarray([0, 1]), has_time=False)
        return self.score(one)[0].clone()

    def similar(self, item: Id, k: int = 10, filters: Filters | None = None) -> Recommendations:
        """The items closest to one item, which itself is left out."""
        number = self.catalog.vocabulary.encode([item])
        query = Query(history=[item], k=k, filters=filters or Filters())
        mask = self.mask(query, number)
        mask[int(number[0])] = False
        return self.answer(self.item_scores(int(number[0])), mask, query, "similar")

    def explain(self, item: Id, query: Query | None = None, **fields: Unpack[QueryFields]) -> Explanation:
        """Why an item is in the answer to a query, or why not: `explain("85123A", user=7).to_text()`."""
        return explain(self, query or Query(**fields), item)

    def update(self, events: pl.DataFrame) -> int:
        """Take new events (columns user, item, time in UTC milliseconds) into the known histories; weights stay.

        All or nothing: an item that the catalog does not have is refused by name. Returns the number of events.
        """
        self.remember(self.dataset.with_events(events))
        return len(events)

    def histories(self, queries: Sequence[Query]) -> Histories:
        """The known and the given events of some queries, in item numbers."""
        if self.profiles is None and any(query.profile for query in queries):
            raise ConfigError("this model was fitted without a users table, so it knows no profiles; fit with --users")
        words: list[str] = []
        parts = [self._events(query, words) for query in queries]
        items = np.concatenate([part[0] for part in parts])
        times = np.concatenate([part[1] for part in parts])
        offsets = np.concatenate([[0], np.cumsum([len(part[0]) for part in parts])]).astype(np.int64)
        moments = [query.moment for query in queries if query.moment is not None]
        at = np.asarray(moments, dtype=np.int64) if len(moments) == len(queries) else None
        extra = self.word_vectors(words) if words else None
        return Histories(items, times, offsets, at, self._user_numbers(queries), self.log.has_time, extra=extra)

    def word_vectors(self, words: Sequence[str]) -> Tensor:
        """Input vectors [n, D] of words about items; models without texts of items refuse them."""
        raise UnknownIdError(
            f"{words[0]!r} is not among the {len(self.catalog)} items, and this method cannot read words; give item ids"
        )

    def _user_numbers(self, queries: Sequence[Query]) -> np.ndarray:
        numbers = [int(self.users.encode([q.user])[0]) if q.user in self.users else -1 for q in queries]
        return np.asarray(numbers, dtype=np.int32)

    def _events(self, query: Query, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        items, times = np.zeros(0, np.int32), np.zeros(0, np.int64)
        if query.user in self.users:
            at = None if query.moment is None else np.asarray([query.moment])
            own = self.log.rows(self._user_numbers([query])).until(at)
            items, times = own.items, own.times
        elif query.user is not None and not query.history and query.words is None:
            raise UnknownIdError(
                f"user {query.user!r} is not among the {len(self.users)} known users; give a history, or no user "
                "at all for what is popular"
            )
        if events := query.events:
            items = np.concatenate([items, item_numbers([e.item for e in events], self.catalog.vocabulary, words)])
            times = np.concatenate([times, event_times(events, query.at, times)])
        return items, times

    def mask(self, query: Query, seen: np.ndarray) -> Tensor:
        """What may be shown, bool [V + 1]."""
        allowed = allowed_mask(query.filters, self.catalog)
        mask = torch.ones(self.catalog.size, dtype=torch.bool) if allowed is None else allowed.clone()
        mask[0] = False
        if query.candidates is not None:
            chosen = torch.zeros_like(mask)
            chosen[torch.from_numpy(self.catalog.vocabulary.encode(query.candidates).astype(np.int64))] = True
            mask &= chosen
        if self.hides_seen(query.filters):
            mask[torch.from_numpy(seen[seen < len(mask)].astype(np.int64))] = False
        return mask

    def hides_seen(self, filters: Filters) -> bool:
        """Whether items of the history are left out."""
        return self.exclude_seen if filters.exclude_seen is None else filters.exclude_seen

    def answer(self, scores: Tensor, mask: Tensor, query: Query, source: str) -> Recommendations:
        """The best items by some scores [V + 1], among those that the mask [V + 1] lets through."""
        scores = scores.masked_fill(~mask, -torch.inf)
        total = torch.logsumexp(scores, dim=0)
        if query.diversity > 0:
            values, items = self._diverse(scores, query)
        else:
            values, items = top_k(scores[None, :], query.k)
        finite = torch.isfinite(values[0])
        numbers, values = items[0][finite].numpy(), values[0][finite]
        rows = zip(
            self.catalog.vocabulary.decode(numbers), values.tolist(), torch.exp(values - total).tolist(),
            self.catalog.titles(numbers), strict=True,
        )  # fmt: skip
        return Recommendations(tuple(Recommendation(*row) for row in rows), query.user, source)

    def _diverse(self, scores: Tensor, query: Query) -> tuple[Tensor, Tensor]:
        """MMR over the best `DIVERSE k` items, in units of their probability."""
        values, items = top_k(scores[None, :], min(DIVERSE * query.k, len(scores)))
        kept = torch.isfinite(values[0])
        values, items = values[0][kept], items[0][kept]
        vectors = self._profiles(items) if self.item_vectors is None else self.item_vectors.cpu()[items]
        picked = mmr(torch.softmax(values, dim=0), vectors, query.k, query.diversity)
        return values[picked][None, :], items[picked][None, :]

    def _profiles(self, items: Tensor) -> Tensor:
        """What follows each of some items, among these items [n, n]: items are alike where the same follows them."""
        numbers = items.numpy().astype(np.int32)
        times, offsets = np.zeros(len(numbers), np.int64), np.arange(len(numbers) + 1)
        ones = Histories(numbers, times, offsets, has_time=False)
        return torch.cat([scores[:, items] for _, scores in self.chunks(ones)]).nan_to_num(neginf=0.0)

    def chunks(self, histories: Histories, size: int = CHUNK) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Scores of many histories, some rows at a time: (row numbers, scores [b, V + 1])."""
        for begin in range(0, len(histories), size):
            rows = np.arange(begin, min(begin + size, len(histories)))
            yield rows, self.score(histories.rows(rows))
