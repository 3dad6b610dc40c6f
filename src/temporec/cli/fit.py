"""temporec fit."""

from typing import Annotated

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

__all__ = ["fit"]


@guarded
def fit(
    log: o.Log,
    out: Annotated[str, typer.Option("--out", help="Folder of the fitted recommender.", metavar="DIR")],
    items: o.Items = None,
    users: o.Users = None,
    model: Annotated[
        str | None, typer.Option("--model", help="rnn, lstm, gru, tcn, transformer, hstu, mean or semantic.")
    ] = None,
    from_: o.From = None,
    config: Annotated[str | None, typer.Option("--config", help="YAML or JSON file instead of --model.")] = None,
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
    track: Annotated[str | None, typer.Option("--track", help="Also log to tensorboard or mlflow.")] = None,
    refit: Annotated[bool, typer.Option("--refit/--no-refit", help="End by fitting on all events.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    set_: o.Set = None,
    json_: o.As_json = False,
) -> None:
    """Clean a log, fit a model, test it honestly beside baselines, and save it."""
    settings, rest = o.collect(locals())
    from temporec import workflow
    from temporec.workflow.presets import DEFAULT, fit_config, saved_config

    fitted = fit_config(model, config) if config else model or (saved_config(from_) if from_ else DEFAULT)
    report = workflow.fit(log, items, fitted, users=users, settings=settings, overrides=rest, out=out)
    if json_:
        echo_json({**report.to_dict(), "out": out})
        return
    echo(report.to_text())
    echo(f"\nSaved to {out}; open {out}/report.html, or try: temporec recommend {out} --user {report.example_user}")
