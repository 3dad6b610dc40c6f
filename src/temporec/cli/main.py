"""`temporec`: the command line. Every verb is a Python function of the same name too."""

from typing import Annotated

import typer

from temporec import __version__
from temporec.cli import (
    compare,
    demo,
    describe,
    doctor,
    evaluate,
    explain,
    fit,
    learn,
    recommend,
    serve,
    similar,
    verify,
)  # fmt: skip
from temporec.cli.events import events
from temporec.cli.models import models
from temporec.cli.tokens import tokens

__all__ = ["app", "run"]

app = typer.Typer(
    name="temporec",
    help="From a raw, timestamped log to honest next-item recommendations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (demo, doctor, fit, evaluate, compare, recommend, explain, similar, describe, serve, learn, verify):
    app.command()(getattr(verb, verb.__name__.rsplit(".", 1)[1]))
app.add_typer(models, name="models")
app.add_typer(tokens)
app.add_typer(events)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a raw, timestamped log to honest next-item recommendations."""


def run() -> None:
    """The console script."""
    app()
