"""Errors become one sentence on standard error and exit code 2; nobody sees a traceback for bad input."""

import functools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import typer

from temporec.errors import TemporecError

__all__ = ["echo", "echo_json", "guarded"]

Verb = TypeVar("Verb", bound=Callable[..., None])


def guarded(verb: Verb) -> Verb:
    """Decorator of every command."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        # Fabric would announce its precision on standard error at every fit.
        logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
        try:
            verb(*args, **kwargs)
        except TemporecError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail(_interrupted(kwargs))
        except MemoryError:
            _fail("out of memory; use a smaller log, fewer training.tokens or a smaller encoder.dim")
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            said = error.strerror or " ".join(str(error).split())
            _fail(f"the system says: {said}{where}; free space or choose another --out, then try again")

    return run  # type: ignore[return-value]


def echo(text: str) -> None:
    """Print for people."""
    typer.echo(text)


def echo_json(value: Any) -> None:
    """Print one JSON document; infinite numbers and NaN become null."""
    typer.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):  # noqa: PLR0124
        return None
    return value


def _interrupted(given: dict[str, Any]) -> str:
    """What Ctrl-C leaves behind: nothing, or the state of a fit."""
    kept = f"{given.get('out')}.resume"
    if not Path(kept).exists():
        return "stopped by Ctrl-C; nothing half-written is left, give the command again to start anew"
    if "resume" not in given:
        return f"stopped by Ctrl-C; {kept} holds the unfinished run and may be deleted"
    return f"stopped by Ctrl-C; give the same command with --resume to go on from {kept}, or delete that folder"


def _fail(sentence: str) -> None:
    sys.stderr.write(f"temporec: {sentence}\n")
    raise typer.Exit(2)
