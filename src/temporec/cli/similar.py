"""temporec similar."""

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["similar"]


@guarded
def similar(
    folder: o.Folder,
    item: o.Item,
    k: o.K = 10,
    json_: o.As_json = False,
) -> None:
    """The items closest to one item."""
    from temporec.recommend.base import Recommender
    from temporec.workflow.answers import table

    answer = Recommender.load(folder).similar(item, k)
    echo_json(answer.to_dict()) if json_ else echo(table(answer))
