"""The learning rate over the steps of a run."""

import math

__all__ = ["learning_rate"]


def learning_rate(base: float, step: int, warmup: int, total: int | None = None) -> float:
    """Linear warm-up over `warmup` steps, then constant; with `total`, a half cosine down to a tenth of `base`."""
    if step < warmup:
        return base * (step + 1) / warmup
    if total is None or total <= warmup:
        return base
    share = min(1.0, (step - warmup) / (total - warmup))
    return base * (0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * share)))
