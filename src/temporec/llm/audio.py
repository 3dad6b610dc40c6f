"""Sounds as log-mel statistics."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import ShortTimeFFT

from temporec.errors import ReadError

__all__ = ["LogMelEncoder"]


class LogMelEncoder:
    """WAV files to means and standard deviations over time of log-mel energies, float32 [n, 2 bands].

    Windows of 25 ms every 10 ms; triangular bands, equally wide on the mel scale (O'Shaughnessy 1987) from 50 Hz to
    7,600 Hz whatever the sample rate, so that files of different rates compare. A band above half the rate is silent.

    Args:
        bands: number of mel bands.
        seconds: only the beginning of a longer file is read.
    """

    def __init__(self, bands: int = 64, seconds: float = 120.0) -> None:
        self.bands, self.seconds = bands, seconds

    @property
    def identity(self) -> str:
        return f"log-mel-1:bands={self.bands}:seconds={self.seconds:g}"

    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        return np.stack([self._statistics(*_read(path, self.seconds)) for path in paths])

    def _statistics(self, rate: int, sound: np.ndarray) -> np.ndarray:
        window = np.hanning(max(16, round(0.025 * rate)))
        transform = ShortTimeFFT(window, max(1, round(0.01 * rate)), rate, scale_to="magnitude")
        padded = np.pad(sound, (0, max(0, len(window) - len(sound))))
        energies = np.square(np.abs(transform.stft(padded)))  # [frequencies, frames]
        mel = np.log(_filters(transform.f, self.bands) @ energies + 1e-10)
        return np.concatenate([mel.mean(axis=1), mel.std(axis=1)]).astype(np.float32)


def _read(path: Path, seconds: float) -> tuple[int, np.ndarray]:
    """Sample rate, and samples in -1..1, channels averaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks that hold no sound
            rate, samples = wavfile.read(path, mmap=False)
    except Exception as error:  # scipy lets out whatever a broken header leads to
        raise ReadError(f"{path} is not a readable WAV file ({error}); convert it, for instance with ffmpeg") from None
    samples = samples[: int(seconds * rate)]
    if not len(samples):
        raise ReadError(f"{path} holds no sound; leave its path empty")
    if samples.dtype == np.uint8:
        sound = samples.astype(np.float64) / 128 - 1
    elif np.issubdtype(samples.dtype, np.integer):
        sound = samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    else:
        sound = np.nan_to_num(samples.astype(np.float64))
    return rate, sound if sound.ndim == 1 else sound.mean(axis=1)


def _filters(frequencies: np.ndarray, bands: int, low: float = 50.0, high: float = 7600.0) -> np.ndarray:
    """Triangular filters [bands, frequencies]; each has the sum 1 where it meets any frequency."""
    first, last = (2595 * math.log10(1 + hertz / 700) for hertz in (low, high))
    edges = 700 * (10 ** (np.linspace(first, last, bands + 2) / 2595) - 1)
    left, centre, right = (edges[i : i + bands, None] for i in range(3))
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    filters = np.maximum(0, np.minimum(rising, falling))
    narrow = ~filters.any(axis=1)  # a band between two frequencies of the transform takes the nearer one
    inside = narrow & (edges[1:-1] <= frequencies[-1])
    filters[inside, np.abs(frequencies - centre[inside]).argmin(axis=1)] = 1.0
    return np.asarray(filters / np.maximum(filters.sum(axis=1, keepdims=True), 1e-12))
