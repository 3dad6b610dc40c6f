"""temporec events."""

from typing import TYPE_CHECKING, Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded
from temporec.errors import ConfigError, TemporecError

if TYPE_CHECKING:
    from temporec.store.events import EventLog
    from temporec.store.records import Topic
    from temporec.store.versions import Home

__all__ = ["events"]

DAY = 86_400_000  # milliseconds
TRIMMED: "tuple[Topic, ...]" = ("events", "feedback")
KEPT: "tuple[Topic, ...]" = ("forget", "items")  # few, and every version needs all of them

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

    home = _home(folder)
    records = EventLog.restore(file, log or home.events_path, home.seen())
    echo_json({"records": records, "file": file}) if json_ else echo(f"{records} records came from {file}")


@events.command()
@guarded
def trim(
    folder: o.Folder,
    days: Annotated[float | None, typer.Option("--days", help="Drop what was stored so long ago.", min=0)] = None,
    keep_after: Annotated[int | None, typer.Option("--keep-after", help="Drop up to this offset.", min=0)] = None,
    force: Annotated[bool, typer.Option("--force", help="Drop also what service and learner still need.")] = False,
    log: LogUrl = None,
    json_: o.As_json = False,
) -> None:
    """Drop the oldest events and feedback of the log, by age or up to an offset."""
    from temporec.store.events import now, open_event_log

    if (days is None) == (keep_after is None):
        raise ConfigError("nothing says how much to drop; give either --days or --keep-after")
    home = _home(folder)
    with open_event_log(log or home.events_path) as opened:
        before = opened.offset_at(now() - int(days * DAY)) if days is not None else int(keep_after or 0) + 1
        why = "" if force or _begin(opened) >= before else _saved(home, opened, before - 1)
        with home.locked("snapshot"):  # no version is built from the log meanwhile
            if not force and _begin(opened) < before:
                _check(home, before - 1, why)
            gone = opened.trim(before, KEPT)
        begin = _begin(opened)
    echo_json({"gone": gone, "begin": begin}) if json_ else echo(
        f"{gone} records went; the log begins at offset {begin}"
    )


def _begin(log: "EventLog") -> int:
    """The first offset that can be trimmed; one past the end where there is none."""
    found = log.read(limit=1, topics=TRIMMED)
    return found[0].offset if found else log.end() + 1


def _saved(home: "Home", log: "EventLog", upto: int) -> str:
    """Write the snapshots that lack events up to an offset; why that failed, or nothing."""
    try:
        for info in home.pointed():
            if home.held(info) < upto:
                from temporec.serving.settings import ServeConfig
                from temporec.serving.versions import snapshot

                snapshot(home, info.name, log, ServeConfig())
    except (TemporecError, ModuleNotFoundError) as error:
        return f" (no new one can be written: {error!s:.200})"
    return ""


def _check(home: "Home", upto: int, why: str) -> None:
    held, learned = min((home.held(info) for info in home.pointed()), default=0), home.learned()
    if held < upto:
        raise ConfigError(
            f"records up to offset {upto} would go, but the snapshots of the service hold only those up to {held}"
            f"{why}; let the service write one (it does when it stops), or give --force and lose what came after"
        )
    if learned is not None and learned < upto:
        raise ConfigError(
            f"records up to offset {upto} would go, but the learner goes on from {learned}, now or after a rollback; "
            "let it write a version (temporec learn DIR --once), or give --force: no later version learns them then"
        )


def _home(folder: str) -> "Home":
    from temporec.store.versions import Home

    return Home.open(folder)


def _url(folder: str, log: str | None) -> str:
    return log or str(_home(folder).events_path)
