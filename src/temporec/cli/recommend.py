"""temporec recommend."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["recommend"]


@guarded
def recommend(
    folder: Annotated[str, typer.Argument(help="Folder that `fit` wrote.", metavar="DIR")],
    user: Annotated[str | None, typer.Option("--user", help="A known user id.")] = None,
    history: Annotated[
        str | None, typer.Option("--history", help="Item ids, oldest first, separated by commas.")
    ] = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every known user; needs --out.")] = False,
    k: Annotated[int, typer.Option("--k", help="How many items.")] = 10,
    at: Annotated[str | None, typer.Option("--at", help="Moment of the request, ISO 8601.")] = None,
    candidates: Annotated[str | None, typer.Option("--candidates", help="Rank only these ids.")] = None,
    block: Annotated[str | None, typer.Option("--block", help="Never show these ids.")] = None,
    category: Annotated[list[str] | None, typer.Option("--category", help="column=value, may be repeated.")] = None,
    seen: Annotated[str | None, typer.Option("--seen", help="exclude or include.")] = None,
    diversity: Annotated[
        float, typer.Option("--diversity", help="0 = by score alone, 1 = as unlike as possible.")
    ] = 0.0,
    out: Annotated[str | None, typer.Option("--out", help="Parquet file for --all-users.", metavar="FILE")] = None,
    json_: o.As_json = False,
) -> None:
    """The best next items for a user, a history, or everybody."""
    from temporec.errors import ConfigError
    from temporec.recommend.base import Recommender
    from temporec.workflow.answers import filters_from, save_frame, table

    model = Recommender.load(folder)
    filters = filters_from(block, category, seen)
    if all_users:
        if out is None:
            raise ConfigError("--all-users needs --out FILE.parquet to write to")
        frame = model.recommend_many(k=k, filters=filters)
        save_frame(frame, out)
        summary = {"users": frame["user"].n_unique(), "rows": len(frame), "out": out}
        echo_json(summary) if json_ else echo(f"{len(frame):,} rows for {summary['users']:,} users written to {out}")
        return
    answer = model.recommend(
        user=user, history=_list(history) or (), k=k, at=at, filters=filters, candidates=_list(candidates),
        diversity=diversity,
    )  # fmt: skip
    echo_json(answer.to_dict()) if json_ else echo(table(answer))


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
