"""temporec learn."""

import os
import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from temporec.cli import options as o
from temporec.cli.guard import echo, echo_json, guarded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from temporec.online.learner import Report

__all__ = ["learn"]


@guarded
def learn(
    folder: Annotated[str, typer.Argument(help="Home of a service, or the folder that `fit` wrote.", metavar="DIR")],
    log: Annotated[
        str | None, typer.Option("--log", help="Event log, where it is not the home's own.", metavar="URL")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Learn what is there, and end.")] = False,
    config: Annotated[str | None, typer.Option("--config", help="YAML or JSON file of the learner.")] = None,
    until_input_ends: Annotated[
        bool, typer.Option("--until-input-ends", help="End with the process that holds standard input open.")
    ] = False,
    seed: o.Seed = 0,
    threads: o.Threads = 1,
    set_: o.Set = None,
    json_: o.As_json = False,
) -> None:
    """Go on learning from the events of a service; new versions must prove themselves before they answer."""
    from temporec.config import parse_overrides
    from temporec.online.learner import Learner, LearnerConfig, only_one
    from temporec.store.events import open_event_log
    from temporec.store.versions import Home

    settings = LearnerConfig.from_file(config) if config else LearnerConfig()
    given = {"run.seed": seed, "run.threads": threads, **parse_overrides(set_ or [])}
    settings = settings.override(given)
    settings.run.apply()
    home = Home.open(folder)
    stop = _stops(until_input_ends)
    with only_one(home), open_event_log(log or home.events_path) as events:
        learner = Learner(home, events, settings)
        waiting = events.end() - learner.student.offset
        reports = learner.follow(once=once, stopped=lambda: bool(stop))
        seen = _told(_with_bar(reports, waiting) if once and not json_ else reports, follows=not once, json_=json_)
        written = learner.finish()
        last = {"offset": learner.student.offset, "written": written, "current": learner.pointer.current, **seen}
    if json_:
        echo_json(last)
    else:
        rate = "no event could be predicted" if seen["ndcg"] is None else f"prequential NDCG@10 {seen['ndcg']:.4f}"
        echo(f"{seen['events']:,} events learned up to offset {last['offset']}; {rate}")
        echo(f"{last['current']} answers" + (f"; {written} waits for its proof" if written else ""))


def _stops(until_input_ends: bool) -> list[int]:
    """A list that is filled when it is time to stop: after SIGTERM, or when standard input has ended."""
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
    if until_input_ends:
        threading.Thread(target=lambda: stop.append(len(os.read(0, 1))), daemon=True).start()
    return stop


def _told(reports: "Iterable[Report]", *, follows: bool, json_: bool) -> dict[str, Any]:
    """Print what is new while the rounds go by; totals at the end."""
    events = predicted = 0
    total = 0.0
    news: list[str] = []
    for report in reports:
        events, predicted = events + report.events, predicted + report.predicted
        total += (report.ndcg or 0.0) * report.predicted
        news += report.news
        if json_ or not (follows or report.news):
            continue
        if follows and report.ndcg is not None:
            echo(f"offset {report.offset}: {report.events} events, NDCG@10 {report.ndcg:.4f}, loss {report.loss:.3f}")
        for line in report.news:
            echo(line)
    return {"events": events, "predicted": predicted, "ndcg": total / predicted if predicted else None, "news": news}


def _with_bar(reports: "Iterable[Report]", waiting: int) -> "Iterator[Report]":
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("learning", total=max(1, waiting))
        first: int | None = None
        for report in reports:
            first = report.offset if first is None else first
            bar.update(task, completed=waiting - max(0, waiting - report.offset))
            yield report
