"""How many events a second does the event log make durable, and how near is that to what the disk can do?

Batches of 50 events are appended one after the other, and before, between and after that the same disk is asked how
often it can write as many bytes and wait for them (`raw`). Then single events: alone, and from 16 threads through a
group commit. Last, how long a log of that size takes to open. Bar: 2,000 events/s in batches of 50.

    python benchmarks/event_log.py --events 20000
    python benchmarks/event_log.py --url 'redis://127.0.0.1:6379/0?stream=bench' --url postgresql://user@host/base
"""

import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import calibration as c

BATCH = 50
PARTS = 4
THREADS = 16


def main() -> None:
    """Read the command line and print the document."""
    parser = c.options(__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="in batches of 50")
    parser.add_argument("--singles", type=int, default=1_000, help="appends of one event")
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk to be measured")
    parser.add_argument("--url", action="append", default=[], help="another log to measure too")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """The embedded log, and those at the URLs."""
    figures, bars = {}, []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        for url in [f"{name}/events.db", *args.url]:
            kind = url.partition("://")[0] if "://" in url else "sqlite"
            c.note(f"measuring {kind}")
            figures[kind] = one(args, url, Path(name))
            rate = figures[kind]["events_per_second"]
            bars.append(c.bar(f"{kind}: durable events/s in batches of 50", rate, 2000.0, least=True))
    return figures, bars


def one(args: Any, url: str, folder: Path) -> dict[str, Any]:
    """All figures of one log."""
    from temporec.store.events import open_event_log

    run = uuid4().hex
    batches = [events(f"{run}-{number}", BATCH) for number in range(max(PARTS, args.events // BATCH))]
    size = sum(len(json.dumps(record.body)) for record in batches[0])
    spans, raw = [], []
    with open_event_log(url) as log:
        for part in range(PARTS):
            raw.append(raw_syncs(folder / "raw", size))
            for batch in batches[part::PARTS]:
                spans += c.timed(lambda batch=batch: log.append(batch), least=1)
        raw.append(raw_syncs(folder / "raw", size))
        singles = [events(f"{run}-one-{number}", 1) for number in range(args.singles)]
        alone = [c.timed(lambda single=single: log.append(single), least=1)[0] for single in singles]
        together = grouped(log, run, args.singles)
    opened = c.timed(lambda: open_event_log(url).close())
    rate, disk = len(spans) / sum(spans), statistics.median(raw)
    return {
        "events_per_second": BATCH * rate,
        "commits_per_second": rate,
        "raw_syncs_per_second": disk,
        "share_of_raw": rate / disk,
        "batch_ms": percentiles(spans),
        "one_event_ms": percentiles(alone),
        f"events_per_second_one_by_one_from_{THREADS}_threads": together,
        "opening_seconds": statistics.median(opened),
        "records": len(spans) * BATCH + 2 * args.singles,
    }


def events(prefix: str, count: int) -> list[Any]:
    """Events as a shop sends them."""
    from temporec.store.records import Record

    return [
        Record(
            f"{prefix}-{number}",
            "events",
            {"user": f"u{number}", "item": f"B00{number:07d}", "time": 1_700_000_000_000 + number, "kind": "view"},
            f"u{number}",
        )
        for number in range(count)
    ]


def raw_syncs(path: Path, size: int, seconds: float = 0.5) -> float:
    """How often a second the disk takes `size` bytes at the end of a file and says that they are there."""
    handle, data = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), os.urandom(size)

    def sync() -> None:
        os.write(handle, data)
        os.fdatasync(handle)

    times = c.timed(sync, seconds=seconds)
    os.close(handle)
    return len(times) / sum(times)


def grouped(log: Any, run: str, count: int) -> float:
    """Events a second, each sent alone by one of many threads that wait for their answers."""
    from temporec.store.group_commit import GroupCommit

    commit = GroupCommit(log)

    def send(thread: int) -> None:
        for single in range(thread, count, THREADS):
            commit.submit(events(f"{run}-shared-{single}", 1)).result()

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    span = time.perf_counter() - began
    commit.close()
    return count / span


def percentiles(spans: list[float]) -> dict[str, float]:
    """Milliseconds."""
    cuts = statistics.quantiles(spans, n=100)
    return {"p50": 1e3 * cuts[49], "p99": 1e3 * cuts[98]}


if __name__ == "__main__":
    main()
