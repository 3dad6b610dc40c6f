"""No acknowledged record is lost, none is doubled, none is stored in part: whatever is killed, torn or full."""

import importlib.util
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from temporec.errors import StoreError
from temporec.store.events import EventLog, open_event_log
from temporec.store.records import Record

WRITER = Path(__file__).with_name("writer.py")
THREADS = 3


def load_writer() -> Any:
    spec = importlib.util.spec_from_file_location("writer", WRITER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


batch: Callable[[int, int], list[Record]] = load_writer().batch


class Writer:
    """A running `writer.py` that is killed in the end, and what it said was acknowledged."""

    def __init__(self, url: str | Path, folder: Path, first: list[int], threads: int = THREADS) -> None:
        self._out = folder / "acknowledged"
        with self._out.open("wb") as out, (folder / "errors").open("wb") as errors:
            words = [sys.executable, str(WRITER), str(url), str(threads), *map(str, first)]
            self.process = subprocess.Popen(words, stdout=out, stderr=errors)

    def wait_for(self, word: str, times: int = 1) -> None:
        """Until it said something so often."""
        end = time.monotonic() + 60
        while self._out.read_text().count(word) < times:
            assert time.monotonic() < end, f"no {word!r} within a minute"
            assert self.process.poll() is None, "the writer ended by itself"
            time.sleep(0.005)

    def acknowledged(self) -> list[tuple[int, int]]:
        whole = self._out.read_text().rpartition("\n")[0]
        return [(int(thread), int(number)) for thread, number in re.findall(r"ack (\d+) (\d+)", whole)]

    def kill(self) -> list[tuple[int, int]]:
        self.process.kill()
        self.process.wait()
        return self.acknowledged()


@contextmanager
def writing(url: str | Path, folder: Path, first: list[int], threads: int = THREADS) -> Iterator[Writer]:
    writer = Writer(url, folder, first, threads)
    try:
        yield writer
    finally:
        writer.kill()


def check(log: EventLog, acknowledged: list[tuple[int, int]]) -> None:
    """Each thread's batches up to the last acknowledged one, at most one more, each whole, once, and in order."""
    records = list(log.read_all())
    assert max(Counter(record.id for record in records).values()) == 1
    for thread in range(THREADS):
        mine = [record for record in records if record.id.startswith(f"{thread}-")]
        last = max((number for who, number in acknowledged if who == thread), default=-1)
        numbers = sorted({int(record.id.split("-")[1]) for record in mine})
        assert len(numbers) in (last + 1, last + 2)
        expected = [record for number in range(len(numbers)) for record in batch(thread, number)]
        assert [(record.id, record.body) for record in mine] == [(record.id, record.body) for record in expected]


def kill_writers(url: str | Path, folder: Path, rounds: int, seed: int) -> int:
    """Kill, check, and go on from the last acknowledged batch, which is so sent twice; acknowledged batches."""
    draw, acknowledged = random.Random(seed), [(thread, -1) for thread in range(THREADS)]
    for _ in range(rounds):
        first = [max(0, *(number for who, number in acknowledged if who == thread)) for thread in range(THREADS)]
        with writing(url, folder, first) as writer:
            writer.wait_for("ack")
            time.sleep(draw.uniform(0.0, 0.4))
            acknowledged += writer.kill()
        with open_event_log(url) as log:
            check(log, acknowledged)
    return len(acknowledged) - THREADS


def test_a_killed_writer(url: str | Path, tmp_path: Path) -> None:
    assert kill_writers(url, tmp_path, rounds=2, seed=0) >= 2


@pytest.mark.slow
def test_thirty_killed_writers(url: str | Path, tmp_path: Path) -> None:
    assert kill_writers(url, tmp_path, rounds=30, seed=1) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("which", ["redis", "postgresql"])
def test_a_killed_server(request: pytest.FixtureRequest, tmp_path: Path, which: str) -> None:
    """The writer sends again what failed, and goes on when the server is back."""
    server = request.getfixturevalue("start_redis")() if which == "redis" else request.getfixturevalue("postgres")
    stop = server.kill if which == "redis" else server.stop
    with writing(server.url, tmp_path, [0] * THREADS) as writer:
        for round_ in range(1, 4):
            writer.wait_for("ack", 20 * round_)
            stop()
            writer.wait_for("failed", round_)
            server.start()
        writer.wait_for("ack", len(writer.acknowledged()) + 20)
        acknowledged = writer.kill()
    with open_event_log(server.url) as log:
        check(log, acknowledged)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """The files of a log whose process died after 12 batches, and the size of the WAL after each."""
    folder = tmp_path_factory.mktemp("written")
    sizes = []
    with open_event_log(folder / "events.db") as log:
        wal = folder / "events.db-wal"
        for number in range(12):
            log.append(batch(0, number))
            sizes.append(wal.stat().st_size)
        for path in (folder / "events.db", wal):
            shutil.copy(path, folder / f"{path.name}.then")
    return folder, sizes


@pytest.mark.parametrize("garbled", [False, True])
def test_a_torn_last_write(written: tuple[Path, list[int]], tmp_path: Path, garbled: bool) -> None:
    """Cut off or overwritten from any byte on: all batches before it are there, the torn one is not at all."""
    folder, sizes = written
    draw = random.Random(int(garbled))
    whole = (folder / "events.db-wal.then").read_bytes()
    cuts = [*sizes, *(size - 1 for size in sizes), *(draw.randrange(len(whole)) for _ in range(20))]
    for place, cut in enumerate(cuts):
        path = tmp_path / f"{place}.db"
        shutil.copy(folder / "events.db.then", path)
        rest = bytes(byte ^ draw.randint(1, 255) for byte in whole[cut:]) if garbled else b""  # no byte as it was
        path.with_name(f"{place}.db-wal").write_bytes(whole[:cut] + rest)
        kept = sum(size <= cut for size in sizes)
        with open_event_log(path) as log:
            ids = [record.id for number in range(kept) for record in batch(0, number)]
            assert [record.id for record in log.read()] == ids
            log.append(batch(1, 0))
        with open_event_log(path) as log:
            assert [record.id for record in log.read()] == [*ids, "1-0-0", "1-0-1"]


@pytest.mark.parametrize("place", [0, 30, 4096, 3 * 4096 + 10, -4096])
def test_a_damaged_file_is_refused(tmp_path: Path, place: int) -> None:
    path = tmp_path / "events.db"
    with open_event_log(path) as log:
        for number in range(50):
            log.append(batch(0, number))
    data = bytearray(path.read_bytes())
    data[place : place + 200 if place + 200 else None] = bytes([0xA5]) * 200
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"is damaged .* temporec events restore"):
        open_event_log(path)


