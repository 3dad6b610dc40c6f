"""When to stop: patience on the validation metric."""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["EarlyStopping"]


@dataclass
class EarlyStopping:
    """Stop after `patience` epochs without a better value (higher is better)."""

    patience: int
    best: float = float("-inf")
    best_epoch: int = -1
    waited: int = 0

    def update(self, value: float, epoch: int) -> bool:
        """Take the value of an epoch; True if it is the best so far."""
        if value > self.best:
            self.best, self.best_epoch, self.waited = value, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self) -> bool:
        return self.waited >= self.patience

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
