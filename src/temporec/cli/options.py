"""Options that several verbs share: the same names everywhere."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from temporec.recommend.query import Query as Request
    from temporec.workflow import Settings

__all__ = [
    "As_json", "At", "Block", "Candidates", "Category", "Diversity", "Encoding", "Folder", "From", "History", "Item",
    "ItemCol", "Items", "K", "KindCol", "Llm", "Log", "OrderCol", "Out", "Profile", "Protocol", "Query", "Seed",
    "Seen", "SeenItems", "Set", "Target", "Threads", "TimeCol", "User", "UserCol", "Users", "ValueCol", "Words",
    "collect", "request",
]  # fmt: skip

Log = Annotated[str, typer.Argument(help="CSV, Parquet, Arrow or JSON-lines file, or a database URL.", metavar="LOG")]
Items = Annotated[str | None, typer.Option("--items", help="Table of the items: titles, categories, numbers, vectors.")]
Users = Annotated[str | None, typer.Option("--users", help="Table of the users: age, country, interests ...")]
UserCol = Annotated[str | None, typer.Option("--user-col", help="Column of the user id (of the users table too).")]
ItemCol = Annotated[str | None, typer.Option("--item-col", help="Column of the item id (of the items table too).")]
TimeCol = Annotated[str | None, typer.Option("--time-col", help="Column of the time; '' = use the row order.")]
KindCol = Annotated[str | None, typer.Option("--kind-col", help="Column of the event kind (view, buy ...).")]
ValueCol = Annotated[str | None, typer.Option("--value-col", help="Column of a rating, quantity or price.")]
OrderCol = Annotated[str | None, typer.Option("--order-col", help="Column of the invoice or basket.")]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Text encoding of CSV files, such as gbk.")]
Query = Annotated[str | None, typer.Option("--query", help="SQL, where LOG is a database.")]
Out = Annotated[str | None, typer.Option("--out", help="Folder to write to.", metavar="DIR")]
From = Annotated[
    str | None, typer.Option("--from", help="Go on from a fitted model, also of another shop.", metavar="DIR")
]
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

# Options of one request to a fitted recommender.
Folder = Annotated[str, typer.Argument(help="Folder that `fit` wrote.", metavar="DIR")]
User = Annotated[str | None, typer.Option("--user", help="A known user id.")]
Words = Annotated[str | None, typer.Option("--words", help="What is wanted, in words.")]
History = Annotated[str | None, typer.Option("--history", help="Item ids, oldest first, separated by commas.")]
Profile = Annotated[
    str | None, typer.Option("--profile", help="What is known of the user: age=30,gender=F.", metavar="a=x,b=y")
]
Item = Annotated[str, typer.Option("--item", help="An item id.")]
K = Annotated[int, typer.Option("--k", help="How many items.")]
At = Annotated[str | None, typer.Option("--at", help="Moment of the request, ISO 8601.")]
Candidates = Annotated[str | None, typer.Option("--candidates", help="Rank only these ids.")]
Block = Annotated[str | None, typer.Option("--block", help="Never show these ids.")]
Category = Annotated[list[str] | None, typer.Option("--category", help="column=value, may be repeated.")]
SeenItems = Annotated[str | None, typer.Option("--seen", help="exclude or include.")]
Llm = Annotated[
    str | None,
    typer.Option("--llm", help="Language model of --rerank: URL, smollm2, file, folder or hub name.", metavar="NAME"),
]
Diversity = Annotated[float, typer.Option("--diversity", help="0 = by score alone, 1 = as unlike as possible.")]


_DOTTED = {
    "user_col": "columns.user",
    "item_col": "columns.item",
    "time_col": "columns.time",
    "kind_col": "columns.kind",
    "value_col": "columns.value",
    "order_col": "columns.order",
    "encoding": "data.encoding",
    "query": "data.query",
    "protocol": "judge.protocol",
    "target": "judge.target",
    "seen": "judge.seen",
    "seed": "run.seed",
    "threads": "run.threads",
    "track": "track",
    "refit": "refit",
    "resume": "resume",
    "from_": "start_from",
}


def collect(given: dict[str, Any]) -> "tuple[Settings, dict[str, Any]]":
    """Settings from the arguments of a verb by name, and the dotted overrides that are left for the model."""
    from temporec.config import parse_overrides
    from temporec.workflow import Settings, apply_overrides

    values = {_DOTTED[name]: value for name, value in given.items() if name in _DOTTED and value is not None}
    values["run.progress"] = not given.get("json_", False)
    if given.get("item_col"):
        values["data.item_col"] = given["item_col"]
    return apply_overrides(Settings(), {**values, **parse_overrides(given.get("set_") or [])})


def request(given: dict[str, Any]) -> "Request":
    """The query that the arguments of a verb by name ask."""
    from temporec.recommend.query import Query as Request
    from temporec.workflow.answers import filters_from

    return Request(
        user=given["user"],
        history=_ids(given["history"]) or (),
        at=given["at"],
        k=given["k"],
        candidates=_ids(given["candidates"]),
        filters=filters_from(given["block"], given["category"], given["seen"]),
        diversity=given["diversity"],
        words=given["words"],
        profile=_pairs(given["profile"]),
    )


def _pairs(text: str | None) -> dict[str, str] | None:
    from temporec.errors import ConfigError

    if text is None:
        return None
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    if not parts or not all(sign and name.strip() for name, sign, _ in parts):
        raise ConfigError(f"--profile {text!r} is not of the form column=value,column=value")
    return {name.strip(): value.strip() for name, _, value in parts}


def _ids(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