def test_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "events.db"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(150_000))
    acknowledged = []
    with open_event_log(path) as log:

        def fill() -> None:
            for number in range(10_000):
                log.append(batch(0, number))
                acknowledged.append((0, number))

        with pytest.raises(StoreError, match=r"full|disk I/O error") as caught:
            fill()
        assert "nothing was changed, look for free space" in str(caught.value)
        for _ in range(3):
            with pytest.raises(StoreError):
                log.append(batch(0, len(acknowledged)))
            assert log.end() == sum(len(batch(0, number)) for _, number in acknowledged)
        check(log, acknowledged)
        filler.unlink()
        log.append(batch(0, len(acknowledged)))
        acknowledged.append((0, len(acknowledged)))
        check(log, acknowledged)
    with open_event_log(path) as log:
        check(log, acknowledged)


@pytest.mark.slow
def test_killed_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    filler = small_disk / "filler"
    acknowledged = [(0, 0)]
    for size in (400_000, 300_000, 200_000, 100_000, 1):
        filler.write_bytes(bytes(size))
        with writing(small_disk / "events.db", tmp_path, [max(acknowledged)[1]], threads=0) as writer:
            writer.wait_for("failed", 3)
            acknowledged += writer.kill()
        with open_event_log(small_disk / "events.db") as log:
            check(log, acknowledged)


def traced(lines: str, file: str, answer: str) -> int:
    """How many answers went out, each after a sync of all that was written to a file before it."""
    answers, dirty, synced = 0, False, False
    for line in lines.splitlines():
        if re.search(rf"\b(write|pwrite64|writev)\(\d+<[^>]*{file}[^>]*>", line):
            dirty = True
        elif re.search(rf"\b(fsync|fdatasync)\(\d+<[^>]*{file}[^>]*>\) += 0", line):
            dirty, synced = False, True
        elif re.search(rf"\bwritev?\(\d+<[^>]*>, (\[\{{iov_base=)?{answer}", line):
            assert synced, f"an answer before a sync: {line}"
            assert not dirty, f"an answer before the sync of what it acknowledges: {line}"
            answers, synced = answers + 1, False
    return answers


@pytest.fixture
def trace(tmp_path: Path) -> list[str]:
    """The words that run a program under strace; what it writes and syncs stands in `trace` in the test's folder."""
    words = ["strace", "-f", "-y", "-s", "16", "-e", "trace=write,pwrite64,writev,fsync,fdatasync"]
    words += ["-o", str(tmp_path / "trace")]
    if shutil.which("strace") is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("strace is not installed here, or may not trace")
    return words


def test_the_disk_is_waited_for_before_each_answer(trace: list[str], tmp_path: Path) -> None:
    words = [*trace, sys.executable, str(WRITER), str(tmp_path / "events.db"), "0", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(30):
            assert process.stdout.readline().startswith("ack 0")
        subprocess.run(["kill", "-9", str(child_of(process.pid))], check=True)
    assert traced((tmp_path / "trace").read_text(), "events.db-wal", '"ack') >= 30


def test_redis_waits_for_its_disk_before_each_answer(
    trace: list[str], tmp_path: Path, start_redis: Callable[..., Any]
) -> None:
    server = start_redis(before=trace)
    with open_event_log(server.url) as log:
        for number in range(30):
            log.append(batch(0, number))
    subprocess.run(["kill", "-9", str(child_of(server.process.pid))], check=True)
    server.process.wait()
    assert traced((tmp_path / "trace").read_text(), "appendonly.aof.1.incr.aof", r'"\*1\\r\\n\*') >= 30


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
