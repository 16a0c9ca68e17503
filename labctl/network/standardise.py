"""Standardisation of response channels with statistics frozen from the first frames."""

from dataclasses import dataclass

import numpy as np

from labctl.contract.layer import ResponseValues
from labctl.network.label import Vectors


@dataclass(frozen=True)
class Standardiser:
    """Maps each response channel to zero mean and unit spread: (s - mean) * gain, both (n_outputs,)."""

    mean: Vectors
    gain: Vectors

    @classmethod
    def neutral(cls, n_outputs: int, dtype: np.dtype[np.floating]) -> "Standardiser":
        """Return the standardiser that changes nothing."""
        return cls(np.zeros(n_outputs, dtype), np.ones(n_outputs, dtype))

    @classmethod
    def fitted(cls, responses: ResponseValues, dtype: np.dtype[np.floating]) -> "Standardiser":
        """Fit to `responses` (n, n_outputs); a channel that never changes gets gain 0, so it says nothing."""
        values = responses.astype(np.float64)
        spread = values.std(axis=0)
        gain = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        return cls(values.mean(axis=0).astype(dtype), gain.astype(dtype))

    def apply(self, responses: ResponseValues) -> Vectors:
        """Return standardised `responses` (n, n_outputs) in the network's precision."""
        return (responses.astype(self.mean.dtype) - self.mean) * self.gain
