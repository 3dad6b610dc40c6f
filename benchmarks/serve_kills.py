"""Does a `kill -9` lose or double an acknowledged event, and does a full disk?

`--rounds` times the service is killed at a random moment while clients send batches, and `--full` times its log stands
on a file system that is full (a small tmpfs; needs root, else that part is left out). After each restart every
acknowledged event must be in the log once, and the answers must be those of a fresh replay. With strace, one more run
shows for each acknowledged request that the log was synced (fsync or fdatasync) before the answer was written.

    python benchmarks/serve_kills.py --log ../shared/data/beauty/interactions.parquet
"""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import calibration as c
import served as s

SYNC = re.compile(r"(fsync|fdatasync)\((\d+).*= 0")


def main() -> None:
    """Read the command line and print the document."""
    parser = s.options(__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--full", type=int, default=5, help="rounds on a full disk")
    parser.add_argument("--traced", type=int, default=50, help="events of the run under strace")
    args = parser.parse_args()
    c.run(args, __doc__ or "", lambda: measure(args))


def measure(args: Any) -> tuple[c.Figures, list[c.Bar]]:
    """Kills, full disks, the trace."""
    folder = s.checkpoint(args)
    known = s.users_and_items(folder)
    with s.fresh(folder) as copy:
        kills = killed(args, copy, known)
    full = on_a_full_disk(args, folder, known) if os.geteuid() == 0 and args.full else None
    trace = traced(args, folder, known) if shutil.which("strace") and args.traced else None
    bars = [
        c.bar("acknowledged events lost by kill -9", kills["lost"], 0),
        c.bar("events doubled", kills["doubled"], 0),
        c.bar("users with another state after the restart", kills["other_states"], 0),
        c.bar("acknowledged events lost on a full disk", None if full is None else full["lost"], 0),
        c.bar("acknowledgements before their sync", None if trace is None else trace["too_early"], 0),
    ]
    return {"kills": kills, "full_disk": full, "trace": trace}, bars


def killed(args: Any, copy: Path, known: tuple[list[str], list[str]]) -> dict[str, Any]:
    """Rounds of load, kill, restart, comparison."""
    draw, acknowledged = random.Random(1), list[str]()
    found = {"rounds": args.rounds, "acknowledged": 0, "lost": 0, "doubled": 0, "other_states": 0}
    server = s.Server(copy, "--set", "rate=0", "--set", "snapshot_every=2000")
    for number in range(args.rounds):
        got, refused = s.run(load(server, known, f"r{number}", draw.uniform(0.1, 1.5), signal.SIGKILL))
        assert not refused, refused[0]
        acknowledged += got
        server.process.wait()
        stored = ids_in_log(copy)
        found["lost"] += len(set(acknowledged) - set(stored))
        found["doubled"] += len(stored) - len(set(stored))
        server = s.Server(copy, "--set", "rate=0", "--set", "snapshot_every=2000")
        found["other_states"] += s.run(differing(server.url, copy, draw))
        c.note(f"round {number + 1}: {len(acknowledged)} acknowledged, {found}")
    server.stop()
    return {**found, "acknowledged": len(acknowledged)}


async def load(
    server: s.Server, known: tuple[list[str], list[str]], name: str, seconds: float, number: int | None
) -> tuple[list[str], list[str]]:
    """Send batches for some seconds, then send a signal to the server: acknowledged ids, and refusals."""
    acknowledged: list[str] = []
    refused: list[str] = []
    until = time.perf_counter() + seconds

    async def one(worker: int) -> None:
        draw, connection = random.Random(f"{name}{worker}"), s.Connection(server.url)
        for n in range(1_000_000):
            if number is None and time.perf_counter() > until:
                return
            batch = [
                {"id": f"{name}-{worker}-{n}-{i}", "user": draw.choice(known[0]), "item": draw.choice(known[1]),
                 "time": 1_800_000_000 + n}
                for i in range(10)
            ]  # fmt: skip
            try:
                status, said = await connection.ask("POST", "/v1/events", json.dumps(batch).encode())
            except (OSError, asyncio.IncompleteReadError):
                return
            if status == 200:
                acknowledged.extend(event["id"] for event in batch)
            else:
                refused.append(f"{status} {said.decode()}")
                await asyncio.sleep(0.05)

    workers = [asyncio.ensure_future(one(worker)) for worker in range(4)]
    await asyncio.sleep(seconds)
    if number is not None:
        server.process.send_signal(number)
    await asyncio.gather(*workers)
    return acknowledged, refused


def ids_in_log(copy: Path) -> list[str]:
    """Ids of all events that are stored."""
    from temporec.store.events import open_event_log

    with open_event_log(home_of(copy) / "events.db") as log:
        return [record.id for record in log.read_all(topics={"events"})]


def home_of(copy: Path) -> Path:
    """The home of the service of a model."""
    return copy.with_name(f"{copy.name}.service")


async def differing(url: str, copy: Path, draw: random.Random) -> int:
    """How many of 50 users are answered otherwise than by the checkpoint and a replay of the whole log."""
    from temporec.recommend.base import Recommender
    from temporec.recommend.live import Live
    from temporec.recommend.live_log import LogEvent
    from temporec.store.events import open_event_log

    live = Live(Recommender.load(home_of(copy) / "versions" / "v1"))
    with open_event_log(home_of(copy) / "events.db") as log:
        records = list(log.read_all(topics={"events"}))
    live.take([LogEvent(r.body["user"], r.body["item"], r.body["time"], r.offset) for r in records])
    users = sorted({str(record.body["user"]) for record in records})
    connection, differ = s.Connection(url), 0
    for user in draw.sample(users, min(50, len(users))):
        _, said = await connection.ask("GET", f"/v1/users/{user}/recommendations?k=20")
        served = [(row["item"], round(row["score"], 2)) for row in json.loads(said)["items"]]
        own = [(row.item, round(row.score, 2)) for row in live.recommend(user=user, k=20)]
        if served != own:
            differ += max(abs(a[1] - b[1]) for a, b in zip(served, own, strict=True)) > 0.011
    return differ


def on_a_full_disk(args: Any, folder: Path, known: tuple[list[str], list[str]]) -> dict[str, Any]:
    """The log stands on a tmpfs of 16 MB that other data fills while events come."""
    from temporec.store.events import open_event_log

    acknowledged, refused, lost = list[str](), list[str](), 0
    with s.fresh(folder) as copy, small_disk() as place:
        for number in range(args.full):
            server = s.Server(copy, "--set", "rate=0", "--log", str(place / "events.db"))
            acknowledged += s.run(load(server, known, f"f{number}a", 0.3, None))[0]
            fill(place / "filler")
            got, said = s.run(load(server, known, f"f{number}b", 1.0, signal.SIGKILL))
            acknowledged, refused = acknowledged + got, refused + said
            server.process.wait()
            (place / "filler").unlink()
            with open_event_log(place / "events.db") as events:
                stored = {record.id for record in events.read_all(topics={"events"})}
            lost += len(set(acknowledged) - stored)
            c.note(f"full disk {number + 1}: {len(acknowledged)} acknowledged, {len(refused)} refused, {lost} lost")
    counts = {"rounds": args.full, "acknowledged": len(acknowledged), "refused": len(refused), "lost": lost}
    return {**counts, "said": refused[:1]}


@contextmanager
def small_disk() -> Iterator[Path]:
    """A tmpfs, which can be full without harm."""
    place = Path(tempfile.mkdtemp())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


def fill(path: Path) -> None:
    """Write until nothing more fits."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def traced(args: Any, folder: Path, known: tuple[list[str], list[str]]) -> dict[str, Any]:
    """System calls of single events: between a request that is read and the 200 that is written stands a sync."""
    with s.fresh(folder) as copy:
        server = s.Server(copy, "--set", "rate=0", "--set", "log_requests=false", "--set", "warm_later=0")
        out = copy.with_name("trace")
        wanted = "trace=fsync,fdatasync,write,writev,sendto,sendmsg,read,recvfrom,recvmsg"
        tracer = subprocess.Popen(
            ["strace", "-f", "-q", "-s", "64", "-e", wanted, "-o", str(out), "-p", str(server.process.pid)],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(1.0)
        acknowledged = s.run(singles(server.url, known, args.traced))
        tracer.terminate()
        tracer.wait()
        server.stop()
        lines = out.read_text(errors="replace").splitlines()
    syncs, answers, early, waiting = 0, 0, 0, False
    for line in lines:
        if "POST /v1/events" in line:
            waiting, syncs_before = True, syncs
        elif SYNC.search(line) or ("resumed" in line and "sync" in line and line.endswith("= 0")):
            syncs += 1
        elif waiting and "HTTP/1.1 200" in line:
            answers += 1
            early += syncs == syncs_before
            waiting = False
    return {"acknowledged": acknowledged, "answers": answers, "syncs": syncs, "too_early": early}


async def singles(url: str, known: tuple[list[str], list[str]], count: int) -> int:
    """Events one after the other."""
    draw, connection = random.Random(4), s.Connection(url)
    for _ in range(count):
        event = {"user": draw.choice(known[0]), "item": draw.choice(known[1])}
        status, said = await connection.ask("POST", "/v1/events", json.dumps(event).encode())
        assert status == 200, said
    return count


if __name__ == "__main__":
    main()
