"""temporec verify."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

if TYPE_CHECKING:
    from temporec.recommend.live_log import LogEvent

__all__ = ["verify"]


@guarded
def verify(
    folder: o.Folder,
    log: Annotated[
        str, typer.Argument(help="Events after the model's: a table, or the home of a service.", metavar="EVENTS")
    ],
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

    report = replay(folder, _stored(log) or log, settings=settings, every=every, limit=limit, k=k)
    echo_json(report.to_dict()) if json_ else echo(report.to_text())
    if report.differences:
        raise typer.Exit(1)


def _stored(path: str) -> "list[LogEvent] | None":
    """The events in the log of a service, by its home or the file of the log; None where this is something else."""
    from temporec.recommend.live_log import LogEvent
    from temporec.store.events import open_event_log
    from temporec.store.versions import Home

    file = Home(path).events_path if Path(path).is_dir() else Path(path)
    if file.suffix != ".db" or not file.is_file():
        return None
    with open_event_log(file) as opened:
        return [LogEvent.of(record.body, record.offset) for record in opened.read_all(topics={"events"})]
