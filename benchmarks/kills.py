"""Does a fit that is killed at any moment and resumed end with the same weights, bit by bit?

`temporec fit` on a small synthetic log runs once unbroken. Then, `--kills` times: a new run gets `kill -9` at a random
moment of its training (held-out run or refit), is started again with `--resume`, and its `model.safetensors` is
compared with that of the unbroken run, byte by byte. A run that ends before its kill is not counted and tried again.

    python benchmarks/kills.py --kills 20
"""

import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import calibration as c


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--model", default="gru")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """One unbroken run, then the kills."""
    from temporec.data.synthetic import random_log

    draw, rows, missed = random.Random(args.seed), [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_log(20 * args.users, args.users, 500).write_parquet(folder / "log.parquet")
        span = fit(args, folder, "whole")
        whole = digest(folder / "whole")
        c.note(f"unbroken: {span:.1f} s from the start of training")
        while len(rows) < args.kills and missed <= args.kills:
            moment = draw.uniform(0.0, 0.95 * span)
            out = f"run{len(rows) + missed}"
            if fit(args, folder, out, kill_after=moment) is not None:
                missed += 1
                continue
            state = stage(folder / f"{out}.resume")
            fit(args, folder, out, resume=True)
            rows.append({"after_seconds": moment, "state": state, "same": digest(folder / out) == whole})
            c.note(f"{len(rows)}: killed after {moment:.2f} s ({state}), same bits: {rows[-1]['same']}")
    same = sum(row["same"] for row in rows)
    figures = {"unbroken_seconds": span, "kills": rows, "same": same, "ended_before_the_kill": missed}
    return figures, [c.bar("runs with the same final weights", same, args.kills, least=True)]


def fit(args: Any, folder: Path, out: str, *, kill_after: float | None = None, resume: bool = False) -> float | None:
    """Seconds from the start of training to the end, or None where the process was killed on the way."""
    settings = (
        f"training.epochs={args.epochs}",
        f"training.patience={args.epochs}",
        "training.tokens=512",
        "encoder.dim=16",
    )
    words = [
        "fit",
        str(folder / "log.parquet"),
        "--model",
        args.model,
        "--out",
        str(folder / out),
        "--threads",
        "1",
        "--json",
    ]
    words += [
        word for each in (*settings, "canary=false", "baselines=[]", "run.precision=fp32") for word in ("--set", each)
    ]
    code = "from temporec.cli.main import run; run()"
    command = [sys.executable, "-c", code, *words, *(["--resume"] if resume else [])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    work = folder / f"{out}.resume"
    while not work.exists() and process.poll() is None:
        time.sleep(0.005)
    began = time.perf_counter()
    if kill_after is not None:
        try:
            process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    code_ = process.wait()
    if code_ == -signal.SIGKILL:
        return None
    if code_:
        raise SystemExit(f"temporec fit ended with exit code {code_}")
    return time.perf_counter() - began


def stage(work: Path) -> str:
    """Where a killed run stood."""
    log = work / "log.csv"
    epochs = max(0, len(log.read_text(encoding="utf-8").splitlines()) - 1) if log.exists() else 0
    part = "refit" if (work / "refit" / "current").exists() else "held-out run"
    return f"{part}, {epochs} epochs of the held-out run logged"


def digest(folder: Path) -> str:
    """SHA-256 of the weights of a saved recommender."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
