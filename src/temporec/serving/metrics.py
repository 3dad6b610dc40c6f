"""What is counted: for Prometheus at /metrics, and the last latencies for the page."""

from collections import deque
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_KEPT = 2_000  # latencies that percentiles are taken from


class Metrics:
    """The figures of one service, in a registry of its own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter("temporec_requests", "Answered requests.", ["route", "status"], registry=own)
        self.seconds = Histogram(
            "temporec_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=own
        )
        self.events = Counter("temporec_events", "Events acknowledged as durable.", registry=own)
        self.feedback = Counter(
            "temporec_feedback", "Feedback by version (or other) and action.", ["version", "action"], registry=own
        )
        self.batches = Histogram("temporec_batch_size", "Requests scored together.", buckets=_SIZES, registry=own)
        self.waiting = Gauge("temporec_waiting", "Requests that wait for the model.", registry=own)
        self.offset = Gauge("temporec_log_offset", "Last place in the event log that the states include.", registry=own)
        self.swaps = Counter("temporec_swaps", "Changes of the version.", ["outcome"], registry=own)
        self.version = Gauge("temporec_version", "1 for the versions that answer.", ["version", "role"], registry=own)
        self.learner = Gauge("temporec_learner_running", "Whether the learner process runs.", registry=own)
        self.known: set[str] = set()  # versions that were in memory since the start
        self.latencies: deque[float] = deque(maxlen=_KEPT)
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = (route, status)
        if (children := self._children.get(key)) is None:
            children = self._children[key] = (self.requests.labels(route, status), self.seconds.labels(route))
        children[0].inc()
        children[1].observe(seconds)
        if status == 200 and route.endswith("recommendations"):
            self.latencies.append(seconds)

    def judged(self, version: str, action: str) -> None:
        """Count one feedback; versions that this service did not answer with are counted together."""
        self.feedback.labels(version if version in self.known else "other", action).inc()

    def percentiles(self) -> dict[str, float | None]:
        """Milliseconds of the last recommendations."""
        ordered = sorted(self.latencies)
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        return {
            name: round(1000 * ordered[int(share * (len(ordered) - 1))], 3) if ordered else None
            for name, share in shares.items()
        }

    def answering(self, roles: dict[str, str | None]) -> None:
        """Say which versions answer, by role."""
        self.version.clear()
        for role, name in roles.items():
            if name is not None:
                self.version.labels(name, role).set(1)

    def to_text(self) -> bytes:
        """The text format of Prometheus."""
        text: bytes = generate_latest(self.registry)
        return text

    def total(self, counter: Counter) -> float:
        """What a counter without labels stands at."""
        return sum(
            sample.value for metric in counter.collect() for sample in metric.samples if sample.name.endswith("_total")
        )
