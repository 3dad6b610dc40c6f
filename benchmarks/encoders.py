"""How do the encoders compare: size, speed, memory, quality, and how far back they remember?

Every encoder runs in processes of its own. On Beauty (leave-last-out, seen items left out, best epoch by validation)
with its preset: parameters, median seconds an epoch, peak resident memory, NDCG@10 and HR@10 on test; `--skip-quality`
runs two epochs without validation instead. On the synthetic long-memory log: the hit rate at 1 on the last event, which
is decided by the event `lag` events before (1 can be reached at any lag; 4 / 40 without memory), all encoders with
width 32 and the same training.

    python benchmarks/encoders.py --skip-quality
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import calibration as c

KINDS = "rnn,lstm,gru,tcn,transformer,hstu,mean"
TRAINING = {"lr": 3e-3, "tokens": 1024, "average": 0.0}  # on the long-memory log


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("--log", type=Path, default=Path("../shared/data/beauty/interactions.parquet"))
    parser.add_argument("--skip-quality", action="store_true", help="two epochs without validation")
    parser.add_argument("--skip-beauty", action="store_true", help="only the long-memory log")
    parser.add_argument("--lags", default="1,4,16,48", help="empty: leave the long-memory log out")
    parser.add_argument("--lag-users", type=int, default=500)
    parser.add_argument("--lag-epochs", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="options of all models on Beauty")
    parser.add_argument("--child", help="beauty:KIND or lag:KIND:LAG, in this process (used by the benchmark itself)")
    args = parser.parse_args()
    if args.child:
        what, *rest = args.child.split(":")
        print(json.dumps(beauty(args, rest[0]) if what == "beauty" else remembers(args, rest[0], int(rest[1]))))
        return
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """The table on Beauty and the figures by lag."""
    kinds, lags = args.kinds.split(","), [int(lag) for lag in args.lags.split(",") if lag]
    figures: c.Figures = {}
    if not args.skip_beauty:
        if not args.log.exists():
            raise SystemExit(f"{args.log} does not exist; give the path of a log with --log, or use --skip-beauty")
        figures["table"] = {kind: child(args, f"beauty:{kind}") for kind in kinds}
    if lags:
        rows = {kind: [child(args, f"lag:{kind}:{lag}")["hit_rate@1"] for lag in lags] for kind in kinds}
        figures["hit_rate@1_by_lag"] = {"lags": lags, "without_memory": 0.1, **rows}
        lines = {kind: (lags, row) for kind, row in rows.items()}
        figures["plot"] = c.plot(args.out / "recall_by_lag.png", lines, ("lag in events", "hit rate at 1"), log=False)
    return figures, []


def child(args: Any, what: str) -> dict[str, Any]:
    """What a process of its own finds."""
    words = [f"--log={args.log}", f"--lag-users={args.lag_users}", f"--lag-epochs={args.lag_epochs}"]
    words += [f"--set={each}" for each in args.set] + ["--skip-quality"] * args.skip_quality
    command = [sys.executable, __file__, "--child", what, *words]
    figures: dict[str, Any] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1]
    )
    c.note(f"{what}: {json.dumps(figures)}")
    return figures


def beauty(args: Any, kind: str) -> dict[str, Any]:
    """One preset on the log, in this process."""
    from temporec.config import parse_overrides
    from temporec.evaluation.protocol import EvaluationConfig, evaluate
    from temporec.recommend.fitting import fit_recommender
    from temporec.runtime import RunOptions
    from temporec.workflow import ProtocolConfig, load
    from temporec.workflow.experiment import make_split, peak_rss_mb
    from temporec.workflow.presets import fit_config

    items = args.log.with_name("items.parquet")
    loaded = load(args.log, items if items.exists() else None)
    made, exclude = make_split(loaded.dataset, ProtocolConfig(protocol="leave-last-out", seen="exclude"))
    short = {"training.epochs": 2} if args.skip_quality else {}
    config = fit_config(kind, None, {**short, **parse_overrides(args.set)})
    valid = None if args.skip_quality else made.valid
    fitted = fit_recommender(made.train, config, RunOptions(), valid, exclude_seen=exclude)
    model = fitted.recommender.model
    figures: dict[str, Any] = {
        "parameters": sum(each.numel() for each in model.parameters()),
        "encoder_parameters": sum(each.numel() for each in model.encoder.parameters()),
        "epoch_seconds": statistics.median(record.seconds for record in fitted.records),
        "peak_mb": peak_rss_mb(),
    }
    if args.skip_quality:
        return figures
    result = evaluate(fitted.recommender, made.test, EvaluationConfig(exclude_seen=exclude), train=made.train).to_dict()
    figures |= {name: result["test"][name] for name in ("ndcg@10", "hit_rate@10")}
    return figures | {"interval": result["interval"]["ndcg@10"], "epochs": fitted.epochs, "fit_seconds": fitted.seconds}


def remembers(args: Any, kind: str, lag: int) -> dict[str, Any]:
    """Hit rate at 1 on the last event of a log with memory over `lag` events, after all epochs.

    The event before the last, which would be validation, is noise here, so nothing can be chosen on it.
    """
    from temporec.data.split import split
    from temporec.data.synthetic import lag_log
    from temporec.evaluation.protocol import EvaluationConfig, evaluate
    from temporec.recommend.fitting import fit_recommender
    from temporec.runtime import RunOptions
    from temporec.workflow.presets import fit_config

    made = split(lag_log(lag, users=args.lag_users, items=40), "leave-last-out")
    same: dict[str, Any] = {"encoder.dim": 32, "encoder.max_len": 128, "encoder.dropout": 0.0, "dropout": 0.0}
    same |= {f"training.{name}": value for name, value in TRAINING.items()} | {"training.epochs": args.lag_epochs}
    config = fit_config(kind, None, same, made.train.interactions)
    fitted = fit_recommender(made.train, config, RunOptions(), exclude_seen=False)
    judge = EvaluationConfig(exclude_seen=False)
    test = evaluate(fitted.recommender, made.test, judge, train=made.train).to_dict()["test"]
    losses = [record.loss for record in fitted.records]
    return {"hit_rate@1": test["accuracy@1"], "last_loss": losses[-1], "fit_seconds": fitted.seconds}


if __name__ == "__main__":
    main()
