"""Does a model that goes on learning week by week keep up with one that is trained anew every week?

Diginetica in 17 weekly periods, after ADER (Mi, Lin and Faltings 2020): learn week t, test on week t + 1. Every prefix
of a test session is a question, all items that were met up to week t are ranked, events of other items are left out,
items of the session itself stay in the ranking. Recall@20 (and MRR@20), mean over the weeks 1 to 16.

    frozen      trained on week 0, never again; later items are empty events to it, and never in its answers
    finetune    goes on with each week's events alone
    full        trained anew on all weeks so far
    adaptive    goes on with each week's events and repeated old ones; new items start at those beside them

All learn by the same code (`temporec.online.continue_training`, which the learner process uses too) with the same
model. Settings were chosen on the weeks 1 to 5. Times are processor seconds of learning alone; the first week, which
all share, is not counted. Bars: adaptive at least 50.0, at least 5 points over frozen, in at most a quarter of the time
of full.

    python benchmarks/continual.py --methods frozen,finetune,adaptive
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import calibration as c
import numpy as np
import polars as pl
import torch

from temporec.data.sequences import Sequences
from temporec.model import ModelConfig, ModelInputs, SequenceModel, grown
from temporec.online.continue_training import Continuation, LearnConfig, rows_of_neighbours
from temporec.online.replay import Piece, Replay, log_of
from temporec.runtime import RunOptions, generator, random_state

MODEL: dict[str, Any] = {
    "encoder": {"kind": "gru", "dim": 128},
    "dropout": 0.5,
    "loss": {"kind": "sampled_softmax", "negatives": 1024},
}
FIRST = {"lr": 4e-3, "passes": 12, "settle": True, "replay": 0.0, "average": 0.0}
WEEKLY: dict[str, dict[str, Any]] = {
    "finetune": {"lr": 4e-3, "passes": 6, "replay": 0.0, "average": 0.98},
    "adaptive": {"lr": 4e-3, "passes": 6, "replay": 1.0, "average": 0.98},
    "full": {"lr": 4e-3, "passes": 8, "settle": True, "replay": 0.0, "average": 0.0},
}
METHODS = ("frozen", "finetune", "adaptive", "full")


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--log", type=Path, default=Path("../shared/data/diginetica/interactions.parquet"))
    parser.add_argument("--methods", default=",".join(METHODS), help=f"of {', '.join(METHODS)}")
    parser.add_argument("--weeks", type=int, default=17, help="so many periods, from the first on")
    parser.add_argument("--share", type=float, default=1.0, help="share of the test sessions that are asked")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="method.option=value of LearnConfig, or model.a.b=c")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


@dataclass(eq=False)
class Weeks:
    """Sessions of each period, items numbered by their first event; the test of a week against what came before."""

    pieces: list[list[Piece]]
    known: list[int]  # items met up to and including each period
    share: float

    def test(self, week: int) -> list[Piece]:
        """Sessions of a week without events of items that were not met before it."""
        most = self.known[week - 1]
        left = [piece.items[piece.items <= most] for piece in self.pieces[week]]
        chosen = random_state(0, week).random(len(left)) < self.share
        return [session(items) for items, asked in zip(left, chosen, strict=True) if asked and len(items) > 1]


def session(items: np.ndarray) -> Piece:
    """A whole session as a piece."""
    return Piece("", items, np.zeros(len(items), np.int64), len(items))


def read_weeks(path: Path, count: int, share: float) -> Weeks:
    """The periods of a log with the columns period, session_id and item_id, in the order of its rows."""
    frame = pl.read_parquet(path).filter(pl.col("period") < count)
    first = frame["item_id"].unique(maintain_order=True)
    number = pl.DataFrame({"item_id": first, "item": np.arange(1, len(first) + 1, dtype=np.int32)})
    frame = frame.join(number, on="item_id", maintain_order="left")
    pieces, known = [], []
    for period in range(count):
        week = frame.filter(pl.col("period") == period)
        sessions = week.group_by("session_id", maintain_order=True).agg("item")["item"]
        pieces.append([session(items.to_numpy()) for items in sessions if len(items) > 1])
        known.append(max([*known[-1:], int(week["item"].max())]))  # type: ignore[arg-type]
    return Weeks(pieces, known, share)


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """All methods over all weeks."""
    model, settings = configs(args.set)
    weeks = read_weeks(args.log, args.weeks, args.share)
    figures: dict[str, Any] = {}
    start = Run(weeks, model, LearnConfig.of(FIRST), args.seed)
    start.anew(0)
    c.note(f"week 0 learned in {start.seconds:.0f} s")
    for method in args.methods.split(","):
        run = Run(weeks, model, LearnConfig.of(settings.get(method, FIRST)), args.seed)
        figures[method] = run.through(method, start)
    table = {name: {key: value for key, value in each.items() if key != "weeks"} for name, each in figures.items()}
    return {"table": table, "weeks": {name: each["weeks"] for name, each in figures.items()}}, bars(table)


def configs(given: list[str]) -> tuple[ModelConfig, dict[str, dict[str, Any]]]:
    """Model and settings per method, with overrides such as adaptive.lr=0.002."""
    from temporec.config import parse_overrides

    model, settings = ModelConfig.of(MODEL), {name: dict(options) for name, options in WEEKLY.items()}
    for name, value in parse_overrides(given).items():
        method, _, option = name.partition(".")
        if method == "model":
            model = model.override({option: value})
        else:
            settings[method][option] = value
    return model, settings


def bars(table: dict[str, dict[str, float]]) -> list[c.Bar]:
    """What the adaptive model must reach."""
    own, frozen, full = (table.get(name) for name in ("adaptive", "frozen", "full"))
    recall = None if own is None else own["recall@20"]
    gain = None if own is None or frozen is None else own["recall@20"] - frozen["recall@20"]
    share = None if own is None or full is None else own["seconds"] / full["seconds"]
    return [
        c.bar("adaptive: Recall@20, mean over weeks", recall, 50.0, least=True),
        c.bar("adaptive: points over frozen", gain, 5.0, least=True),
        c.bar("adaptive: share of full's time", share, 0.25),
    ]


class Run:
    """One method on its way through the weeks."""

    def __init__(self, weeks: Weeks, model: ModelConfig, config: LearnConfig, seed: int) -> None:
        self.weeks, self.model, self.config, self.seed = weeks, model, config, seed
        self.options = RunOptions(seed=seed, threads=torch.get_num_threads())
        self.replay = Replay(seed=seed)
        self.seconds = 0.0

    def through(self, method: str, start: "Run") -> dict[str, Any]:
        """Learn and test week by week."""
        if method != "full":
            self.go_on_from(start)
        learn: dict[str, Callable[[int], None]] = {
            "frozen": lambda week: None,
            "finetune": lambda week: self.on(week, beside=False),
            "adaptive": lambda week: self.on(week, beside=True),
            "full": self.anew,
        }
        rows = []
        for week in range(len(self.weeks.pieces) - 1):
            if week == 0 and method == "full":
                self.go_on_from(start)
            if week > 0:
                learn[method](week)
            recall, mrr, asked = self.ask(week + 1)
            rows.append({"week": week + 1, "recall@20": recall, "mrr@20": mrr, "seconds": self.seconds, "asked": asked})
            c.note(f"{method} {week + 1}: {recall:.2f} {mrr:.2f} ({self.seconds:.0f} s)")
        means = {name: float(np.mean([row[name] for row in rows])) for name in ("recall@20", "mrr@20")}
        return {**means, "seconds": self.seconds, "weeks": rows}

    def go_on_from(self, start: "Run") -> None:
        """The state after the first week, with which all begin."""
        size = self.weeks.known[0] + 1
        self.training = Continuation(
            SequenceModel(self.model, ModelInputs(size), self.seed), np.zeros(size), self.config, self.options
        )
        self.training.restore(start.training.tensors())
        self.replay.add(self.weeks.pieces[0])

    def anew(self, week: int) -> None:
        """Train a new model on all weeks so far."""
        began, size = time.process_time(), self.weeks.known[week] + 1
        model = SequenceModel(self.model, ModelInputs(size), self.seed)
        self.training = Continuation(model, np.zeros(size), self.config, self.options)
        pieces = [piece for part in self.weeks.pieces[: week + 1] for piece in part]
        self.training.learn(pieces, Replay(seed=self.seed), has_time=False)
        self.seconds += time.process_time() - began

    def on(self, week: int, *, beside: bool) -> None:
        """Go on with one week; new items start beside those that they came with, or anywhere."""
        began, pieces = time.process_time(), self.weeks.pieces[week]
        old, size, std = self.training, self.weeks.known[week] + 1, self.model.ids.std
        known = np.arange(size) < len(old.counts)
        model = grown(old.model, ModelInputs(size))
        if beside:
            rows = rows_of_neighbours(model.item_table(), pieces, known, std, self.seed)
        else:
            rows = (
                torch.randn(int((~known).sum()), model.config.encoder.dim, generator=generator(self.seed, week)) * std
            )
        old.grow(model, (np.flatnonzero(~known), rows))
        old.learn(pieces, self.replay, has_time=False)
        self.seconds += time.process_time() - began

    @torch.no_grad()
    def ask(self, week: int, rows: int = 512) -> tuple[float, float, int]:
        """Recall@20 and MRR@20 in per cent over all prefixes of a week's sessions, and their number."""
        training, most = self.training, self.weeks.known[week - 1]
        model = SequenceModel(self.model, ModelInputs(len(training.counts)))
        model.load_state_dict(training.published())
        model.eval()
        sequences = Sequences(log_of(self.weeks.test(week), has_time=False), tokens=8192)
        table, vectors = model.item_table(), model.item_vectors()
        ranks = []
        for given in sequences.batches(0, 0):
            assert given.targets is not None
            wanted = given.targets > 0
            batch = replace(given, items=torch.where(given.items < len(table), given.items, 0))
            query, targets = model.head.query(model.hidden(batch, table)[wanted]), given.targets[wanted]
            for begin in range(0, len(query), rows):
                scores = model.head.scores(query[begin : begin + rows], vectors)
                goal = targets[begin : begin + rows, None]
                there = goal < scores.shape[1]  # what the frozen model has never met is a miss
                own = scores.gather(1, goal.where(there, goal.new_zeros(()))).masked_fill(~there, torch.inf)
                ranks.append(torch.where(there[:, 0], (scores >= own).sum(dim=1), most + 1))
        rank = torch.cat(ranks).double()
        hit = rank <= 20
        return 100 * float(hit.double().mean()), 100 * float((hit / rank).mean()), len(rank)


if __name__ == "__main__":
    main()
