"""Runs a service until it is told to stop."""

import gc
import signal
import sys
from pathlib import Path

import uvicorn

from temporec.serving.app import create_app
from temporec.serving.learning import LearnerProcess
from temporec.serving.logs import log, start_logging
from temporec.serving.protocol import GuardedProtocol
from temporec.serving.service import Service
from temporec.serving.settings import ServeConfig

__all__ = ["serve"]

SWITCH = 0.00005  # seconds after which a thread lets another one run: the engine must not hold up the network


class _Server(uvicorn.Server):
    """Says where it listens, once it does."""

    async def startup(self, sockets: object = None) -> None:
        await super().startup(sockets=sockets)  # type: ignore[arg-type]
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                log("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")


def serve(folder: str | Path, config: ServeConfig) -> None:
    """Serve a home or a checkpoint; ends after SIGTERM or Ctrl-C, when open requests are answered."""
    from temporec.runtime import set_threads

    start_logging()
    set_threads(config.threads)
    sys.setswitchinterval(SWITCH)
    service = Service.open(folder, config)
    app = create_app(service)
    gc.collect()
    gc.freeze()  # what is here now stays; looking through it again and again would cost milliseconds
    current = service.engine.answering.current
    plain = {name: value for name, value in config.to_dict().items() if name != "log"}  # its URL may hold a password
    log("ready", version=current.name, items=len(service.engine.catalog), offset=current.live.offset, **plain)
    server = _Server(
        uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            loop="uvloop",
            http=GuardedProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(config.drain)),
            limit_concurrency=config.max_connections,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn stops on them, then raises them again: the end is no failure
    learner = _start_learner(service) if config.mode == "adaptive" else None
    try:
        server.run()
    finally:
        if learner is not None:
            learner.close()


def _start_learner(service: Service) -> LearnerProcess:
    """`temporec learn` beside this service."""
    command = [sys.executable, "-c", "from temporec.cli.main import run; run()", "learn", str(service.home.path)]
    words = [] if service.config.log is None else ["--log", service.config.log]
    learner = LearnerProcess([*command, "--until-input-ends", *words])
    service.metrics.learner.set_function(lambda: float(learner.runs))
    return learner
