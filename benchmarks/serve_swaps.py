"""Does a change of the model cost an answer?

On Beauty: versions that differ are activated in turn, 200 times, while recommendations are asked for at a rate. Bars:
no failed request, and every answer is exactly the one that the version it names gives.

    python benchmarks/serve_swaps.py --log ../shared/data/beauty/interactions.parquet
"""

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import calibration as c
import served as s


def main() -> None:
    """Read the command line and print the document."""
    parser = s.options(__doc__)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second meanwhile")
    parser.add_argument("--users", type=int, default=20, help="who ask")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Swaps under load."""
    folder = s.checkpoint(args)
    known, _ = s.users_and_items(folder)
    users = random.Random(1).sample(known, args.users)
    with s.fresh(folder) as copy:
        server = s.Server(copy, "--set", "rate=0", "--set", "timeout=60")
        other = second_version(copy)
        found = s.run(swapped(args, server.url, users, ("v1", other)))
        found["memory_mb"] = server.memory_mb()
        server.stop()
    return found, [
        c.bar(f"failed requests in {args.swaps} swaps", found["failed"], 0),
        c.bar("mixed answers", found["mixed"], 0),
    ]


def second_version(copy: Path) -> str:
    """A version whose answers differ."""
    from temporec.recommend.base import Recommender
    from temporec.store.versions import Home

    home = Home.open(copy)
    model: Any = Recommender.load(home.folder("v1"))
    for weights in model.model.parameters():
        weights.data.mul_(-0.7)
    return home.add(model.save, parent="v1", log_offset=0, metrics={})


async def swapped(args: Any, url: str, users: list[str], names: tuple[str, str]) -> dict[str, Any]:
    """Activate in turn while others ask."""
    admin = s.Connection(url)
    right: dict[tuple[str, str], list[Any]] = {}
    for name in names:
        for user in users:
            _, said = await admin.ask("GET", f"/v1/users/{user}/recommendations?version={name}")
            right[name, user] = [row["item"] for row in json.loads(said)["items"]]
    assert all(right[names[0], user] != right[names[1], user] for user in users)
    counts = {"answers": 0, "failed": 0, "mixed": 0}
    latencies: list[float] = []
    done = False

    async def ask(seed: int) -> None:
        draw, connection = random.Random(seed), s.Connection(url)
        while not done:
            user, began = draw.choice(users), time.perf_counter()
            status, said = await connection.ask("GET", f"/v1/users/{user}/recommendations")
            latencies.append(1000 * (time.perf_counter() - began))
            counts["answers"] += 1
            counts["failed"] += status != 200
            if status == 200:
                plain = json.loads(said)
                counts["mixed"] += [row["item"] for row in plain["items"]] != right[plain["version"], user]
            await asyncio.sleep(max(0.0, 4 / args.rate - (time.perf_counter() - began)))

    workers = [asyncio.ensure_future(ask(seed)) for seed in range(4)]
    seconds = []
    for n in range(args.swaps):
        began = time.perf_counter()
        status, said = await admin.ask("POST", f"/v1/models/{names[(n + 1) % 2]}/activate")
        assert status == 200, said
        assert json.loads(said)["active"], said
        seconds.append(time.perf_counter() - began)
    done = True
    await asyncio.gather(*workers)
    return {**counts, "latency_ms": s.percentiles(latencies), "seconds_of_a_swap": s.percentiles(seconds)}


if __name__ == "__main__":
    main()
