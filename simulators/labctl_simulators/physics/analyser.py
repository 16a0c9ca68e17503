"""What a network analyser makes of S-parameters: noise; and the way back from the number that is read."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from labctl.contract.readout import Readout
from labctl_simulators.physics.enclosure import Complex, Real

FLOOR_BANDWIDTH_HZ = 10.0
TRACE_BANDWIDTH_HZ = 70_000.0
"""Intermediate-frequency bandwidths at which data sheets state a noise floor and a trace noise."""


@dataclass(frozen=True)
class AnalyserNoise:
    """Noise as data sheets state it: rms of |S| without signal, and rms fluctuation of a large |S|.

    Both grow with the root of the bandwidth: `floor_db` is stated at 10 Hz, `trace_db` at 70 kHz.
    """

    floor_db: float
    trace_db: float
    bandwidth_hz: float

    @property
    def additive(self) -> float:
        """Standard deviation of either quadrature, whatever the signal."""
        return 10.0 ** (self.floor_db / 20.0) * math.sqrt(0.5 * self.bandwidth_hz / FLOOR_BANDWIDTH_HZ)

    @property
    def relative(self) -> float:
        """Standard deviation of either quadrature over the signal's amplitude."""
        return math.expm1(self.trace_db * math.log(10.0) / 20.0) * math.sqrt(self.bandwidth_hz / TRACE_BANDWIDTH_HZ)

    def on(self, signal: Complex, rng: np.random.Generator) -> Complex:
        """Return `signal` with noise that is independent in every value and quadrature."""
        quadratures = rng.standard_normal((2, *signal.shape, 2)).view(np.complex128)[..., 0]
        return signal * (1.0 + self.relative * quadratures[0]) + self.additive * quadratures[1]


Pull = Callable[[Complex, Real], Complex]
"""`pull(signal, upstream)` returns p, of the signal's shape, such that a small dS changes Σ upstream · response by
Re Σ p dS.
"""


def _pull_parts(signal: Complex, upstream: Real) -> Complex:
    parts = upstream.reshape(*signal.shape, 2)
    return parts[..., 0] - 1j * parts[..., 1]


PULLS: Mapping[Readout, Pull] = {
    "amplitude": lambda signal, upstream: upstream.reshape(signal.shape) * signal.conj() / np.abs(signal),
    "power": lambda signal, upstream: 2.0 * upstream.reshape(signal.shape) * signal.conj(),
    "decibel": lambda signal, upstream: 20.0 / math.log(10.0) * upstream.reshape(signal.shape) / signal,
    "complex": _pull_parts,
}
"""How a gradient finds its way back through each of `labctl.contract.readout.READINGS`."""
