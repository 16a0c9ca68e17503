"""Devices under test: what is between the ports of a virtual network analyser."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labctl_simulators.loopback.microwave_cavity import SimulatedCavity
from labctl_simulators.physics.enclosure import LIGHT_SPEED_M_PER_S, THICKEST_WIRE, Complex, Real, joined
from labctl_simulators.physics.metasurface import first_mode_hz

INSIDE = 1e-6
"""How far, as a fraction, the limits of a model are kept away from."""


class Dut(Protocol):
    """A device with ports. What state it is in is its own affair."""

    @property
    def n_ports(self) -> int:
        """Number of ports."""
        ...

    def s_parameters(self, frequencies_hz: Real) -> Complex:
        """Return the S-matrix (n_frequencies, n_ports, n_ports) in the present state."""
        ...


@dataclass(frozen=True)
class Resonator:
    """One resonance between two or more ports.

    S_ij = -δ_ij + 2 / (√(Q_i Q_j) D) with D = 1/Q_0 + Σ 1/Q_i + 2i (f/f_0 - 1) (H. A. Haus, *Waves and Fields in
    Optoelectronics*, chapter 7).
    """

    resonance_hz: float = 3.3e9
    own_quality: float = 500.0
    port_qualities: tuple[float, ...] = (300.0, 600.0)

    @property
    def n_ports(self) -> int:
        """Number of ports."""
        return len(self.port_qualities)

    def s_parameters(self, frequencies_hz: Real) -> Complex:
        """Return the S-matrix (n_frequencies, n_ports, n_ports)."""
        losses = 1.0 / self.own_quality + sum(1.0 / quality for quality in self.port_qualities)
        denominator = losses + 2j * (frequencies_hz / self.resonance_hz - 1.0)
        coupling = np.array([1.0 / math.sqrt(quality) for quality in self.port_qualities])
        return 2.0 * np.outer(coupling, coupling) / denominator[:, None, None] - np.eye(self.n_ports)


class PatternedCavity:
    """A box with a metasurface whose pattern is set from outside, as by its controller. All elements start at 0."""

    def __init__(self, cavity: SimulatedCavity) -> None:
        """Raise `ValueError` for elements without levels."""
        levels = cavity.elements.levels
        if levels == "continuous":
            raise ValueError("a pattern needs elements with levels, not continuous ones")
        self.levels = levels
        self._cavity = cavity
        self._states = np.zeros(cavity.elements.count)

    @property
    def n_ports(self) -> int:
        """Number of antennas."""
        return self._cavity.n_antennas

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        return len(self._states)

    @property
    def frequency_hz(self) -> tuple[float, float]:
        """Lowest and highest frequency at which the model of the box holds: an analyser on it goes no further."""
        layout = self._cavity.layout
        wires = joined(layout.antennas, layout.elements, layout.posts)
        thickest_m = float(wires.radius_m.max())
        highest_hz = min(layout.plates.cutoff_hz, THICKEST_WIRE * LIGHT_SPEED_M_PER_S / (2.0 * math.pi * thickest_m))
        return first_mode_hz(layout.size_m) * (1.0 + INSIDE), highest_hz * (1.0 - INSIDE)

    def show(self, pattern: NDArray[np.uint8]) -> None:
        """Set the level of every element (n_elements,). Raises `ValueError` for a pattern that does not fit."""
        if pattern.shape != self._states.shape or pattern.max(initial=0) >= self.levels:
            raise ValueError(f"a pattern is {self.n_elements} levels below {self.levels}")
        self._states = pattern.astype(np.float64) / (self.levels - 1)

    def s_parameters(self, frequencies_hz: Real) -> Complex:
        """Return the S-matrix (n_frequencies, n_ports, n_ports) under the present pattern."""
        return self._cavity.solved(frequencies_hz).scattering(self._states)
