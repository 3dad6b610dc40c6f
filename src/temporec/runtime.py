"""How to run: seed, device, precision, threads. Nothing here changes *what* is built."""

import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt
from threadpoolctl import threadpool_limits

from temporec.config import Config

__all__ = [
    "RunOptions", "applied_options", "choose_precision", "generator", "keeping_memory", "matmul_gflops", "random_state",
    "set_threads",
]  # fmt: skip

Precision = Literal["auto", "fp32", "bf16"]


class RunOptions(Config):
    """Options of a run. Device "auto" takes a GPU where there is one; precision "auto" measures before it chooses."""

    seed: NonNegativeInt = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = "auto"
    threads: PositiveInt | None = None
    deterministic: bool = True
    progress: bool = False  # show a progress bar on standard error

    def resolve_device(self) -> torch.device:
        """The torch device that `device` means on this machine."""
        if self.device != "auto":
            return torch.device(self.device)
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def resolve_precision(self) -> Literal["fp32", "bf16"]:
        """bf16 only where it is measured to be faster; fp32 elsewhere."""
        if self.precision == "auto":
            return choose_precision(self.resolve_device())
        return self.precision

    def apply(self) -> None:
        """Set threads, determinism, attention kernels, device and precision of text encoders, for this process."""
        _applied[:] = [self]
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans every new shape anew: bucketed batches took 2 to 8 times
        if self.threads is not None:
            set_threads(self.threads)
        if self.deterministic:
            torch.use_deterministic_algorithms(True, warn_only=True)
            # Its companion would fill every fresh tensor with NaN first, an eighth of the training time.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


_applied: list[RunOptions] = []  # the last one alone


def applied_options() -> RunOptions:
    """The options that were applied last in this process; the defaults where none were."""
    return _applied[-1] if _applied else RunOptions()


def set_threads(count: int) -> None:
    """CPU threads of torch and of NumPy's BLAS; more of both than cores stand in each other's way."""
    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Within, freed memory stays with the process; afterwards it goes back to the system. No effect outside glibc.

    Otherwise each large temporary is a fresh mapping, and its page faults cost more than the arithmetic in it: an epoch
    of training takes 1.4 times as long.
    """
    glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if glibc is None or not hasattr(glibc, "gnu_get_libc_version"):
        yield
        return
    trim_threshold, top_pad, mmap_threshold, mmap_max = -1, -2, -3, -4  # names of mallopt(3)
    glibc.mallopt(mmap_max, 0)
    glibc.mallopt(trim_threshold, 2**31 - 1)
    glibc.mallopt(top_pad, 2**26)
    try:
        yield
    finally:
        glibc.mallopt(mmap_max, 65_536)
        glibc.mallopt(mmap_threshold, 2**25)  # where glibc's own adjustment, which mallopt ends, would have arrived
        glibc.mallopt(trim_threshold, 2**26)
        glibc.mallopt(top_pad, 0)
        glibc.malloc_trim(0)


def generator(seed: int, *stream: int) -> torch.Generator:
    """A torch generator that is a function of (seed, stream...) only, for instance (seed, epoch, step)."""
    state = np.random.SeedSequence([seed, *stream]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def random_state(seed: int, *stream: int) -> np.random.Generator:
    """The NumPy twin of `generator`."""
    return np.random.default_rng(np.random.SeedSequence([seed, *stream]))


def matmul_gflops(dtype: torch.dtype, device: torch.device, size: int = 512, repeats: int = 3) -> float:
    """Measured speed of a square matrix product in GFLOP/s (best of `repeats`)."""
    left, right = torch.ones(size, size, dtype=dtype, device=device), torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


@cache
def choose_precision(device: torch.device) -> Literal["fp32", "bf16"]:
    """bf16 where a short calibration product runs at least 1.3 times as fast as in fp32, else fp32.

    Measured once per process, and the best of many products counts: a fit must not change with the load of a moment.
    """
    if device.type == "mps":
        return "fp32"
    size = 256 if device.type == "cpu" else 2048
    low, full = (matmul_gflops(dtype, device, size, repeats=30) for dtype in (torch.bfloat16, torch.float32))
    ratio = low / full
    return "bf16" if ratio >= 1.3 else "fp32"
