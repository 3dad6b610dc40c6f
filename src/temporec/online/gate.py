"""Who may answer: a challenger that the newest events prove, and the way back where live feedback drops."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field, PositiveInt
from scipy.stats import norm

from temporec.config import Config
from temporec.metrics.intervals import Difference, paired_difference

__all__ = ["Gate", "GateConfig", "Ruling", "Trial", "Verdict"]

Verdict = Literal["better", "fresher", "worse", "wait"]


class GateConfig(Config):
    """When a challenger is promoted, and when it is taken back.

    Args:
        window: the newest so many events decide; fewer do not.
        patience: after so many windows without a decision the challenger is dropped.
        margin: a challenger that has learned newer events may be worse by this share of the champion's figure.
        confidence: of the intervals.
        share: of the users that the old version still answers while a new one is on trial; 0 = no trial.
        shown: recommendations that each of the two must have shown before their clicks are compared.
    """

    window: PositiveInt = Field(default=2_000, ge=2_000)
    patience: PositiveInt = 5
    margin: float = Field(default=0.01, ge=0.0, lt=1.0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    share: float = Field(default=0.1, ge=0.0, le=0.5)
    shown: PositiveInt = 2_000


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the gate says, and why."""

    verdict: Verdict
    sentence: str
    events: int
    champion: float
    challenger: float
    low: float
    high: float

    @property
    def promotes(self) -> bool:
        return self.verdict in ("better", "fresher")


class Gate:
    """Champion and challenger on the same events, each predicted before anyone learned it."""

    def __init__(self, config: GateConfig | None = None) -> None:
        self.config = config or GateConfig()
        self._champion: list[float] = []
        self._challenger: list[float] = []
        self._judged = 0  # windows that have been ruled on

    def __len__(self) -> int:
        return len(self._champion)

    def add(self, champion: Sequence[float], challenger: Sequence[float]) -> None:
        """Figures of some events, such as NDCG@10 of each, in the same order."""
        if len(champion) != len(challenger):
            raise ValueError(f"{len(champion)} and {len(challenger)} figures; both must answer the same events")
        self._champion += champion
        self._challenger += challenger

    def rule(self) -> Ruling:
        """The verdict over the newest events; "wait" until a window is full, and then until the next one is."""
        config = self.config
        if len(self) < config.window:
            return self._ruling("wait", f"{len(self):,} of {config.window:,} events", None)
        self._judged += 1
        gap = paired_difference(np.asarray(self._challenger), np.asarray(self._champion), confidence=config.confidence)
        allowed = config.margin * float(np.mean(self._champion))
        over = f"over {gap.n:,} events: {gap.mean:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
        if gap.low > 0:
            return self._ruling("better", f"better {over}", gap)
        if gap.low > -allowed:
            return self._ruling("fresher", f"not worse by {allowed:.4f} and fresher {over}", gap)
        if gap.high < 0:
            return self._ruling("worse", f"worse {over}", gap)
        if self._judged >= config.patience:
            return self._ruling("worse", f"not shown to be as good {over}", gap)
        ruling = self._ruling("wait", f"undecided {over}", gap)
        self._champion, self._challenger = [], []  # what is older than the newest window decides nothing
        return ruling

    def _ruling(self, verdict: Verdict, sentence: str, gap: Difference | None) -> Ruling:
        means = [float(np.mean(values)) if values else float("nan") for values in (self._champion, self._challenger)]
        low, high = (float("nan"), float("nan")) if gap is None else (gap.low, gap.high)
        return Ruling(verdict, sentence, len(self), means[0], means[1], low, high)


class Trial:
    """Clicks per recommendation shown, compared between two versions that answer at the same time.

    Users are the cases: what one user sees and clicks hangs together. A recommendation counts once however often it is
    reported, and a click counts only where the version had shown the item.
    """

    def __init__(self, current: str, control: str, config: GateConfig | None = None) -> None:
        self.current, self.control, self.config = current, control, config or GateConfig()
        self._shown: dict[str, dict[str | int, set[tuple[Any, Any]]]] = {current: {}, control: {}}
        self._clicked: dict[str, dict[str | int, set[tuple[Any, Any]]]] = {current: {}, control: {}}
        self._judged = 0  # windows that have been ruled on

    def take(self, feedback: dict[str, Any]) -> None:
        """One record of feedback: version, item, action, and user or request."""
        version, user, request = (feedback.get(name) for name in ("version", "user", "request"))
        case = request if user is None else user
        seen = self._shown if feedback.get("action") == "shown" else self._clicked
        if version in seen and case is not None:
            seen[version].setdefault(case, set()).add((request, feedback.get("item")))

    def rates(self, version: str) -> tuple[np.ndarray, np.ndarray]:
        """Items shown and clicked by each case."""
        shown, clicked = self._shown[version], self._clicked[version]
        pairs = [(len(items), len(items & clicked.get(case, set()))) for case, items in shown.items()]
        table = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def rule(self) -> Ruling:
        """The verdict each time both have shown so many more: "worse" means back; else "wait" until the trial ends."""
        (a, a_var, a_n), (b, b_var, b_n) = (_ratio(*self.rates(name)) for name in (self.current, self.control))
        counts = f"{a_n:,} shown by {self.current}, {b_n:,} by {self.control}"
        window = min(a_n, b_n) // self.config.shown
        if window <= self._judged:
            return Ruling("wait", counts, a_n + b_n, b, a, float("nan"), float("nan"))
        self._judged = window
        reach = float(norm.ppf(0.5 + self.config.confidence / 2)) * float(np.sqrt(a_var + b_var))
        low, high = a - b - reach, a - b + reach
        over = f"clicks per item shown {a - b:+.4f} [{low:+.4f}, {high:+.4f}] ({counts})"
        verdict: Verdict = "worse" if high < 0 else "better" if low > 0 else "fresher"
        if verdict == "fresher" and window < self.config.patience:
            verdict = "wait"
        return Ruling(verdict, over, a_n + b_n, b, a, low, high)


def _ratio(shown: np.ndarray, clicked: np.ndarray) -> tuple[float, float, int]:
    """Clicks per item shown, the variance of that (linearised over cases), and the number shown."""
    total, n = shown.sum(), len(shown)
    if n < 2:
        return float("nan"), float("nan"), int(total)
    rate = float(clicked.sum() / total)
    spread = ((clicked - rate * shown) ** 2).sum() * n / (n - 1)
    return rate, float(spread / total**2), int(total)
