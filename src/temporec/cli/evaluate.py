"""temporec evaluate."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["evaluate"]


@guarded
def evaluate(
    folder: Annotated[str, typer.Argument(help="Folder that `fit` wrote.", metavar="DIR")],
    log: Annotated[str | None, typer.Argument(help="A newer log; without it, the held-out run of fit.")] = None,
    predictions: Annotated[
        str | None, typer.Option("--predictions", help="Write a row per case.", metavar="FILE")
    ] = None,
    user_col: o.UserCol = None,
    item_col: o.ItemCol = None,
    time_col: o.TimeCol = None,
    kind_col: o.KindCol = None,
    value_col: o.ValueCol = None,
    order_col: o.OrderCol = None,
    encoding: o.Encoding = None,
    query: o.Query = None,
    set_: o.Set = None,
    json_: o.As_json = False,
) -> None:
    """Figures of the held-out run, or of events that happened after training."""
    settings, _ = o.collect(locals())
    from temporec import workflow

    report = workflow.evaluate(folder, log, settings=settings, predictions=predictions)
    echo_json(report.to_dict()) if json_ else echo(report.to_text())
