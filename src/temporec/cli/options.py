"""Options that several verbs share: the same names everywhere."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from temporec.workflow import Settings

__all__ = [
    "As_json", "Encoding", "ItemCol", "Items", "KindCol", "Log", "OrderCol", "Out", "Protocol", "Query", "Seed", "Seen",
    "Set", "Target", "Threads", "TimeCol", "UserCol", "ValueCol", "collect",
]  # fmt: skip

Log = Annotated[str, typer.Argument(help="CSV, Parquet, Arrow or JSON-lines file, or a database URL.", metavar="LOG")]
Items = Annotated[str | None, typer.Option("--items", help="Table of the items: titles, categories, numbers, vectors.")]
UserCol = Annotated[str | None, typer.Option("--user-col", help="Column of the user id.")]
ItemCol = Annotated[str | None, typer.Option("--item-col", help="Column of the item id (of the items table too).")]
TimeCol = Annotated[str | None, typer.Option("--time-col", help="Column of the time; '' = use the row order.")]
KindCol = Annotated[str | None, typer.Option("--kind-col", help="Column of the event kind (view, buy ...).")]
ValueCol = Annotated[str | None, typer.Option("--value-col", help="Column of a rating, quantity or price.")]
OrderCol = Annotated[str | None, typer.Option("--order-col", help="Column of the invoice or basket.")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Text encoding of CSV files, such as gbk.")]
Query = Annotated[str | None, typer.Option("--query", help="SQL, where LOG is a database.")]
Out = Annotated[str | None, typer.Option("--out", help="Folder to write to.", metavar="DIR")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.", min=0)]
Threads = Annotated[int | None, typer.Option("--threads", help="CPU threads.", min=1)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any option, such as training.epochs=2.", metavar="a.b=c")]
As_json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Protocol = Annotated[
    str | None, typer.Option("--protocol", help="global-time or leave-last-out.", metavar="global-time|leave-last-out")
]
Target = Annotated[str | None, typer.Option("--target", help="next_event or next_basket.")]
Seen = Annotated[
    str | None,
    typer.Option("--seen", help="Items that the user had: exclude, include or auto.", metavar="auto|exclude|include"),
]


def collect(set_: list[str] | None, **named: Any) -> "tuple[Settings, dict[str, Any]]":
    """Settings from named options, and the dotted overrides that are left for the model.

    Named options are given under their dotted names with two underscores for a dot; None = not given.
    """
    from temporec.config import parse_overrides
    from temporec.workflow import Settings, apply_overrides

    values = {name.replace("__", "."): value for name, value in named.items() if value is not None}
    return apply_overrides(Settings(), {**values, **parse_overrides(set_ or [])})
