"""temporec models: the versions of a service."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

if TYPE_CHECKING:
    from temporec.store.versions import Pointer

__all__ = ["models"]

models = typer.Typer(no_args_is_help=True, help="The versions of a service: list, activate, rollback.")
Home_ = Annotated[str, typer.Argument(help="Home of a service, or the folder that `fit` wrote.", metavar="DIR")]


@models.command("list")
@guarded
def list_(folder: Home_, json_: o.As_json = False) -> None:
    """All versions, the oldest first."""
    from dataclasses import asdict
    from datetime import UTC, datetime

    from temporec.store.versions import Home

    home = Home.open(folder)
    versions, pointer = home.versions(), home.pointer()
    if json_:
        echo_json({"versions": [asdict(each) for each in versions], "pointer": asdict(pointer)})
        return
    for each in versions:
        made = datetime.fromtimestamp(each.created / 1000, UTC).isoformat(sep=" ", timespec="seconds")
        figures = ", ".join(f"{name} {_short(value)}" for name, value in each.metrics.items())
        mark = "*" if each.is_current else f"{pointer.share:.0%}" if each.name == pointer.control else ""
        echo(
            f"{mark:>4} {each.name:<6} {made}  offset {each.log_offset}  from {each.parent or '-'}  {figures}".rstrip()
        )


@models.command()
@guarded
def activate(
    folder: Home_,
    name: Annotated[str, typer.Argument(help="Name of a version.", metavar="VERSION")],
    share: Annotated[
        float, typer.Option("--share", help="Share of the users that the present version still answers.")
    ] = 0.0,
    json_: o.As_json = False,
) -> None:
    """Make a version the current one; a running service takes it over without a pause."""
    from temporec.store.versions import Home

    home = Home.open(folder)
    control = home.pointer().current if share else None
    _tell(home.activate(name, control=control, share=share), json_)


@models.command()
@guarded
def rollback(folder: Home_, json_: o.As_json = False) -> None:
    """Go back to the version before the current one."""
    from temporec.store.versions import Home

    _tell(Home.open(folder).rollback(), json_)


def _tell(pointer: "Pointer", json_: bool) -> None:
    from dataclasses import asdict

    if json_:
        echo_json(asdict(pointer))
        return
    trial = f"; {pointer.control} still answers {pointer.share:.0%} of the users" if pointer.control else ""
    echo(f"{pointer.current} is current{trial}; before it: {pointer.previous or 'nothing'}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
