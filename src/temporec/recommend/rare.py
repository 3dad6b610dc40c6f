"""Items with few events: their learned rows meet what their texts say, the less the more events there are."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from temporec.embeddings.ids import IdEmbedding
from temporec.model import SequenceModel
from temporec.recommend.text_map import TextMap

__all__ = ["mix_rare_items"]

_FADES = (0.0, 0.5, 1.0, 2.0, 4.0)


@torch.no_grad()
def mix_rare_items(
    model: SequenceModel,
    text_map: TextMap,
    texts: np.ndarray,
    events: np.ndarray,
    fade: float | None,
    judge: Callable[[], float] | None,
) -> float:
    """Change the trained rows of a model's item table in place, where it is a table of ids and nothing else.

    The direction of the row of an item with n events becomes (1 - w) learned + w told, w = fade / (fade + n), both of
    length 1; its length stays. What its text tells comes from the regression and the rows of other items.

    Args:
        texts: [V, d], a zero row = no text.
        events: of each item in training [V].
        fade: None = the one by which the model is judged best; 0 without a judge.
        judge: how good the model is as it stands.

    Returns:
        The fade.
    """
    table = model.items[0]
    if len(model.items) > 1 or not isinstance(table, IdEmbedding) or fade == 0.0 or (fade is None and judge is None):
        return 0.0
    known = np.flatnonzero((events > 0) & texts.any(axis=1))
    rows = torch.from_numpy(known + 1).to(table.weight.device)
    learned = table.weight[rows].clone()
    told = F.normalize(text_map(texts[known], np.arange(len(known))), dim=1).to(learned)
    count = torch.from_numpy(events[known]).to(learned)

    def mix(chosen: float) -> None:
        table.weight[rows] = _between(learned, told, (chosen / (chosen + count))[:, None])

    if fade is None and judge is not None:
        found = {}
        for each in _FADES:
            mix(each)
            found[each] = judge()
        fade = max(found, key=lambda each: found[each])
    if fade:
        mix(fade)
        return fade
    table.weight[rows] = learned  # to the last bit
    return 0.0


def _between(learned: Tensor, told: Tensor, share: Tensor) -> Tensor:
    """Rows [n, D] of the lengths of the learned ones."""
    length = learned.norm(dim=1, keepdim=True)
    rows: Tensor = F.normalize(torch.lerp(F.normalize(learned, dim=1), told, share), dim=1) * length
    return rows
