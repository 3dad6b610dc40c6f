"""temporec describe."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["describe"]


@guarded
def describe(
    folder: Annotated[str, typer.Argument(help="Folder that `fit` wrote.", metavar="DIR")],
    json_: o.As_json = False,
) -> None:
    """Stages of a fitted model with shapes and parameters, and a Mermaid graph."""
    from temporec.workflow.describe import describe as run

    description = run(folder)
    echo_json(description.to_dict()) if json_ else echo(description.to_text())
