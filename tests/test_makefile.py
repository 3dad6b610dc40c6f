"""`make bench` runs every benchmark, goes on after one that fails, and then fails."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench(tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """`make bench` with a Python that runs nothing, and fails for data_speed and kills."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\ncase "$1" in *data_speed*|*/kills*) exit 1;; esac\n')
    python.chmod(0o755)
    command = ["make", "--no-print-directory", "--old-file", str(tmp_path / ".dev"), f"VENV={tmp_path}", "bench"]
    (tmp_path / ".dev").touch()
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_bench(bench: subprocess.CompletedProcess[str]) -> None:
    ran = re.findall(r"^== benchmarks/(\w+)\.py$", bench.stdout, re.MULTILINE)
    files = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py")}
    assert sorted(ran) == sorted(name for name, text in files.items() if 'if __name__ == "__main__"' in text)
    assert (ran[0], ran[-1]) == ("calibration", "cold_items")
    assert bench.stdout.splitlines()[-1] == "failed: data_speed kills"
    assert bench.returncode != 0
