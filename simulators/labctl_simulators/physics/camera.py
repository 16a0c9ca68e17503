"""A camera: from expected signals in counts to digital values.

The noise model is that of EMVA Standard 1288 (release 3.1, chapter 2): shot noise whose variance in electrons is their
number, read noise, and quantisation. Shot noise is drawn from its Gaussian limit, whose mean and variance are exact;
what differs, the skewness at a few electrons, is hidden by read noise.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Camera:
    """A pixel array in which every output is one pixel on one speckle grain.

    Signals are counts above `dark_level`; full scale is 2^`bits` - 1. `mean_counts` is the signal that the exposure
    gives a typical frame. `noise` is the rms of an additional noise that is the same in every pixel, as a share of
    `mean_counts`. `electrons_per_count` turns shot noise on and scales `read_noise_electrons`; None means neither.
    """

    bits: int
    dark_level: int
    mean_counts: float
    noise: float
    electrons_per_count: float | None
    read_noise_electrons: float

    @property
    def full_scale(self) -> int:
        """The largest value."""
        return full_scale(self.bits)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values: `uint8` up to 8 bits, else `uint16`."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)

    def rms_noise(self, signal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the standard deviation in counts, before quantisation, of each signal; () where all are alike."""
        variance = (self.noise * self.mean_counts) ** 2
        if self.electrons_per_count is None:
            return np.sqrt(np.array(variance, np.float32))
        variance += (self.read_noise_electrons / self.electrons_per_count) ** 2
        return np.sqrt(signal * np.float32(1.0 / self.electrons_per_count) + np.float32(variance))

    def expose(
        self, signal: NDArray[np.float32], normal: NDArray[np.float32]
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the values (..., n) of frames with `signal` (..., n), and the share of saturated pixels (...) of each.

        `normal` (..., n), of zero mean and unit variance, becomes the noise; it is overwritten.
        """
        level = normal
        level *= self.rms_noise(signal)
        level += signal
        level += np.float32(self.dark_level)
        np.rint(level, out=level)
        np.maximum(level, 0.0, out=level)
        np.minimum(level, self.full_scale, out=level)
        return level.astype(self.dtype), np.count_nonzero(level == self.full_scale, axis=-1) / level.shape[-1]


def full_scale(bits: int) -> int:
    """Return the largest value of `bits` bits."""
    return 2**bits - 1


def electrons_per_count(bits: int, dark_level: int, full_well_electrons: float, gain: float) -> float:
    """Return electrons per count: at `gain` 1 a full well is full scale, at 2 half a well is."""
    return full_well_electrons / (gain * (full_scale(bits) - dark_level))


def saturated_share(mean_share: float) -> float:
    """Return the share of fully developed speckle beyond full scale, exp(-1 / mean_share) (Goodman, section 3.2)."""
    return math.exp(-1.0 / mean_share)
