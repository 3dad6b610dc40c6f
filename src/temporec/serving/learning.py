"""The learner beside a service: a process that is started again where it dies, and ends with the service."""

import subprocess
import threading
import time
from collections.abc import Sequence
from logging import ERROR

from temporec.serving.logs import log

__all__ = ["LearnerProcess"]

_FIRST, _LONGEST = 1.0, 60.0  # seconds before a new start; twice as many after each failure
_STEADY = 60.0  # seconds after which a process has not failed at its start
_PATIENCE = 30.0  # seconds that it may take to write what it has learned


class LearnerProcess:
    """Runs a command until `close`. Its standard input stays open and empty as long as this process lives."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._changing, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="temporec-learner", daemon=True)
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        process = self._process
        return process is not None and process.poll() is None

    def close(self) -> None:
        """End the process, which may finish what it does first."""
        with self._changing:
            self._stop.set()
        if (process := self._process) is not None:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
        self._thread.join()

    def _watch(self) -> None:
        pause = _FIRST
        while True:
            began = time.monotonic()
            if (process := self._started()) is None:
                return
            code = process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if time.monotonic() - began > _STEADY:
                pause = _FIRST
            if self._stop.is_set():
                return
            log("the learner ended and is started again", level=ERROR, code=code, pause=pause)
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST)

    def _started(self) -> "subprocess.Popen[bytes] | None":
        """A new process; None after `close`."""
        with self._changing:
            if self._stop.is_set():
                return None
            # In a group of its own: Ctrl-C is meant for the service, which then ends it.
            self._process = subprocess.Popen(self.command, stdin=subprocess.PIPE, process_group=0)
        log("the learner starts", pid=self._process.pid)
        return self._process
