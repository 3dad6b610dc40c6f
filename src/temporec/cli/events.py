"""temporec events."""

from typing import TYPE_CHECKING, Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded
from temporec.errors import ConfigError

if TYPE_CHECKING:
    from temporec.store.versions import Home

__all__ = ["events"]

DAY = 86_400_000  # milliseconds

events = typer.Typer(name="events", help="The event log of a service.", no_args_is_help=True, rich_markup_mode=None)

File = Annotated[str, typer.Argument(help="File of the backup.", metavar="FILE")]
LogUrl = Annotated[
    str | None, typer.Option("--log", help="Another log than DIR's events.db: postgresql://... or redis://...")
]


@events.command()
@guarded
def backup(folder: o.Folder, file: File, log: LogUrl = None, json_: o.As_json = False) -> None:
    """Write a consistent copy of the log to a file, while the service runs."""
    from temporec.store.events import open_event_log

    with open_event_log(_url(folder, log)) as opened:
        records = opened.backup(file)
    echo_json({"records": records, "file": file}) if json_ else echo(f"{records} records are in {file}")


@events.command()
@guarded
def restore(folder: o.Folder, file: File, log: LogUrl = None, json_: o.As_json = False) -> None:
    """Fill a new or empty log, of any kind, from a backup."""
    from temporec.store.events import EventLog

    url = _url(folder, log)
    records = EventLog.restore(file, url)
    echo_json({"records": records, "file": file}) if json_ else echo(f"{records} records came from {file}")


@events.command()
@guarded
def trim(
    folder: o.Folder,
    days: Annotated[float | None, typer.Option("--days", help="Drop what was stored so long ago.", min=0)] = None,
    keep_after: Annotated[int | None, typer.Option("--keep-after", help="Drop up to this offset.", min=0)] = None,
    force: Annotated[bool, typer.Option("--force", help="Drop also what no snapshot of the service holds.")] = False,
    log: LogUrl = None,
    json_: o.As_json = False,
) -> None:
    """Drop the oldest records of the log, by age or up to an offset."""
    from temporec.store.events import now, open_event_log

    if (days is None) == (keep_after is None):
        raise ConfigError("nothing says how much to drop; give either --days or --keep-after")
    home = _home(folder)
    with open_event_log(log or home.events_path) as opened:
        before = opened.offset_at(now() - int(days * DAY)) if days is not None else int(keep_after or 0) + 1
        held = home.held()
        if before > held + 1 and not force and opened.begin() < before:
            raise ConfigError(
                f"records up to offset {before - 1} would go, but the snapshots of the service hold only those up to "
                f"{held}; let the service write one (it does when it stops), or give --force and lose what came after"
            )
        gone, begin = opened.trim(before), opened.begin()
    echo_json({"gone": gone, "begin": begin}) if json_ else echo(
        f"{gone} records went; the log begins at offset {begin}"
    )


def _home(folder: str) -> "Home":
    from temporec.store.versions import Home

    return Home.open(folder)


def _url(folder: str, log: str | None) -> str:
    return log or str(_home(folder).events_path)
