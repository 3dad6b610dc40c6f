"""temporec tokens."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["tokens"]

tokens = typer.Typer(name="tokens", help="Who may use a service.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Name of the token, as the logs show it.")]


@tokens.command()
@guarded
def add(
    folder: o.Folder,
    name: Name,
    role: Annotated[str, typer.Option("--role", help="read, write or admin.", metavar="read|write|admin")] = "read",
    json_: o.As_json = False,
) -> None:
    """Make a token and print it; it is stored as a hash, so it is shown this once."""
    from temporec.serving.security import add_token
    from temporec.store.versions import Home

    secret = add_token(Home.open(folder).path / "tokens.json", name, role)
    echo_json({"name": name, "role": role, "token": secret}) if json_ else echo(secret)


@tokens.command("list")
@guarded
def list_(folder: o.Folder, json_: o.As_json = False) -> None:
    """Names and roles of all tokens."""
    from temporec.serving.security import read_tokens
    from temporec.store.versions import Home

    found = [{"name": t.name, "role": t.role} for t in read_tokens(Home.open(folder).path / "tokens.json")]
    echo_json(found) if json_ else echo("\n".join(f"{t['name']}  {t['role']}" for t in found) or "no tokens")


@tokens.command()
@guarded
def revoke(folder: o.Folder, name: Name, json_: o.As_json = False) -> None:
    """Remove a token; a running service refuses it within a second."""
    from temporec.serving.security import revoke_token
    from temporec.store.versions import Home

    revoke_token(Home.open(folder).path / "tokens.json", name)
    echo_json({"revoked": name}) if json_ else echo(f"{name} is revoked")
