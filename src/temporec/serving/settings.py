"""What can be set about a service: by file, by environment (`TEMPOREC_PORT=9000`), by command line, the later wins."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field

from temporec.config import Config, Names
from temporec.errors import ConfigError

__all__ = ["LOOPBACK_NAMES", "ServeConfig"]

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "::1")
_PREFIX = "TEMPOREC_"


class ServeConfig(Config):
    """How a service runs.

    Args:
        host: address to bind to; anything but loopback needs tokens.
        port: 0 = any free one, which the log names.
        mode: frozen = version and user states stay as they are at the start; state = events change the states, versions
            change when somebody activates one; adaptive = a learner process runs beside the service.
        log: URL of the event log; None = `events.db` in the home of the service.
        threads: CPU threads of the model.
        queue: requests that may wait for the model; more get 429.
        batch: requests that are scored at once.
        megabytes: memory of the users' states; the least recently used ones are built again when they are needed.
        warm: states of so many of the busiest users are computed before a version answers.
        max_body: bytes of a request body.
        max_connections: open connections.
        timeout: seconds that a request may take, its body included.
        drain: seconds that open requests get after SIGTERM.
        rate: requests per second of each token on average; 0 = no limit.
        burst: requests that a token may send at once.
        cors: origins whose pages may call the service; none by default.
        allowed_hosts: accepted Host headers; by default the loopback names while the service has no tokens, else all.
        log_requests: one log line per request; errors are logged either way.
        traces: OpenTelemetry spans.
        check_every: seconds between two looks at which version is current.
        snapshot_every: events after which the live histories are written to disk, for a fast restart.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    mode: Literal["frozen", "state", "adaptive"] = "state"
    log: str | None = None
    threads: int = Field(default=1, ge=1)
    queue: int = Field(default=512, ge=1)
    batch: int = Field(default=64, ge=1)
    megabytes: int = Field(default=512, ge=1)
    warm: int = Field(default=1_000, ge=0)
    max_body: int = Field(default=1 << 20, ge=1024)
    max_connections: int = Field(default=1_000, ge=1)
    timeout: float = Field(default=10.0, gt=0)
    drain: float = Field(default=10.0, ge=0)
    rate: float = Field(default=5_000.0, ge=0)
    burst: int = Field(default=10_000, ge=1)
    cors: Names = ()
    allowed_hosts: Names = ()
    log_requests: bool = True
    traces: Literal["off", "console", "otlp"] = "off"
    check_every: float = Field(default=0.5, gt=0)
    snapshot_every: int = Field(default=200_000, ge=1)

    @classmethod
    def gather(cls, file: str | Path | None, given: Mapping[str, Any], environment: Mapping[str, str]) -> Self:
        """Defaults, then the file, then the environment, then what the command line gives (None = not given)."""
        values = {} if file is None else cls.from_file(file).model_dump(exclude_unset=True)
        for name in cls.model_fields:
            if (text := environment.get(_PREFIX + name.upper())) is not None:
                values[name] = _scalar(name, text)
        return cls.of({**values, **{name: value for name, value in given.items() if value is not None}})

    @classmethod
    def from_environment(cls) -> Self:
        return cls.gather(None, {}, os.environ)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"


def _scalar(name: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{_PREFIX}{name.upper()}={text!r} cannot be read; give one plain value") from None
    return text if isinstance(value, dict) else value
