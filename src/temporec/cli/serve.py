"""temporec serve."""

import os
from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import guarded

__all__ = ["serve"]


@guarded
def serve(
    folder: o.Folder,
    host: Annotated[str | None, typer.Option("--host", help="Address to bind to; loopback by default.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="8000 by default; 0 = any free one.")] = None,
    log: Annotated[str | None, typer.Option("--log", help="URL of the event log.", metavar="URL")] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="What events change.", metavar="frozen|state|adaptive")
    ] = None,
    threads: o.Threads = None,
    config: Annotated[
        str | None, typer.Option("--config", help="YAML or JSON file of options.", metavar="FILE")
    ] = None,
    set_: o.Set = None,
) -> None:
    """Serve a fitted model over HTTP: recommendations in milliseconds, durable events."""
    given = {"host": host, "port": port, "log": log, "mode": mode, "threads": threads}
    from temporec.config import parse_overrides
    from temporec.errors import MissingExtraError

    try:
        from temporec.serving.runner import serve as run
        from temporec.serving.settings import ServeConfig
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"serve needs {error.name}, which is not installed. Run: pip install 'temporec[serve]'"
        ) from None
    run(folder, ServeConfig.gather(config, {**parse_overrides(set_ or []), **given}, os.environ))
