"""temporec recommend."""

from typing import TYPE_CHECKING, Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

if TYPE_CHECKING:
    from temporec.recommend.base import Recommender
    from temporec.recommend.query import Query, Recommendations

__all__ = ["recommend"]


@guarded
def recommend(
    folder: o.Folder,
    user: o.User = None,
    history: o.History = None,
    words: o.Words = None,
    profile: o.Profile = None,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every known user; needs --out.")] = False,
    k: o.K = 10,
    at: o.At = None,
    candidates: o.Candidates = None,
    block: o.Block = None,
    category: o.Category = None,
    seen: o.SeenItems = None,
    diversity: o.Diversity = 0.0,
    why: Annotated[bool, typer.Option("--why", help="One sentence of why beside every item.")] = False,
    rerank: Annotated[bool, typer.Option("--rerank", help="Let a language model re-rank the first items.")] = False,
    llm: o.Llm = None,
    out: Annotated[str | None, typer.Option("--out", help="Parquet file for --all-users.", metavar="FILE")] = None,
    json_: o.As_json = False,
) -> None:
    """The best next items for a user, a history, or everybody."""
    query = o.request(locals())
    from temporec.errors import ConfigError
    from temporec.recommend.base import Recommender
    from temporec.recommend.explain import with_reasons
    from temporec.workflow.answers import table

    if all_users and (why or rerank or llm):
        raise ConfigError(f"--{'why' if why else 'rerank'} is for one user or history; leave out --all-users")
    model = Recommender.load(folder)
    if all_users:
        _everybody(model, query, out, json_)
        return
    answer = _reranked(model, query, llm) if rerank or llm else model.recommend(query)
    if why:
        answer = with_reasons(model, query, answer)
    echo_json(answer.to_dict()) if json_ else echo(table(answer))


def _everybody(model: "Recommender", query: "Query", out: str | None, json_: bool) -> None:
    from temporec.errors import ConfigError
    from temporec.workflow.answers import save_frame

    if out is None:
        raise ConfigError("--all-users needs --out FILE.parquet to write to")
    frame = model.recommend_many(k=query.k, filters=query.filters)
    save_frame(frame, out)
    summary = {"users": frame["user"].n_unique(), "rows": len(frame), "out": out}
    echo_json(summary) if json_ else echo(f"{len(frame):,} rows for {summary['users']:,} users written to {out}")


def _reranked(model: "Recommender", query: "Query", name: str | None) -> "Recommendations":
    from temporec.llm.client import open_client
    from temporec.llm.rerank import recommend_reranked

    return recommend_reranked(model, query, open_client(name))
