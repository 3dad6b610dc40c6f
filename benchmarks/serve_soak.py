"""Does the service grow?

On Beauty: half an hour at half of what it answers at saturation, with events beside the requests. Bar: the resident
memory grows by less than 2 % from minute 5 on, and no request fails.

    python benchmarks/serve_soak.py --log ../shared/data/beauty/interactions.parquet
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
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--settled", type=float, default=5.0, help="minutes after which memory shall not grow")
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second; 0 = half of the saturation")
    parser.add_argument("--settle", type=float, default=90.0, help="seconds for the states that are made beforehand")
    parser.add_argument("--events", type=float, default=5.0, help="events per second beside them")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Load, and the memory every few seconds."""
    folder = s.checkpoint(args)
    users, items = s.users_and_items(folder)
    paths = [f"/v1/users/{user}/recommendations?k=10" for user in users]
    with s.fresh(folder) as copy:
        server = s.Server(copy, "--set", "rate=0")
        time.sleep(args.settle)
        rate = args.rate or s.saturated(server.url, paths, 10.0, 32)["requests_per_second"] / 2
        c.note(f"{rate:.0f} requests per second")
        found, memory = s.run(soak(args, server, paths, (users, items), rate))
        server.stop()
    settled = [megabytes for minute, megabytes in memory if minute >= args.settled]
    edge = max(1, len(settled) // 10)
    growth = sum(settled[-edge:]) / sum(settled[:edge]) - 1.0
    figures = {"rate": rate, **found, "memory_mb": [round(m, 1) for _, m in memory[:: max(1, len(memory) // 60)]]}
    return {**figures, "growth": growth}, [
        c.bar(f"growth of memory from minute {args.settled:g} on", growth, 0.02),
        c.bar("errors", found["errors"], 0),
    ]


async def soak(
    args: Any, server: s.Server, paths: list[str], known: tuple[list[str], list[str]], rate: float
) -> tuple[dict[str, Any], list[tuple[float, float]]]:
    """Requests, events, and (minute, megabytes)."""
    memory: list[tuple[float, float]] = []

    async def watch() -> None:
        began = asyncio.get_running_loop().time()
        while True:
            memory.append(((asyncio.get_running_loop().time() - began) / 60, server.memory_mb()))
            await asyncio.sleep(args.minutes * 60 / 300)

    async def send() -> None:
        draw, connection = random.Random(3), s.Connection(server.url)
        while True:
            body = {"user": draw.choice(known[0]), "item": draw.choice(known[1])}
            status, said = await connection.ask("POST", "/v1/events", json.dumps(body).encode())
            assert status == 200, said
            await asyncio.sleep(1.0 / args.events)

    beside = [asyncio.ensure_future(watch()), asyncio.ensure_future(send())]
    found = await s.at_rate(server.url, paths, rate, args.minutes * 60)
    for task in beside:
        task.cancel()
    return found, memory


if __name__ == "__main__":
    main()
