"""temporec demo."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["demo"]


@guarded
def demo(
    out: Annotated[str, typer.Option("--out", help="Folder to write to.", metavar="DIR")] = "temporec-demo",
    case: Annotated[
        bool, typer.Option("--case", help="The textbook case: five items, one-hot, LSTM, softmax.")
    ] = False,
    seed: o.Seed = 0,
    threads: o.Threads = None,
    set_: o.Set = None,
    json_: o.As_json = False,
) -> None:
    """From the raw sheet of a real gift shop to recommendations and a report, in under three minutes."""
    from temporec.workflow.demo import run_case, run_demo

    if case:
        result = run_case(seed)
        echo_json(result) if json_ else echo(result["text"])
        return
    settings, rest = o.collect(locals())
    answer = run_demo(out, settings, rest, (lambda _: None) if json_ else echo)
    if json_:
        echo_json(answer)
