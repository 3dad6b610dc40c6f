"""More from sparse data: crop, prefix, mask, reorder, substitute. All off by default; a function of the generator.

Two places, by what happens to the targets (the next item after every event):

- `crop_windows` shortens training windows by index, and `augment_batch` changes only the *inputs* of a batch, so the
  targets stay the true next events. This is what training should use.
- `augment_windows` gives new histories, in which the event after another is the target. After crop and prefix it is
  the true next event; after mask the next event that is left; reorder and substitute change what is learned (as in
  CL4SRec, Xie et al. 2022, and CoSeRec, Liu et al. 2021).
"""

from dataclasses import replace

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from temporec.config import Config
from temporec.data.batch import Histories, SequenceBatch
from temporec.data.catalog import PAD
from temporec.errors import ConfigError

__all__ = ["AugmentConfig", "augment_batch", "augment_windows", "crop_windows"]


class AugmentConfig(Config):
    """Probabilities of each change; 0 = off.

    Args:
        crop: that a window keeps only a random stretch.
        prefix: that a window ends early, at a random event.
        mask: that an event is hidden: its item is 0, whose row of the item table learns to stand for that.
        reorder: that a window has a short span of its events shuffled.
        substitute: that an item is replaced by one of its neighbours (needs a neighbour table).
        nearest: size of the neighbour table, per item.
        least_share: crop and prefix keep at least this share of the window.
        span: events in a shuffled span, at most.
    """

    crop: float = Field(0.0, ge=0.0, le=1.0)
    prefix: float = Field(0.0, ge=0.0, le=1.0)
    mask: float = Field(0.0, ge=0.0, lt=1.0)
    reorder: float = Field(0.0, ge=0.0, le=1.0)
    substitute: float = Field(0.0, ge=0.0, le=1.0)
    nearest: int = Field(10, ge=1)
    least_share: float = Field(0.5, gt=0.0, le=1.0)
    span: int = Field(4, ge=2)

    @property
    def is_on(self) -> bool:
        """Whether anything would be changed."""
        return any((self.crop, self.prefix, self.mask, self.reorder, self.substitute))


def crop_windows(
    starts: np.ndarray, ends: np.ndarray, config: AugmentConfig, rng: np.random.Generator, least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Crop and prefix on windows [starts, ends) by index; every window keeps at least `least` events (if it had them).

    With `starts, ends, _ = Sequences.windows(...)` the targets stay the true next events, because `Sequences.gather`
    reads the target of the last input from the log.
    """
    length = ends - starts
    shortest = np.minimum(length, np.maximum(least, np.ceil(config.least_share * length).astype(np.int64)))
    kept = shortest + (rng.random(len(length)) * (length - shortest + 1)).astype(np.int64)
    free = (rng.random(len(length)) * (length - kept + 1)).astype(np.int64)  # where a cropped stretch begins
    draw = rng.random((2, len(length)))
    cropped, ended = draw[0] < config.crop, draw[1] < config.prefix
    begin = starts + np.where(cropped, free, 0)
    return begin, np.where(cropped | ended, begin + kept, ends)


def augment_batch(
    batch: SequenceBatch, config: AugmentConfig, rng: np.random.Generator, neighbours: np.ndarray | None = None
) -> SequenceBatch:
    """Mask, reorder and substitute in the inputs of a training batch; times, gaps and lengths stay as they are.

    - mask: the event's item (and kind and value) becomes 0; it is still the target of the event before.
    - substitute: the input becomes a neighbour; the target before it stays the true item.
    - reorder: items, kinds and values of a span change places; inside the span, where an input could be its own
      answer, there is no target (0); the span's last position keeps its true one.

    Args:
        neighbours: int [V, k], similar items of each item number, 0 = none (row 0 = PAD).
    """
    if not (config.mask or config.reorder or config.substitute):
        return batch
    valid = batch.mask
    offsets = np.concatenate([[0], np.cumsum(batch.lengths.numpy())]).astype(np.int64)
    items = batch.items[valid].numpy()
    order, inside = _reordered(offsets, config, rng)
    visible = rng.random(len(items)) >= config.mask
    items = _substituted(items[order], config.substitute, neighbours, rng)

    def put(tensor: Tensor, flat: np.ndarray) -> Tensor:
        made = torch.zeros_like(tensor)
        made[valid] = torch.from_numpy(np.where(visible, flat, 0)).to(tensor.dtype)
        return made

    targets = batch.targets
    if targets is not None and inside.any():
        targets = targets.clone()
        targets[valid] = targets[valid] * torch.from_numpy(~inside)
    return replace(
        batch,
        items=put(batch.items, items),
        targets=targets,
        kinds=None if batch.kinds is None else put(batch.kinds, batch.kinds[valid].numpy()[order]),
        values=None if batch.values is None else put(batch.values, batch.values[valid].numpy()[order]),
    )


def augment_windows(
    windows: Histories, config: AugmentConfig, rng: np.random.Generator, neighbours: np.ndarray | None = None
) -> Histories:
    """As many new histories as there were, from complete windows (inputs and the last target); see the module.

    A window of at least two events keeps at least two. A masked event is taken out, and the times of the others stay,
    so that the gap over it grows; the last two events of a window are never masked. Reorder moves items, kinds and
    values, never times.
    """
    starts, ends = crop_windows(windows.offsets[:-1], windows.offsets[1:], config, rng, least=2)
    rows = np.repeat(np.arange(len(windows)), ends - starts)
    offsets = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)
    index = np.arange(offsets[-1]) - offsets[rows] + starts[rows]
    stays = (rng.random(len(index)) >= config.mask) | (np.arange(offsets[-1]) >= offsets[rows + 1] - 2)
    index, rows = index[stays], rows[stays]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(windows)))]).astype(np.int64)
    moved = index[_reordered(offsets, config, rng)[0]]
    return Histories(
        _substituted(windows.items[moved], config.substitute, neighbours, rng), windows.times[index], offsets,
        windows.at, windows.users, windows.has_time,
        None if windows.kinds is None else windows.kinds[moved],
        None if windows.values is None else windows.values[moved],
    )  # fmt: skip


def _reordered(offsets: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The events with one span shuffled in some windows; which events lie in a span but are not its end."""
    total = int(offsets[-1])
    order, inside = np.arange(total), np.zeros(total, dtype=bool)
    lengths = np.diff(offsets)
    chosen = np.flatnonzero((rng.random(len(lengths)) < config.reorder) & (lengths >= 2))
    if not len(chosen):
        return order, inside
    size = np.minimum(config.span, lengths[chosen])
    begin = offsets[chosen] + (rng.random(len(chosen)) * (lengths[chosen] - size + 1)).astype(np.int64)
    span = np.repeat(np.arange(len(chosen)), size)
    place = np.arange(len(span)) - np.repeat(np.cumsum(size) - size, size)
    position = begin[span] + place
    order[position] = position[np.lexsort((rng.random(len(span)), span))]
    inside[position] = place < size[span] - 1
    return order, inside


def _substituted(
    items: np.ndarray, probability: float, neighbours: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Some items replaced by a random neighbour; an item without neighbours stays."""
    if not probability:
        return items
    if neighbours is None:
        raise ConfigError("augment.substitute needs a table of similar items [V, k]; fit one, or set substitute to 0")
    chosen = np.flatnonzero(rng.random(len(items)) < probability)
    drawn = neighbours[items[chosen], rng.integers(0, neighbours.shape[1], len(chosen))]
    made = items.copy()
    made[chosen] = np.where(drawn == PAD, items[chosen], drawn)
    return made
