"""Errors become one sentence on standard error and exit code 2; nobody sees a traceback for bad input."""

import errno
import functools
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from temporec.errors import TemporecError

__all__ = ["echo", "echo_json", "guarded"]

Verb = TypeVar("Verb", bound=Callable[..., None])


def guarded(verb: Verb) -> Verb:
    """Decorator of every command."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            verb(*args, **kwargs)
        except TemporecError as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail("stopped by Ctrl-C; nothing half-written is left; `temporec fit ... --resume` goes on")
        except MemoryError:
            _fail("out of memory; use a smaller log, fewer training.tokens or a smaller encoder.dim")
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EISDIR):
                raise
            where = f" ({error.filename})" if error.filename else ""
            _fail(f"the system says: {error.strerror}{where}; free space or choose another --out, then try again")

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


def _fail(sentence: str) -> None:
    sys.stderr.write(f"temporec: {sentence}\n")
    raise typer.Exit(2)
