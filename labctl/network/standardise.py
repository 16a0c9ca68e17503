"""Standardisation of response channels, by statistics of the first frames or by some that follow."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labctl.contract.layer import ResponseValues
from labctl.network.label import Vectors

FOLLOWED = 0.05
"""Part of the way to a batch's mean and variance that running statistics go: batches differ by chance, too."""


@dataclass(frozen=True)
class Standardiser:
    """Maps each response channel to zero mean and a spread of `scale`: (s - mean) * gain, both (n_outputs,)."""

    mean: Vectors
    gain: Vectors
    scale: float = 1.0

    @classmethod
    def neutral(cls, n_outputs: int, dtype: np.dtype[np.floating], scale: float = 1.0) -> "Standardiser":
        """Return the standardiser that only multiplies by `scale`."""
        return cls(np.zeros(n_outputs, dtype), np.full(n_outputs, scale, dtype), scale)

    def fitted(self, responses: ResponseValues) -> "Standardiser":
        """Fit to `responses` (n, n_outputs); a channel that never changes gets gain 0, so it says nothing."""
        values = responses.astype(np.float64)
        spread = values.std(axis=0)
        gain = np.divide(self.scale, spread, out=np.zeros_like(spread), where=spread > 0)
        return Standardiser(values.mean(axis=0).astype(self.mean.dtype), gain.astype(self.mean.dtype), self.scale)

    def followed(self, responses: ResponseValues) -> "Standardiser":
        """Return one gone `FOLLOWED` of the way to mean and variance of `responses` (..., n_outputs).

        A channel that says nothing is left as it is, now or from the beginning: were a dead one followed, its gain
        would grow without end.
        """
        values = responses.reshape(-1, len(self.mean)).astype(np.float64)
        gain = self.gain.astype(np.float64)
        says = (gain > 0) & (np.ptp(values, axis=0) > 0)
        variance = np.divide(self.scale, gain, out=np.zeros_like(gain), where=says) ** 2
        variance += FOLLOWED * (((values - self.mean) ** 2).mean(axis=0) - variance)
        np.divide(self.scale, np.sqrt(variance), out=gain, where=says)
        mean = np.where(says, values.mean(axis=0), self.mean)
        return replace(self.moved_towards(mean, FOLLOWED), gain=gain.astype(self.gain.dtype))

    def moved_towards(self, mean: NDArray[np.floating], part: float) -> "Standardiser":
        """Return one whose mean has gone a `part` (0 to 1) of the way to `mean` (n_outputs,)."""
        return replace(self, mean=(self.mean + part * (mean - self.mean)).astype(self.mean.dtype))

    def apply(self, responses: ResponseValues) -> Vectors:
        """Return standardised `responses` (n, n_outputs) in the network's precision."""
        return (responses.astype(self.mean.dtype) - self.mean) * self.gain
