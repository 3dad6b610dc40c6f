"""How long from `temporec serve` to its first answer?

Fresh processes over the Beauty model (bar: 4 s, median): the first start, which makes the home of the service, and
starts with a log of `--events` events behind the checkpoint, once without and once with the snapshot of a clean stop.

    python benchmarks/serve_start.py --log ../shared/data/beauty/interactions.parquet
"""

import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

import calibration as c
import served as s


def main() -> None:
    """Read the command line and print the document."""
    parser = s.options(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--events", type=int, default=20_000, help="in the log, for the starts that read it")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Seconds of each kind of start."""
    folder = s.checkpoint(args)
    users, items = s.users_and_items(folder)
    path = f"/v1/users/{users[0]}/recommendations"
    new = []
    for _ in range(args.repeats):
        with s.fresh(folder) as copy:
            new.append(first_answer(copy, path, 15))
    with s.fresh(folder) as copy:
        server = s.Server(copy, "--set", "rate=0")
        s.run(fill(server.url, users, items, args.events))
        server.stop(9)
        after_kill = [first_answer(copy, path, 9) for _ in range(args.repeats)]
        first_answer(copy, path, 15)
        after_stop = [first_answer(copy, path, 9) for _ in range(args.repeats)]
    figures = {"first_start": new, "after_a_kill": after_kill, "after_a_clean_stop": after_stop}
    return figures, [c.bar("seconds to the first answer, median", statistics.median(new), 4.0)]


def first_answer(copy: Path, path: str, number: int) -> float:
    """Seconds from the start of the process to a 200; then it is stopped with a signal."""
    server = s.Server(copy)

    async def ask() -> None:
        status, said = await s.Connection(server.url).ask("GET", path)
        assert status == 200, said

    s.run(ask())
    seconds = time.perf_counter() - server.began
    server.stop(number)
    return seconds


async def fill(url: str, users: list[str], items: list[str], count: int) -> None:
    """Events, 500 at once."""
    draw, connection = random.Random(1), s.Connection(url)
    for _ in range(0, count, 500):
        batch = [{"user": draw.choice(users), "item": draw.choice(items)} for _ in range(500)]
        status, said = await connection.ask("POST", "/v1/events", json.dumps(batch).encode())
        assert status == 200, said


if __name__ == "__main__":
    main()
