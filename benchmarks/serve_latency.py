"""How fast does the service answer, at a given rate and as fast as it can?

On Beauty (12,101 items) with client and server on the same two cores: 300 recommendation requests per second of random
users for a minute (bars: p50 3 ms, p99 15 ms, no error), then as many as it answers (bar: 1,000 per second). With
`--modes state,adaptive` once more beside a learner, to which events are sent at `--events` per second.

    python benchmarks/serve_latency.py --log ../shared/data/beauty/interactions.parquet
"""

import asyncio
import json
import random
import time
from typing import Any

import calibration as c
import served as s


def main() -> None:
    """Read the command line and print the document."""
    parser = s.options(__doc__)
    parser.add_argument("--rate", type=float, default=300.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the run at that rate")
    parser.add_argument("--settle", type=float, default=90.0, help="seconds from the start to the first request")
    parser.add_argument("--flood", type=float, default=10.0, help="seconds of the run at saturation")
    parser.add_argument("--connections", type=int, default=32, help="at saturation")
    parser.add_argument("--modes", default="state", help="state, or state,adaptive")
    parser.add_argument("--events", type=float, default=20.0, help="events per second for the learner, one by one")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Every mode."""
    folder = s.checkpoint(args)
    figures = {mode: one_mode(args, folder, mode) for mode in args.modes.split(",")}
    bars = []
    for mode, found in figures.items():
        rate, flood = found["at_rate"], found["saturated"]
        bars += [
            c.bar(f"{mode}: p50 in ms at {args.rate:g} requests/s", rate["p50"], 3.0),
            c.bar(f"{mode}: p99 in ms", rate["p99"], 15.0),
            c.bar(f"{mode}: errors in {args.seconds:g} s", rate["errors"], 0),
            c.bar(f"{mode}: requests/s at saturation", flood["requests_per_second"], 1_000.0, least=True),
        ]
    return figures, bars


def one_mode(args: Any, folder: Any, mode: str) -> c.Figures:
    """Latencies and saturation of one service."""
    users, items = s.users_and_items(folder)
    paths = [f"/v1/users/{user}/recommendations?k=10" for user in users]
    with s.fresh(folder) as copy:
        server = s.Server(copy, "--mode", mode, "--set", "rate=0")
        c.note(f"{mode}: {args.settle:g} s for the states of all users, which are made when nobody asks")
        time.sleep(args.settle)
        s.run(s.at_rate(server.url, paths, args.rate, min(5.0, args.seconds)))  # warm
        c.note(f"{mode}: {args.seconds:g} s at {args.rate:g} requests/s")
        cpu, began = server.cpu_seconds(), time.perf_counter()
        found = s.run(both(args, server.url, paths, (users, items), args.events if mode == "adaptive" else 0.0))
        share = (server.cpu_seconds() - cpu) / (time.perf_counter() - began)
        flood = s.saturated(server.url, paths, args.flood, args.connections)
        memory = server.memory_mb()
        server.stop()
    return {"at_rate": found, "cores_of_the_server": share, "saturated": flood, "memory_mb": memory}


async def both(
    args: Any, url: str, paths: list[str], known: tuple[list[str], list[str]], events: float
) -> dict[str, Any]:
    """Requests at the rate, and events beside them."""
    sender = asyncio.ensure_future(send_events(url, known, events)) if events else None
    found = await s.at_rate(url, paths, args.rate, args.seconds)
    if sender is not None:
        sender.cancel()
    return found


async def send_events(url: str, known: tuple[list[str], list[str]], rate: float) -> None:
    """One event after the other."""
    draw, connection = random.Random(3), s.Connection(url)
    while True:
        body = {"user": draw.choice(known[0]), "item": draw.choice(known[1])}
        status, said = await connection.ask("POST", "/v1/events", json.dumps(body).encode())
        assert status == 200, said
        await asyncio.sleep(1.0 / rate)


if __name__ == "__main__":
    main()
