"""temporec recommend."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["recommend"]


@guarded
def recommend(
    folder: o.Folder,
    user: o.User = None,
    history: o.History = None,
    words: o.Words = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every known user; needs --out.")] = False,
    k: o.K = 10,
    at: o.At = None,
    candidates: o.Candidates = None,
    block: o.Block = None,
    category: o.Category = None,
    seen: o.SeenItems = None,
    diversity: o.Diversity = 0.0,
    why: Annotated[bool, typer.Option("--why", help="One sentence of why beside every item.")] = False,
    out: Annotated[str | None, typer.Option("--out", help="Parquet file for --all-users.", metavar="FILE")] = None,
    json_: o.As_json = False,
) -> None:
    """The best next items for a user, a history, or everybody."""
    query = o.request(locals())
    from temporec.errors import ConfigError
    from temporec.recommend.base import Recommender
    from temporec.recommend.explain import with_reasons
    from temporec.workflow.answers import save_frame, table

    model = Recommender.load(folder)
    if all_users:
        if out is None:
            raise ConfigError("--all-users needs --out FILE.parquet to write to")
        if why:
            raise ConfigError("--why is for one user or history; leave out --all-users")
        frame = model.recommend_many(k=k, filters=query.filters)
        save_frame(frame, out)
        summary = {"users": frame["user"].n_unique(), "rows": len(frame), "out": out}
        echo_json(summary) if json_ else echo(f"{len(frame):,} rows for {summary['users']:,} users written to {out}")
        return
    answer = model.recommend(query)
    if why:
        answer = with_reasons(model, query, answer)
    echo_json(answer.to_dict()) if json_ else echo(table(answer))
