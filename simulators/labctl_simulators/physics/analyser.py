"""What a network analyser makes of S-parameters: noise, and the number that is read."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from labctl_simulators.physics.enclosure import Complex, Real

Readout = Literal["amplitude", "complex", "power", "decibel"]

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


@dataclass(frozen=True)
class Reading:
    """How S (any shape) becomes responses (n_outputs,), and how a gradient finds its way back.

    `pull(signal, upstream)` returns p, of the signal's shape, such that a small dS changes Σ upstream · response by
    Re Σ p dS. `unit` and `low` describe a response.
    """

    unit: str
    low: float
    read: Callable[[Complex], Real]
    pull: Callable[[Complex, Real], Complex]


def _parts(signal: Complex) -> Real:
    return np.stack([signal.real, signal.imag], axis=-1).reshape(-1)


def _pull_parts(signal: Complex, upstream: Real) -> Complex:
    parts = upstream.reshape(*signal.shape, 2)
    return parts[..., 0] - 1j * parts[..., 1]


READINGS: Mapping[Readout, Reading] = {
    "amplitude": Reading(
        "1",
        0.0,
        lambda signal: np.abs(signal).reshape(-1),
        lambda signal, upstream: upstream.reshape(signal.shape) * signal.conj() / np.abs(signal),
    ),
    "power": Reading(
        "1",
        0.0,
        lambda signal: np.square(np.abs(signal)).reshape(-1),
        lambda signal, upstream: 2.0 * upstream.reshape(signal.shape) * signal.conj(),
    ),
    "decibel": Reading(
        "dB",
        -math.inf,
        lambda signal: 20.0 * np.log10(np.abs(signal)).reshape(-1),
        lambda signal, upstream: 20.0 / math.log(10.0) * upstream.reshape(signal.shape) / signal,
    ),
    "complex": Reading("1", -math.inf, _parts, _pull_parts),
}
"""Readings by name; `complex` gives real and imaginary part of each value, one after the other."""
