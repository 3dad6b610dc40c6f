"""How long do 25 million raw events take to become trainable sequences, and in how much memory?

Writes synthetic logs (uniform users, Zipf items, rows in no order) to Parquet in a temporary folder. A fresh process
for each size then runs `temporec.load` (read, map, clean, number, sort) and takes the first batch of `Sequences`; its
peak resident memory is its own. Bars: 60 s and 6 GB at 25 million events; growth with events close to linear.

    python benchmarks/data_speed.py --sizes 3e6,6e6,12e6,25e6
"""

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import calibration as c

STAGES = ("read_table", "map_columns", "clean", "build_dataset")


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--sizes", default="3e6,6e6,12e6,25e6", help="events, ascending; the bars are for the last")
    parser.add_argument("--events-per-user", type=int, default=50)
    parser.add_argument("--events-per-item", type=int, default=250)
    parser.add_argument("--ids", choices=("int", "text"), default="int", help="type of the ids in the file")
    parser.add_argument("--child", type=Path, help="measure one file in this process (used by the benchmark itself)")
    args = parser.parse_args()
    if args.child is not None:
        print(json.dumps(stages(args.child)))
        return
    sizes = [int(float(size)) for size in args.sizes.split(",")]
    c.run(args, __doc__ or "", lambda: growth(sizes, args))


def growth(sizes: list[int], args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Every size in a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for events in sizes:
            log = Path(folder) / f"{events}.parquet"
            write_log(log, events, args)
            command = [sys.executable, __file__, "--child", str(log)]
            rows.append(
                {"events": events, **json.loads(subprocess.run(command, capture_output=True, check=True).stdout)}
            )
            c.note(json.dumps(rows[-1]))
            log.unlink()
    seconds = [row["seconds"] for row in rows]
    figures: c.Figures = {"runs": rows, "events_per_second": sizes[-1] / seconds[-1]}
    if len(sizes) > 1:
        figures["growth_exponent"] = c.slope(sizes, seconds)
        parts = {name: (sizes, [row["stages"][name] for row in rows]) for name in rows[0]["stages"]}
        lines = {"in all": (sizes, seconds), **parts}
        figures["plot"] = c.plot(args.out / "data_speed.png", lines, ("events", "seconds"), log=True)
    return figures, [
        c.bar(f"seconds for {sizes[-1]:,} events", seconds[-1], 60.0),
        c.bar("peak memory in GB", rows[-1]["peak_mb"] / 1024, 6.0),
    ]


def write_log(path: Path, events: int, args: Any) -> None:
    """A raw log in Parquet, columns user, item, time."""
    import polars as pl

    from temporec.data.synthetic import random_log

    frame = random_log(events, max(2, events // args.events_per_user), max(2, events // args.events_per_item))
    if args.ids == "text":
        frame = frame.with_columns(pl.format("user-{}", "user").alias("user"), pl.format("B00{}", "item").alias("item"))
    frame.write_parquet(path)


def stages(log: Path) -> dict[str, Any]:
    """Seconds of each stage, from the file to the first batch; imports are not counted."""
    from temporec.data.sequences import Sequences
    from temporec.workflow.experiment import peak_rss_mb

    module = importlib.import_module("temporec.workflow.load")
    spent: dict[str, float] = {}
    for name in STAGES:
        setattr(module, name, clocked(name, getattr(module, name), spent))
    before, began = peak_rss_mb(), time.perf_counter()
    loaded = module.load(log)
    spent["rest of load"] = time.perf_counter() - began - sum(spent.values())
    middle = time.perf_counter()
    batch = next(Sequences(loaded.dataset.interactions).batches(seed=0, epoch=0))
    end = time.perf_counter()
    spent["windows and first batch"] = end - middle
    return {
        "seconds": end - began,
        "stages": spent,
        "peak_mb": peak_rss_mb(),
        "imports_mb": before,
        "events_kept": len(loaded.dataset.interactions),
        "batch": list(batch.items.shape),
    }


def clocked(name: str, function: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    """The function, with its seconds written down."""

    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] = time.perf_counter() - began

    return call


if __name__ == "__main__":
    main()
