"""How fast is this machine right now?

Shared by all benchmarks, and a benchmark of its own.

Every benchmark answers one question and prints one JSON document on standard output (progress goes to standard error):

    {"benchmark", "question", "options", "machine", "calibration": {"before", "after", "drift"}, "void",
     "figures": {...}, "bars": [{"name", "value", "limit", "met"}, ...]}

The load average and a matrix product of 1,024 x 1,024 in fp32 and bf16 are taken before and after. Where one of the
two products drifts by more than 10 % between them, the machine did something else meanwhile: `void` is true, and the
figures are not to be used. Threads are set from outside (`OMP_NUM_THREADS`, `POLARS_MAX_THREADS`) and stand in the
document.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DRIFT = 0.10
SIZE = 1024

Figures = dict[str, Any]
Bar = dict[str, Any]


def options(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a benchmark: its docstring, and the folder for plots."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="folder for plots (default: runs/bench)")
    parser.add_argument("--calibration", type=float, default=0.6, help="seconds of each calibration product")
    return parser


def run(args: argparse.Namespace, doc: str, measure: Callable[[], tuple[Figures, list[Bar]]]) -> None:
    """Calibrate, measure, calibrate again, print the document."""
    before = calibrate(args.calibration)
    figures, bars = measure()
    after = calibrate(args.calibration)
    drift = {name: abs(after[name] / before[name] - 1.0) for name in ("fp32_gflops", "bf16_gflops")}
    report = {
        "benchmark": Path(sys.argv[0]).stem,
        "question": doc.strip().splitlines()[0],
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()},
        "machine": machine(),
        "calibration": {"before": before, "after": after, "drift": rounded(drift)},
        "void": max(drift.values()) > DRIFT,
        "figures": rounded(figures),
        "bars": rounded(bars),
    }
    print(json.dumps(report, indent=2))


def bar(name: str, value: float | None, limit: float, *, least: bool = False) -> Bar:
    """One limit: `value` must not be above it (with `least`: below it); a value of None was not measured."""
    met = None if value is None else bool(value >= limit if least else value <= limit)
    return {"name": name, "value": value, "limit": limit, "direction": "at least" if least else "at most", "met": met}


def calibrate(seconds: float = 0.6) -> dict[str, float]:
    """Load average, and the median speed of a matrix product in fp32 and bf16 over about `seconds` each."""
    import torch

    load = os.getloadavg()[0]
    speeds = {}
    for name, dtype in (("fp32_gflops", torch.float32), ("bf16_gflops", torch.bfloat16)):
        left = torch.ones(SIZE, SIZE, dtype=dtype)
        out = left @ left
        times = timed(lambda left=left, out=out: torch.mm(left, left, out=out), seconds=seconds)
        speeds[name] = round(2 * SIZE**3 / statistics.median(times) / 1e9, 1)
    return {"load_average": round(load, 2), **speeds}


def timed(call: Callable[[], object], *, seconds: float = 0.0, least: int = 3) -> list[float]:
    """Seconds of each of at least `least` calls, repeated until `seconds` have passed."""
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return times


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    return {
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "polars_threads": os.environ.get("POLARS_MAX_THREADS"),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Exponent p of seconds ~ size^p between the two largest sizes: 1 is linear, below 1 has a fixed part."""
    import math

    return math.log(seconds[-1] / seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def plot(
    path: Path, lines: dict[str, tuple[Sequence[float], Sequence[float]]], labels: tuple[str, str], log: bool
) -> str:
    """Lines by name as a PNG; `labels` of the two axes; on logarithmic axes growth of slope 1 is linear."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, (x, y) in lines.items():
        axes.plot(x, y, marker="o", label=name)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    if log:
        axes.set(xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return str(path)


def note(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def rounded(value: Any, digits: int = 4) -> Any:
    """All floats to some significant digits."""
    if isinstance(value, dict):
        return {name: rounded(each, digits) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each, digits) for each in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def main() -> None:
    """Read the command line and print the document."""
    run(options(__doc__).parse_args(), __doc__ or "", lambda: ({}, []))


if __name__ == "__main__":
    main()
