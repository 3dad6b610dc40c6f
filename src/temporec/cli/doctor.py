"""temporec doctor."""

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["doctor"]


@guarded
def doctor(
    log: o.Log,
    user_col: o.UserCol = None,
    item_col: o.ItemCol = None,
    time_col: o.TimeCol = None,
    kind_col: o.KindCol = None,
    value_col: o.ValueCol = None,
    order_col: o.OrderCol = None,
    encoding: o.Encoding = None,
    query: o.Query = None,
    set_: o.Set = None,
    json_: o.As_json = False,
) -> None:
    """Say what is wrong with a log and how to mend it, and recommend options."""
    settings, _ = o.collect(locals())
    from temporec import workflow

    diagnosis = workflow.doctor(log, settings=settings)
    echo_json(diagnosis.to_dict()) if json_ else echo(diagnosis.to_text())
