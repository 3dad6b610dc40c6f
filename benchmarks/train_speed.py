"""How long does an epoch of training take, where does the time go, and how does RecTools' SASRec compare?

Beauty, leave-last-out training part, 2-block transformer of width 64, softmax over all items, in a fresh process:
median seconds of some epochs, peak resident memory, the share of the measured bf16 matmul peak that the useful
floating-point operations reach (valid positions only: three products of the softmax, three times the forward pass of
the encoder), and a profile of an epoch on an eighth of the users. Bars: 6 s an epoch, 40 times RecTools, 1.5 GB.

RecTools runs one epoch of the same size on the same events in an environment of its own:

    python -m venv ../rectools-env
    ../rectools-env/bin/pip install torch==2.13.0          (a CPU build)
    ../rectools-env/bin/pip install 'rectools[torch]==0.19.0' pytorch-lightning==2.5.2 torch==2.13.0
    python benchmarks/train_speed.py --rectools-python ../rectools-env/bin/python

`--to-ndcg 0.06` also measures the way from the raw files to a model chosen by validation and its NDCG@10 on test
(bar: 0.06 in 5 minutes), with the preset `--model`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import calibration as c

PEER = Path(__file__).resolve().parent / "peers" / "rectools_sasrec.py"


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--log", type=Path, default=Path("../shared/data/beauty/interactions.parquet"))
    parser.add_argument("--items", type=Path, help="items table for --to-ndcg (default: items.parquet beside the log)")
    parser.add_argument("--epochs", type=int, default=4, help="timed epochs")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="options of the timed model")
    parser.add_argument("--no-profile", action="store_true")
    parser.add_argument("--rectools-python", type=Path, help="Python of an environment with RecTools")
    parser.add_argument("--peer-batches", type=int, default=0, help="run only some batches of RecTools and scale up")
    parser.add_argument("--to-ndcg", type=float, help="also measure the seconds to this NDCG@10")
    parser.add_argument("--model", default="gru", help="preset for --to-ndcg")
    parser.add_argument("--model-set", action="append", default=[], metavar="A.B=C", help="options for --to-ndcg")
    parser.add_argument("--child", action="store_true", help="measure in this process (used by the benchmark itself)")
    args = parser.parse_args()
    if args.child:
        print(json.dumps(epochs(args)))
        return
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Our epochs, then what else was asked for."""
    if not args.log.exists():
        raise SystemExit(f"{args.log} does not exist; give the path of a log with --log")
    words = [f"--set={each}" for each in args.set] + ["--no-profile"] * args.no_profile
    ours = child([sys.executable, __file__, "--child", f"--log={args.log}", f"--epochs={args.epochs}", *words])
    c.note(f"{ours['epoch_seconds']} s an epoch")
    theirs = None if args.rectools_python is None else peer(args)
    ratio = None if theirs is None else theirs["epoch_seconds"] / ours["epoch_seconds"]
    figures = {"temporec": ours, "rectools_sasrec": theirs, "times_as_fast": ratio}
    bars = [
        c.bar("seconds an epoch", ours["epoch_seconds"], 6.0),
        c.bar("times as fast as RecTools' SASRec", ratio, 40.0, least=True),
        c.bar("peak memory in GB", ours["peak_mb"] / 1024, 1.5),
    ]
    if args.to_ndcg is not None:
        figures["quality"] = quality = to_quality(args)
        bars.append(c.bar("NDCG@10 on test", quality["ndcg@10"], args.to_ndcg, least=True))
        bars.append(c.bar("seconds from the raw file to the chosen model", quality["seconds"], 300.0))
    return figures, bars


def child(command: list[str]) -> dict[str, Any]:
    """The last line that a process prints, as JSON."""
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def training_part(log: Path) -> Any:
    """The training events of leave-last-out."""
    from temporec.data.split import split
    from temporec.workflow import load

    return split(load(log).dataset, "leave-last-out").train


