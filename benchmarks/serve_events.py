"""Does each event show in the very next answer, and how many events per second become durable?

On Beauty: 1,000 times an event of a random user, and after its 200 a recommendation, in which the item must be seen as
had (bar: 1,000 of 1,000) while other clients ask for recommendations; then events in batches of 50 on several
connections (bar: 2,000 events per second, all of them found in the log afterwards).

    python benchmarks/serve_events.py --log ../shared/data/beauty/interactions.parquet
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
    parser.add_argument("--rounds", type=int, default=1_000, help="events whose effect is looked for")
    parser.add_argument("--beside", type=float, default=50.0, help="recommendations per second of others meanwhile")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the run in batches")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--connections", type=int, default=4, help="that send batches")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Effect, then speed."""
    folder = s.checkpoint(args)
    users, items = s.users_and_items(folder)
    with s.fresh(folder) as copy:
        server = s.Server(copy, "--set", "rate=0")
        effect = s.run(effects(args, server.url, users, items))
        c.note(f"{effect['seen']} of {args.rounds} events in the next answer")
        speed = s.run(batches(args, server.url, users, items))
        server.stop()
        kept = in_log(copy)
    speed["kept"] = kept == speed["acknowledged"] + args.rounds
    return {"effect": effect, "speed": speed}, [
        c.bar(f"events of {args.rounds} that the next answer shows", effect["seen"], args.rounds, least=True),
        c.bar("durable events per second", speed["events_per_second"], 2_000.0, least=True),
    ]


async def effects(args: Any, url: str, users: list[str], items: list[str]) -> dict[str, Any]:
    """An event, then at once an answer."""
    draw, connection, seen = random.Random(1), s.Connection(url), 0
    paths = [f"/v1/users/{user}/recommendations" for user in users]
    beside = asyncio.ensure_future(s.at_rate(url, paths, args.beside, 3_600.0))
    both: list[float] = []
    for _ in range(args.rounds):
        user, item = draw.choice(users), draw.choice(items)
        began = time.perf_counter()
        status, said = await connection.ask("POST", "/v1/events", body([(user, item)]))
        assert status == 200, said
        # An item that the user has had is hidden, unless had items are asked for.
        where = f"/v1/users/{user}/recommendations?k=1&candidates={item}"
        hidden = json.loads((await connection.ask("GET", f"{where}&exclude_seen=true"))[1])["items"]
        both.append(1000 * (time.perf_counter() - began))
        shown = json.loads((await connection.ask("GET", f"{where}&exclude_seen=false"))[1])["items"]
        seen += hidden == [] and len(shown) == 1
    beside.cancel()
    return {"seen": seen, "event_and_answer_ms": s.percentiles(both)}


async def batches(args: Any, url: str, users: list[str], items: list[str]) -> dict[str, Any]:
    """As many batches as the service acknowledges."""
    until, acknowledged = time.perf_counter() + args.seconds, 0
    latencies: list[float] = []

    async def one(seed: int) -> None:
        nonlocal acknowledged
        draw, connection = random.Random(seed), s.Connection(url)
        while (now := time.perf_counter()) < until:
            pairs = [(draw.choice(users), draw.choice(items)) for _ in range(args.batch)]
            status, said = await connection.ask("POST", "/v1/events", body(pairs))
            assert status == 200, said
            latencies.append(1000 * (time.perf_counter() - now))
            acknowledged += args.batch

    began = time.perf_counter()
    await asyncio.gather(*(one(seed) for seed in range(args.connections)))
    rate = acknowledged / (time.perf_counter() - began)
    return {"events_per_second": rate, "acknowledged": acknowledged, "batch_ms": s.percentiles(latencies)}


def body(pairs: list[tuple[str, str]]) -> bytes:
    """Events, now."""
    return json.dumps([{"user": user, "item": item} for user, item in pairs]).encode()


def in_log(copy: Path) -> int:
    """How many events the log holds."""
    from temporec.store.events import open_event_log

    with open_event_log(copy.with_name(f"{copy.name}.service") / "events.db") as log:
        return sum(1 for _ in log.read_all(topics={"events"}))


if __name__ == "__main__":
    main()
