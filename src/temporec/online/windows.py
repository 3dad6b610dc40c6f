"""Training windows whose targets are the newest events of each user only; what came before is context."""

from dataclasses import dataclass

import numpy as np

from temporec.data.sequences import Sequences

__all__ = ["FreshSequences"]


@dataclass(frozen=True)
class FreshSequences(Sequences):
    """Windows over a log of which only the last `fresh[u]` events of user u are targets, int64 [users]."""

    fresh: np.ndarray | None = None

    def windows(self, seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        starts, ends, new = super().windows(seed, epoch)
        if self.fresh is None:
            return starts, ends, new
        user = self.log.user[starts]
        new = np.maximum(new, self.log.offsets[1:][user] - 1 - self.fresh[user])
        kept = new < ends
        return starts[kept], ends[kept], new[kept]
