"""What the learner says of its last rounds, for whoever shows it."""

import json
from collections import deque
from typing import Any

from temporec.durable import write_atomic
from temporec.store.versions import Home

__all__ = ["Reports", "read_reports"]

_KEPT = 200


class Reports:
    """Writes the last reports of a home; one learner at a time."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._last = deque(read_reports(home), maxlen=_KEPT)

    def add(self, report: dict[str, Any]) -> None:
        """Keep one more report, durable."""
        self._last.append(report)
        write_atomic(self.home.reports_path, json.dumps(list(self._last)))


def read_reports(home: Home) -> list[dict[str, Any]]:
    """The last reports, oldest first; none where no learner has run or the file is damaged: nothing depends on it."""
    try:
        reports: list[dict[str, Any]] = json.loads(home.reports_path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return reports
