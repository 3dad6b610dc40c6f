"""What every test shares: one thread, no deadlines, and the data sets that the repository may not ship."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)

# Deadlines measure the load of the machine. In CI the same commit draws the same examples.
hypothesis.settings.register_profile("temporec", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("temporec")


def shared_folder() -> Path:
    """The folder that holds `data/`: TEMPOREC_SHARED where it is set, else `shared` beside or inside the repository."""
    if override := os.environ.get("TEMPOREC_SHARED"):
        return Path(override)
    inside = ROOT / "shared"
    return inside if inside.is_dir() else ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("ml-100k")` is the path of that data set; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = shared_folder() / "data" / name
        if not path.exists():
            pytest.skip(f"data set {name!r} is not here; set TEMPOREC_SHARED to a folder that holds data/{name}")
        return path

    return find


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """The address of `llm/endpoint.py`, running: a language model's endpoint with bad habits."""
    process = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "llm" / "endpoint.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 700 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root on Linux can mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)
