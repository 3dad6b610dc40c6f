"""temporec verify."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["verify"]


@guarded
def verify(
    folder: o.Folder,
    log: Annotated[str, typer.Argument(help="Events that go on after the model's.", metavar="EVENTS")],
    every: Annotated[int, typer.Option("--every", help="Compare after each so-manieth event.", min=1)] = 1,
    limit: Annotated[int | None, typer.Option("--limit", help="Replay at most so many events.", min=1)] = None,
    k: o.K = 10,
    user_col: o.UserCol = None,
    item_col: o.ItemCol = None,
    time_col: o.TimeCol = None,
    kind_col: o.KindCol = None,
    value_col: o.ValueCol = None,
    order_col: o.OrderCol = None,
    set_: o.Set = None,
    json_: o.As_json = False,
) -> None:
    """Replay events through the service's engine and through batch scoring; exit code 1 where they differ."""
    settings, _ = o.collect(locals())
    from temporec.workflow.verify import verify as replay

    report = replay(folder, log, settings=settings, every=every, limit=limit, k=k)
    echo_json(report.to_dict()) if json_ else echo(report.to_text())
    if report.differences:
        raise typer.Exit(1)
