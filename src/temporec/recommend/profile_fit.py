"""From a users table to profiles: the map that makes the trained model foretell what such users begin with."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from temporec.data.batch import Histories, SequenceBatch
from temporec.data.dataset import Dataset
from temporec.data.vocabulary import Vocabulary
from temporec.errors import ConfigError, DataError
from temporec.metrics.ranking import ndcg
from temporec.metrics.ranks import rank_targets
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.profile_encoder import ProfileConfig, ProfileEncoder
from temporec.recommend.profiles import Profiles, prepended
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import random_state

__all__ = ["fit_profiles"]

_FEWEST = 10  # users with events and a row in the table
_LENGTHS = (0, 1, 2, 3, 5, 10, 20)  # of histories for which a profile is tried
_CLEAR = 2.5  # standard errors of a difference
_TARGETS = 10  # events after such a history
_STEPS, _CHECK, _PATIENCE = 200, 10, 5  # of learning: at most; between looks at the held-out users; looks without gain
_HIDDEN = 0.25  # of the users of a step show about half of their columns, so that a part of a profile is read too
_RATE = 0.4  # of Adam, beside the size of an entry of the item table; falls to 0
_ROWS, _CELLS = 1024, 2**23  # users of one step, and users x items


def fit_profiles(recommender: NeuralRecommender, train: Dataset, config: FitConfig, seed: int) -> Profiles | None:
    """Profiles of the users table of a data set; None where it has none. Nothing in the model changes.

    A linear map from features to an event's vector is learned by the likelihood of each user's first events. A fifth of
    the users is held out: they decide when to stop, and for how short histories a profile ranks better than none.
    Then the map is learned again from all. (The model has been trained on the held-out users' events, which helps
    the ranking without profiles where there is a history.)

    Raises:
        ConfigError: the model is of a kind that cannot take profiles.
        DataError: the table knows too few of the users of the log.
    """
    frame, log = train.users, recommender.log
    if frame is None:
        return None
    if config.recommender.kind != "neural":
        raise ConfigError(f"a {config.recommender.kind} recommender knows no profiles; fit it without a users table")
    users = Vocabulary(frame["user"], first=0, what="user")
    row = users.encode_series(recommender.users.ids)
    known = np.flatnonzero((row >= 0) & (log.lengths > 0))
    if len(known) < _FEWEST:
        raise DataError(
            f"the users table knows {len(known)} of the {len(log):,} users of the log, and {_FEWEST} are needed; check "
            "its column of ids"
        )
    known = random_state(seed, 14).permutation(known)
    encoder = ProfileEncoder.fit(frame[row[known]], config.profiles, config.text)
    table = encoder.shaped(frame)
    features = encoder(table[row[known]])
    task = _Task(recommender, known, features, encoder.groups(features.shape[1]), config.profiles)
    held, rest = np.split(np.arange(len(known)), [len(known) // 5])
    weight, steps = task.learn(rest, held, random_state(seed, 15))
    until, sentence = task.judge(held, weight)
    weight, _ = task.learn(np.arange(len(known)), None, random_state(seed, 15), steps)
    chosen = config.profiles.until
    return Profiles(encoder, weight, until if chosen is None else chosen, users, table, sentence)


class _Targets(NamedTuple):
    """What some users did: `items[offsets[b]:offsets[b + 1]]`, each item once."""

    items: np.ndarray
    offsets: np.ndarray


class _Task:
    """Users of a log by place: `users[i]` is a user number, `features[i]` what is known of that user."""

    def __init__(
        self,
        recommender: NeuralRecommender,
        users: np.ndarray,
        features: np.ndarray,
        groups: np.ndarray,
        config: ProfileConfig,
    ) -> None:
        self.recommender, self.users, self.events = recommender, users, config.events
        self.features, self.groups = torch.from_numpy(features), groups
        self.table = recommender.model.item_table().detach().cpu()
        self.items = np.unique(recommender.log.items)  # what the softmax is over
        self.size = float(self.table[torch.from_numpy(self.items).long()].square().mean().sqrt())  # of an entry

    def learn(
        self, places: np.ndarray, held: np.ndarray | None, draw: np.random.Generator, steps: int = _STEPS
    ) -> tuple[Tensor, int]:
        """The map [F + 1, D], and how many steps it took; with `held`, those after which these were foretold best."""
        free = torch.zeros(self.features.shape[1] + 1, self.table.shape[1], requires_grad=True)
        optimizer = torch.optim.Adam([free], lr=_RATE)
        rows = min(len(places), _ROWS, max(16, _CELLS // len(self.items)))
        best, kept, at = np.inf, free.detach().clone(), 0
        for step in range(1, steps + 1):
            some = draw.choice(places, rows, replace=False)
            shown = draw.random((rows, self.groups.max(initial=0) + 1)) >= 0.5 * (draw.random((rows, 1)) < _HIDDEN)
            features = self.features[torch.from_numpy(some)] * torch.from_numpy(shown[:, self.groups])
            loss = self.loss(some, features @ free[:-1] * self.size + free[-1] * self.size)
            (free.grad,) = torch.autograd.grad(loss, [free])
            optimizer.param_groups[0]["lr"] = _RATE * (1.0 - step / _STEPS)
            optimizer.step()
            if held is None or step % _CHECK:
                continue
            with torch.no_grad():
                now = float(self.loss(held[: 4 * _ROWS], self.vectors(held[: 4 * _ROWS], free * self.size)))
            if now < best:
                best, kept, at = now, free.detach().clone(), step
            elif step >= at + _PATIENCE * _CHECK:
                break
        return (free.detach() if held is None else kept) * self.size, steps if held is None else at

    def loss(self, places: np.ndarray, vectors: Tensor) -> Tensor:
        """Mean of -log P(one of a user's first events | a first event with such a vector [D]) over these users [n]."""
        n, table, model = len(places), self.table, self.recommender.model
        numbers = len(table) + torch.arange(n)[:, None]
        batch = SequenceBatch(
            numbers,
            torch.zeros_like(numbers),
            torch.zeros(n, 1),
            torch.ones(n, dtype=torch.int64),
            gap=torch.zeros(n, 1),
        )
        with torch.backends.cudnn.flags(enabled=False):  # its recurrent kernels have no gradient in eval mode
            extended = torch.cat([table, vectors])
            query = model.query(batch.to(device := self.recommender.item_vectors.device), extended.to(device))
            scores = model.head.scores(query, self.recommender.item_vectors)
        chance = torch.log_softmax(scores[:, torch.from_numpy(self.items).long().to(device)], dim=1)
        goal = self.after(places, 0, self.events)
        count = np.diff(goal.offsets)
        row = torch.from_numpy(np.repeat(np.arange(n), count))
        own = chance[row.to(device), torch.from_numpy(np.searchsorted(self.items, goal.items)).to(device)].cpu()
        return -(own / torch.from_numpy(count)[row]).sum() / n

    def vectors(self, places: np.ndarray, weight: Tensor) -> Tensor:
        """Event vectors [n, D] of these users' profiles."""
        return self.features[torch.from_numpy(places)] @ weight[:-1] + weight[-1]

    def after(self, places: np.ndarray, begin: int, count: int) -> _Targets:
        """The different items among up to `count` events of each user from event `begin` on."""
        log = self.recommender.log
        starts = log.offsets[self.users[places]] + begin
        parts = [
            np.unique(log.items[s : min(s + count, e)])
            for s, e in zip(starts, log.offsets[self.users[places] + 1], strict=True)
        ]
        return _Targets(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))

    def judge(self, held: np.ndarray, weight: Tensor) -> tuple[int, str]:
        """For how short histories a profile ranks clearly better than none, and clearly worse for no shorter ones."""
        until, said = 0, ""
        lengths = self.recommender.log.lengths[self.users]
        for i, n in enumerate(_LENGTHS):
            places = held[lengths[held] > n]
            if len(places) < 2:
                break
            without, own = self.figures(places, n, None), self.figures(places, n, weight)
            gain = own - without
            clear = gain.mean() / max(gain.std() / np.sqrt(len(gain)), 1e-9)
            if n == 0:
                mean = self.figures(places, n, torch.cat([torch.zeros_like(weight[:-1]), weight[-1:]]))
                said = (
                    f"Profiles: NDCG@10 for {len(places):,} held-out users without events {own.mean():.4f}, by the "
                    f"mean profile {mean.mean():.4f}, by popularity {without.mean():.4f}; "
                )
            if clear < -_CLEAR:
                break
            if clear > _CLEAR:
                until = (*_LENGTHS, n)[i + 1]
        worth = (
            f"a profile counts while a history has fewer than {until} event(s)" if until else "profiles do not count"
        )
        return until, said + worth + "."

    def figures(self, places: np.ndarray, n: int, weight: Tensor | None) -> np.ndarray:
        """NDCG@10 [users] of the next events after the first n, with profiles or without."""
        log, goal = self.recommender.log, self.after(places, n, _TARGETS)
        flat = (log.offsets[self.users[places]][:, None] + np.arange(n)).ravel()
        kinds, values = (None if part is None else part[flat] for part in (log.kinds, log.values))
        offsets = n * np.arange(len(places) + 1, dtype=np.int64)
        plain = Histories(log.items[flat], log.times[flat], offsets, None, None, log.has_time, kinds, values)
        asked = plain
        if weight is not None:
            asked = prepended(plain, np.arange(len(places)), self.vectors(places, weight), len(self.table))
        parts = []
        for rows, scores in self.recommender.chunks(asked):
            if self.recommender.exclude_seen and n:
                seen = plain.rows(rows)
                scores[
                    torch.from_numpy(np.repeat(np.arange(len(rows)), n)), torch.from_numpy(seen.items).long()
                ] = -torch.inf
            begin, end = goal.offsets[rows[0]], goal.offsets[rows[-1] + 1]
            own = goal.offsets[rows[0] : rows[-1] + 2] - begin
            parts.append(ndcg(rank_targets(scores, goal.items[begin:end], own), own, 10))
        return np.concatenate(parts)
