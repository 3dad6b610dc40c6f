"""What the benchmarks of the service share: a model, a server process, and a client that keeps to a rate.

The client is a process of its own beside the server, over loopback, on plain asyncio streams: a request costs it some
60 microseconds, so that at a few hundred per second it is the service that is measured. Latencies count from the moment
at which a request was due, not from when it could be sent, so a stall of the service shows in all requests that it held
up.
"""

import argparse
import asyncio
import atexit
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import calibration as c

ROOT = Path(__file__).resolve().parents[1]
CODE = "from temporec.cli.main import run; run()"
T = TypeVar("T")
BEAUTY = (198_502, 22_363, 12_101)  # events, users, items


def options(doc: str | None) -> argparse.ArgumentParser:
    """The options that all of them have."""
    parser = c.options(doc)
    data = Path("../shared/data/beauty")
    parser.add_argument("--log", type=Path, default=data / "interactions.parquet", help="else a synthetic log")
    parser.add_argument("--items", type=Path, default=data / "items.parquet")
    parser.add_argument("--model", default="gru")
    parser.add_argument("--dim", type=int, default=0, help="width of the model; 0 = the preset's")
    return parser


def checkpoint(args: Any, encoder: str = "tfidf") -> Path:
    """A model after one epoch (speed does not depend on how well it learned), kept for the next benchmark."""
    source = args.log.stem if args.log.exists() else "synthetic"
    own_encoder = "" if encoder == "tfidf" else f"-{encoder.replace(',', '-')}"
    folder: Path = args.out / f"served-{args.model}-{args.dim}-{source}{own_encoder}"
    if (folder / "manifest.json").exists():
        return folder
    from temporec.data.synthetic import random_log
    from temporec.recommend.fitting import fit_recommender
    from temporec.runtime import RunOptions
    from temporec.workflow import load
    from temporec.workflow.presets import fit_config

    real = args.log.exists()
    loaded = load(args.log, args.items if args.items.exists() else None) if real else load(random_log(*BEAUTY))
    own = {"encoder.dim": args.dim} if args.dim else {}
    c.note("fitting one epoch")
    config = fit_config(args.model, None, {"training.epochs": 1, "text.encoder": encoder, **own})
    fit_recommender(loaded.dataset, config, RunOptions()).recommender.save(folder)
    return folder


def users_and_items(folder: Path) -> tuple[list[str], list[str]]:
    """Ids of a saved model."""
    import polars as pl

    users = pl.read_parquet(folder / "histories.parquet")["user"].unique().sort()
    return [str(u) for u in users.to_list()], [str(i) for i in pl.read_parquet(folder / "catalog.parquet")["item"]]


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """A copy of the model in a temporary folder, so that no service has been there."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(folder, Path(place) / "shop"))


class Server:
    """`temporec serve` on a free port; its log lies beside the model."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.log = folder, folder.with_name("serve.log")
        command = [sys.executable, "-c", CODE, "serve", str(folder), "--port", "0", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        self.began = time.perf_counter()
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        atexit.register(self.process.kill)
        self.url = self._listening()

    def _listening(self) -> str:
        while self.process.poll() is None:
            for line in self.log.read_text(errors="replace").splitlines():
                if '"listening"' in line:
                    return str(json.loads(line)["url"])
            time.sleep(0.005)
        raise SystemExit(f"the service ended: {self.log.read_text()[-2000:]}")

    def stop(self, number: int = 15) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=120)

    def memory_mb(self) -> float:
        """Resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS"))

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Connection:
    """One HTTP/1.1 connection that stays open, until `run` ends."""

    opened: ClassVar[list[asyncio.StreamWriter]] = []

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self._head = f"Host: {self.host}:{self.port}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body. A connection that the service has closed after a pause is opened again."""
        if self._streams is None or self._streams[0].at_eof():
            self._streams = await asyncio.open_connection(self.host, self.port)
            self.opened.append(self._streams[1])
        reader, writer = self._streams
        extra = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        writer.write(f"{method} {path} HTTP/1.1\r\n{self._head}{extra}\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head[9:12]), await reader.readexactly(length)

    def leave(self) -> None:
        """Take a new connection for the next request."""
        self._streams = None


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`; afterwards all connections are closed."""

    async def closing() -> T:
        try:
            return await main
        finally:
            writers, Connection.opened = Connection.opened, []
            for writer in writers:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    return asyncio.run(closing())


async def at_rate(url: str, paths: Sequence[str], rate: float, seconds: float, connections: int = 64) -> dict[str, Any]:
    """Ask `rate` times per second, whatever the service does: latencies in ms from the due moment, and errors."""
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for _ in range(connections):
        free.put_nowait(Connection(url))
    latencies: list[float] = []
    errors: list[str] = []
    draw, loop = random.Random(1), asyncio.get_running_loop()
    began = loop.time()

    async def one(due: float) -> None:
        connection = await free.get()
        try:
            status, body = await connection.ask("GET", draw.choice(paths))
            if status != 200:
                errors.append(f"{status} {body[:200]!r}")
        except (OSError, asyncio.IncompleteReadError) as error:
            errors.append(repr(error))
            connection.leave()
        latencies.append(1000 * (loop.time() - due))
        free.put_nowait(connection)

    tasks = set()
    for n in range(int(rate * seconds)):
        due = began + n / rate
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        task = loop.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return {**percentiles(latencies), "requests": len(latencies), "errors": len(errors), "first_errors": errors[:3]}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Of latencies."""
    ordered = sorted(values)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in shares.items()}


def saturated(url: str, paths: Sequence[str], seconds: float, connections: int) -> dict[str, Any]:
    """As many requests as the service answers, by wrk, or by this process where there is no wrk."""
    if shutil.which("wrk") is None:
        return {"client": "asyncio", **run(_flood(url, paths, seconds, connections))}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        listed = ",".join(json.dumps(path) for path in random.Random(2).sample(list(paths), min(2_000, len(paths))))
        script.write(
            f"local paths = {{{listed}}}\nlocal n = 0\n"
            "request = function() n = n % #paths + 1; return wrk.format('GET', paths[n]) end\n"
            "done = function(s, l, r) io.write(string.format("
            "'RESULT %d %d %d %f %f\\n', s.requests, s.errors.status, "
            "s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout, s.duration, l:percentile(99))) end\n"
        )
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", script.name, url]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("RESULT")).split()
    requests, status, broken, micro, p99 = (float(word) for word in line[1:])
    return {
        "client": "wrk", "requests_per_second": requests / micro * 1e6, "errors": status + broken, "p99": p99 / 1000,
        "connections": connections,
    }  # fmt: skip


async def _flood(url: str, paths: Sequence[str], seconds: float, connections: int) -> dict[str, Any]:
    until = time.monotonic() + seconds
    latencies: list[float] = []
    errors = 0

    async def one(seed: int) -> None:
        nonlocal errors
        draw, connection = random.Random(seed), Connection(url)
        while (now := time.monotonic()) < until:
            status, _ = await connection.ask("GET", draw.choice(paths))
            latencies.append(1000 * (time.monotonic() - now))
            errors += status != 200

    await asyncio.gather(*(one(seed) for seed in range(connections)))
    found = percentiles(latencies)
    rate = len(latencies) / seconds
    return {"requests_per_second": rate, "errors": errors, "p99": found["p99"], "connections": connections}
