"""A small log, a shop fitted on it by the command line, and two ways to run a command: a process, or in this one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from temporec.cli.main import app

CODE = "from temporec.cli.main import run; run()"


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options that make a fit take a second or two."""
    return ["--set", "training.epochs=1", "--set", "encoder.dim=8", "--threads", "1"]


@pytest.fixture(scope="session")
def temporec() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`temporec("fit", ...)` is a real process that has ended."""

    def run(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CODE, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)

    return run


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """`refused("fit", ...)` runs a command in this process and gives its one sentence; anything else fails."""

    def run(*words: str | Path) -> str:
        done: Result = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 2, done.output
        assert isinstance(done.exception, SystemExit), done.exception
        assert done.stdout == ""
        assert done.stderr.startswith("temporec: ")
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 700
        return done.stderr.removeprefix("temporec: ").strip()

    return run


@pytest.fixture(scope="session")
def answered() -> Callable[..., str]:
    """`answered("fit", ...)` runs a command in this process, which must succeed, and gives what it prints."""

    def run(*words: str | Path) -> str:
        done: Result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


@pytest.fixture(scope="session")
def events() -> pl.DataFrame:
    """80 users with 8 events each on 30 items, times in seconds."""
    rows = [(f"u{u}", f"i{(u + 3 * t) % 30}", 1_600_000_000 + u * 50 + t * 86_400) for u in range(80) for t in range(8)]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


@pytest.fixture(scope="session")
def log(events: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.csv"
    events.write_csv(path)
    return path


@pytest.fixture(scope="session")
def shop(log: Path, temporec: Callable[..., subprocess.CompletedProcess[str]], small: list[str]) -> Path:
    out = log.parent / "shop"
    done = temporec("fit", log, "--model", "gru", "--out", out, "--protocol", "leave-last-out", *small)
    assert done.returncode == 0, done.stderr
    assert "No leak" in done.stdout
    return out
