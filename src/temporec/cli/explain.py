"""temporec explain."""

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
    k: o.K = 10,
    at: o.At = None,
    candidates: o.Candidates = None,
    block: o.Block = None,
    category: o.Category = None,
    seen: o.SeenItems = None,
    diversity: o.Diversity = 0.0,
    json_: o.As_json = False,
) -> None:
    """Why an item is recommended to a user or after a history, or why not."""
    query = o.request(locals())
    from temporec.recommend.base import Recommender

    found = Recommender.load(folder).explain(item, query)
    if json_:
        echo_json(found.to_dict())
    else:
        name = item if found.title == item else f"{item} {found.title}"
        echo(f"{name}\n\n{found.to_text()}")
