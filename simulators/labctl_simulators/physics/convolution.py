"""Streaming convolution of many inputs with a matrix of finite impulse responses.

Blocks of any length give the same output. Where no non-zero input sample can reach an output sample, the output is
exactly zero, not the rounding noise of a transform: what ended longer ago than the responses last leaves no trace.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Ringing:
    """What earlier blocks still have to deliver: the next (n_outputs, n_taps - 1) samples if nothing more is played."""

    pending: Real


class ResponseMatrix:
    """Impulse responses (n_taps, n_inputs, n_outputs), with their spectra for the last length of transform used."""

    def __init__(self, responses: Real) -> None:
        self.n_taps, self.n_inputs, self.n_outputs = responses.shape
        self._responses = np.ascontiguousarray(responses.transpose(1, 2, 0))
        self._n_transform = 0
        self._spectra: Complex = np.empty((self.n_inputs, self.n_outputs, 0), dtype=np.complex128)

    def silence(self) -> Ringing:
        """Return the state in which nothing has been played."""
        return Ringing(np.zeros((self.n_outputs, self.n_taps - 1)))

    def stream(self, state: Ringing, samples: NDArray[np.floating]) -> tuple[Ringing, Real]:
        """Return the next state and outputs (n_samples, n_outputs) for inputs (n_samples, n_inputs)."""
        n_samples = len(samples)
        channels = np.ascontiguousarray(samples.T, dtype=np.float64)
        total = np.zeros((self.n_outputs, n_samples + self.n_taps - 1))
        total[:, : self.n_taps - 1] = state.pending
        played = np.flatnonzero(channels.any(axis=0))
        if played.size:
            first, end = int(played[0]), int(played[-1]) + 1
            total[:, first : end + self.n_taps - 1] += self._convolve(channels[:, first:end])
        return Ringing(total[:, n_samples:]), total[:, :n_samples].T

    def _convolve(self, channels: Real) -> Real:
        """Return the full convolution (n_outputs, n_samples + n_taps - 1) of (n_inputs, n_samples)."""
        n_full = channels.shape[1] + self.n_taps - 1
        self._prepare(_fast_length(n_full))
        spectrum = np.fft.rfft(channels, self._n_transform)
        mixed = self._spectra[0] * spectrum[0]
        for response, source in zip(self._spectra[1:], spectrum[1:], strict=True):
            mixed += response * source
        return np.fft.irfft(mixed, self._n_transform)[:, :n_full]

    def _prepare(self, n_transform: int) -> None:
        if n_transform != self._n_transform:
            self._spectra = np.fft.rfft(self._responses, n_transform)
            self._n_transform = n_transform


@cache
def _fast_length(n_least: int) -> int:
    """Return the smallest product of powers of 2, 3 and 5 that is even and not below `n_least`."""
    powers = ((2 * 2**a, 3**b * 5**c) for a in range(32) for b in range(4) for c in range(4))
    return min(two * rest for two, rest in powers if two * rest >= n_least)
