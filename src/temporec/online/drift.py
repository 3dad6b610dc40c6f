"""Has the stream changed, and how fast should be learned?"""

from collections.abc import Iterable
from typing import Any

from pydantic import Field, PositiveFloat, PositiveInt

from temporec.config import Config
from temporec.errors import MissingExtraError

__all__ = ["Drift", "DriftConfig"]


class DriftConfig(Config):
    """When a change counts, and what it does to the learning rate.

    Args:
        delta: chance of a false alarm at a check (ADWIN's delta).
        boost: the learning rate is multiplied by it when the stream has changed.
        calm: so many events later half of the extra is gone.
    """

    delta: float = Field(default=0.002, gt=0.0, lt=1.0)
    boost: PositiveFloat = 3.0
    calm: PositiveInt = 5_000


class Drift:
    """ADWIN (Bifet and Gavalda 2007, of river) on the prequential loss: 0 = hit, 1 = miss, event by event.

    Only a change for the worse raises the learning rate; a model that gets better is no drift.
    """

    def __init__(self, config: DriftConfig | None = None) -> None:
        try:
            from river.drift import ADWIN
        except ModuleNotFoundError:
            raise MissingExtraError(
                "drift is found with river, which is not installed. Run: pip install 'temporec[online]'"
            ) from None
        self.config = config or DriftConfig()
        made: Any = ADWIN  # untyped
        self._window = made(delta=self.config.delta)
        self.found = 0
        self._extra = 0.0

    def update(self, losses: Iterable[float]) -> bool:
        """Take the losses of some events, in their order; whether the stream has become worse."""
        worse = False
        for loss in losses:
            self._extra *= 0.5 ** (1.0 / self.config.calm)
            before = self._window.estimation
            self._window.update(loss)
            if self._window.drift_detected and self._window.estimation > before:
                worse = True
                self._extra = self.config.boost - 1.0
        self.found += worse
        return worse

    @property
    def rate(self) -> float:
        """By what the learning rate is multiplied now."""
        return 1.0 + self._extra

    @property
    def level(self) -> float:
        """The mean loss since the last change."""
        return float(self._window.estimation)