def epochs(args: Any) -> dict[str, Any]:
    """Our epochs, in this process."""
    from temporec.config import parse_overrides
    from temporec.data.dataset import Dataset
    from temporec.recommend.fitting import fit_recommender
    from temporec.runtime import RunOptions
    from temporec.workflow.experiment import peak_rss_mb
    from temporec.workflow.presets import fit_config

    peak = c.calibrate()
    train = training_part(args.log)
    fixed = {"encoder.dim": 64, "encoder.layers": 2, "text.encoder": "none", "training.epochs": args.epochs}
    config = fit_config("transformer", None, {**parse_overrides(args.set), **fixed})
    fitted = fit_recommender(train, config, RunOptions())
    seconds = [record.seconds for record in fitted.records]
    middle, work = statistics.median(seconds), useful_gflop(train, config)
    figures = {
        "epoch_seconds": middle,
        "all_epochs": seconds,
        "peak_mb": peak_rss_mb(),
        "precision": RunOptions().resolve_precision(),
        "losses": [record.loss for record in fitted.records],
        "useful_gflop": work,
        "gflops": sum(work.values()) / middle,
        "share_of_bf16_peak": sum(work.values()) / middle / peak["bf16_gflops"],
        "matmul": peak,
    }
    if not args.no_profile:
        part = Dataset(train.interactions.take(train.interactions.user % 8 == 0), train.catalog)
        once = config.override({"training.epochs": 1})
        figures["profile"] = profile(lambda: fit_recommender(part, once, RunOptions()))
    return figures


def useful_gflop(train: Any, config: Any) -> dict[str, float]:
    """Floating-point operations of an epoch that are needed: valid positions only, a multiply-add counts as two."""
    import numpy as np

    positions = np.maximum(np.diff(train.interactions.offsets) - 1, 0)
    n, seen = int(positions.sum()), np.minimum(positions, config.encoder.max_len)
    dim, layers = config.encoder.dim, config.encoder.layers
    pairs = float((seen * (seen + 1) // 2).sum())
    forward = layers * (24 * dim**2 * n + 4 * dim * pairs)
    return {"softmax": 6 * n * len(train.catalog) * dim / 1e9, "encoder": 3 * forward / 1e9}


def profile(call: Any) -> list[dict[str, Any]]:
    """The operators that take most of the time of one epoch; what Python does between them is not in it."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CPU]) as recorded:
        call()
    rows = sorted(recorded.key_averages(), key=lambda row: -row.self_cpu_time_total)
    whole = sum(row.self_cpu_time_total for row in rows)
    return [
        {"operator": row.key, "share": row.self_cpu_time_total / whole, "seconds": row.self_cpu_time_total / 1e6,
         "calls": row.count}
        for row in rows[:14]
    ]  # fmt: skip


def peer(args: Any) -> dict[str, Any]:
    """RecTools on the same training events."""
    with tempfile.TemporaryDirectory() as folder:
        train, log = training_part(args.log), Path(folder) / "log.csv"
        train.interactions.to_frame(train.catalog.vocabulary).select("user", "item", "time").write_csv(log)
        c.note("running RecTools' SASRec")
        return child([str(args.rectools_python), str(PEER), str(log), str(args.peer_batches)])


def to_quality(args: Any) -> dict[str, Any]:
    """From the raw files to a model that validation chose; reading, splitting, patience and all are in the seconds."""
    from temporec.config import parse_overrides
    from temporec.evaluation.protocol import EvaluationConfig, evaluate
    from temporec.recommend.fitting import fit_recommender
    from temporec.runtime import RunOptions
    from temporec.workflow import ProtocolConfig, load
    from temporec.workflow.experiment import make_split
    from temporec.workflow.presets import fit_config

    beside = args.log.with_name("items.parquet")
    items = args.items or (beside if beside.exists() else None)
    began = time.perf_counter()
    made, exclude = make_split(load(args.log, items).dataset, ProtocolConfig(protocol="leave-last-out", seen="exclude"))
    config = fit_config(args.model, None, parse_overrides(args.model_set))
    read = time.perf_counter() - began
    fitted = fit_recommender(made.train, config, RunOptions(), made.valid, exclude_seen=exclude)
    seconds = time.perf_counter() - began
    test = evaluate(fitted.recommender, made.test, EvaluationConfig(exclude_seen=exclude), train=made.train).to_dict()
    return {
        "model": args.model, "seconds": seconds, "read_seconds": read, "epochs_run": len(fitted.records),
        "chosen_epoch": fitted.epochs, "validation": [record.validation for record in fitted.records],
        "epoch_seconds": [record.seconds for record in fitted.records],
        **{name: test["test"][name] for name in ("ndcg@10", "hit_rate@10")},
    }  # fmt: skip


if __name__ == "__main__":
    main()
