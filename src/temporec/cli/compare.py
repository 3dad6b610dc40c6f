"""temporec compare."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["compare"]


@guarded
def compare(
    log: o.Log,
    items: o.Items = None,
    models: Annotated[str, typer.Option("--models", help="Names, separated by commas.")] = "gru,transformer",
    user_col: o.UserCol = None,
    item_col: o.ItemCol = None,
    time_col: o.TimeCol = None,
    kind_col: o.KindCol = None,
    value_col: o.ValueCol = None,
    order_col: o.OrderCol = None,
    encoding: o.Encoding = None,
    query: o.Query = None,
    protocol: o.Protocol = None,
    target: o.Target = None,
    seen: o.Seen = None,
    seed: o.Seed = 0,
    threads: o.Threads = None,
    out: o.Out = None,
    set_: o.Set = None,
    json_: o.As_json = False,
) -> None:
    """Fit several models on one split and test them beside tuned baselines."""
    settings, rest = o.collect(locals())
    from temporec import workflow

    names = [name.strip() for name in models.split(",") if name.strip()]
    report = workflow.compare(log, items, names, settings=settings, overrides=rest, out=out)
    echo_json(report.to_dict()) if json_ else echo(report.to_text())
