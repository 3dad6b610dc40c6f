"""temporec explain."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["explain"]


@guarded
def explain(
    folder: o.Folder,
    item: o.Item,
    user: o.User = None,
    history: o.History = None,
    words: o.Words = None,
    profile: o.Profile = None,
    k: o.K = 10,
    at: o.At = None,
    candidates: o.Candidates = None,
    block: o.Block = None,
    category: o.Category = None,
    seen: o.SeenItems = None,
    diversity: o.Diversity = 0.0,
    phrase: Annotated[
        str | None,
        typer.Option("--phrase", help="One sentence by a language model: as --llm of recommend.", metavar="NAME"),
    ] = None,
    json_: o.As_json = False,
) -> None:
    """Why an item is recommended to a user or after a history, or why not."""
    query = o.request(locals())
    from temporec.recommend.base import Recommender

    model = Recommender.load(folder)
    found = model.explain(item, query)
    name = item if found.title == item else f"{item} {found.title}"
    if phrase is None:
        echo_json(found.to_dict()) if json_ else echo(f"{name}\n\n{found.to_text()}")
        return
    from temporec.llm.phrase import phrase as phrased

    sentence = phrased(found, phrase, model.catalog.titles(range(1, model.catalog.size)))
    echo_json({**found.to_dict(), "phrased": sentence}) if json_ else echo(f"{name}\n\n{sentence}")
