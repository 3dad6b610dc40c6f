"""Which way from item texts to the item table is best, and does it pay to train the text encoder too?

A way is a fusion (`start`, `add`, `concat`, `gate`, `only`), and behind a plus how the encoder learns with the model
(`only+lora`, `add+last`); without it vectors are made once, before the training. Leave-last-out, seen items left out,
all items ranked. For each way, the mean over the seeds: NDCG@10 on validation, NDCG@10 and HR@10 on test, parameters
trained, epochs, wall and CPU seconds of the fit. Texts are encoded before the first fit, so that all find them cached.

    python benchmarks/joint_text.py --ways start,add,only,only+lora,only+last --set text.encoder=minilm
"""

import statistics
import time
from pathlib import Path
from typing import Any

import calibration as c


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--log", type=Path, default=Path("../shared/data/ml-100k/interactions.parquet"))
    parser.add_argument("--items", type=Path, help="items table (default: items.parquet beside the log)")
    parser.add_argument("--users", type=int, help="so many users, drawn with seed 0 (default: all)")
    parser.add_argument("--model", default="gru")
    parser.add_argument("--ways", default="start,only,only+lora,only+last", help="fusions, with +lora or +last")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="options of the model")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """All ways with all seeds."""
    from temporec.workflow import load
    from temporec.workflow.experiment import ProtocolConfig, make_split

    data = load(log_of(args), args.items or args.log.with_name("items.parquet")).dataset
    parts = make_split(data, ProtocolConfig(protocol="leave-last-out", seen="exclude"))
    seeds = [int(seed) for seed in args.seeds.split(",")]
    ways = {}
    for way in args.ways.split(","):
        runs = [one(parts, args, way, seed) for seed in seeds]
        ways[way] = {name: statistics.fmean(run[name] for run in runs) for name in runs[0]} | {"seeds": runs}
    log = data.interactions
    return {"users": len(log.users), "items": len(data.catalog), "events": len(log), "ways": ways}, []


def log_of(args: Any) -> Any:
    """The log, or that of some of its users."""
    import numpy as np
    import polars as pl

    log = pl.read_parquet(args.log)
    if args.users is None:
        return log
    column = next(name for name in ("user", "user_id") if name in log.columns)
    users = log[column].unique().sort().to_numpy()
    return log.filter(pl.col(column).is_in(np.random.default_rng(0).choice(users, args.users, replace=False).tolist()))


def one(parts: Any, args: Any, way: str, seed: int) -> dict[str, float]:
    """Figures of one fit."""
    from temporec.config import parse_overrides
    from temporec.model import SequenceModel
    from temporec.recommend.inputs import build_inputs
    from temporec.runtime import RunOptions
    from temporec.training.listeners import Silent
    from temporec.workflow.experiment import try_model
    from temporec.workflow.presets import fit_config

    class Line(Silent):
        def epoch(self, record: Any) -> None:
            c.note(f"  {record}")

    made, exclude = parts
    fuse, _, tune = way.partition("+")
    options = {"fuse": fuse, "text.tune": tune or "none"}
    config = fit_config(args.model, None, parse_overrides(args.set) | options, made.train.interactions)
    inputs, _ = build_inputs(made.train, config, config.text, config.cooccurrence, config.features)
    if tune:
        inputs = inputs.live(made.train.catalog, seed)
    count = sum(weight.numel() for weight in SequenceModel(config, inputs.model).parameters())
    cpu = time.process_time()
    trial = try_model(way, (made, exclude), config, RunOptions(seed=seed), listener=Line())
    fitted = trial.fitted
    assert fitted is not None
    figures = trial.result.metrics
    run = {
        "validation ndcg@10": max(record.validation or 0.0 for record in fitted.records),
        "ndcg@10": figures["ndcg@10"],
        "hr@10": figures["hit_rate@10"],
        "parameters": count,
        "epochs": fitted.epochs,
        "fit seconds": fitted.seconds,
        "cpu seconds": time.process_time() - cpu,
    }
    c.note(f"{way} seed {seed}: {c.rounded(run)}")
    return run


if __name__ == "__main__":
    main()
