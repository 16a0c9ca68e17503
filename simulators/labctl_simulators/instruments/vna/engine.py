"""What every virtual analyser has behind its language: ports, a synthesiser, receivers, a trigger and time."""

import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from labctl.contract.clock import sleep_until
from labctl_simulators.instruments.vna.dut import Dut
from labctl_simulators.physics.analyser import AnalyserNoise
from labctl_simulators.physics.enclosure import Complex, Real

Slope = Literal["rising", "falling"]


@dataclass(frozen=True)
class Hardware:
    """What an analyser can do. Above `receiver_limit_dbm` at any receiver its data mean nothing."""

    frequency_hz: tuple[float, float] = (1e5, 20e9)
    power_dbm: tuple[float, float] = (-60.0, 10.0)
    if_bandwidth_hz: tuple[float, float] = (1.0, 1.5e6)
    most_points: int = 20_001
    receiver_limit_dbm: float = 10.0


@dataclass
class Engine:
    """An analyser's settings and its sweeps. Data of a sweep appear when it ends.

    A sweep lasts points / IF bandwidth per driven port, times `time_scale` in real seconds. Noise belongs to
    (`seed`, number of the sweep). Used by the thread of the link; `edge` may come from any other.
    """

    dut: Dut
    hardware: Hardware = Hardware()
    time_scale: float = 0.0
    noise: AnalyserNoise | None = None
    seed: int = 0
    corrected: bool = True
    rf_on: bool = False
    start_hz: float = 1e9
    stop_hz: float = 2e9
    points: int = 201
    segments: list[tuple[float, float, int]] = field(default_factory=list[tuple[float, float, int]])
    sweeps_segments: bool = False
    if_bandwidth_hz: float = 1e4
    power_dbm: float = -20.0
    averages: int = 1
    overloaded: bool = False
    sweeps_made: int = 0

    def __post_init__(self) -> None:
        self._latest: Complex = np.zeros((0, self.dut.n_ports, self.dut.n_ports), dtype=np.complex128)
        self._sweeps = 1
        self._moved = threading.Condition()
        self._armed: Slope | None = None
        self._ends_s = -math.inf
        self._coming: Complex | None = None

    @property
    def frequencies_hz(self) -> Real:
        """The axis (n_points,) as it is set now."""
        spans = self.segments if self.sweeps_segments else [(self.start_hz, self.stop_hz, self.points)]
        return np.concatenate([np.linspace(*span) for span in spans])

    @property
    def sweep_s(self) -> float:
        """Nominal seconds of one sweep, driven from one port."""
        return len(self.frequencies_hz) / self.if_bandwidth_hz

    @property
    def waits_for_edge(self) -> bool:
        """Whether a sweep is armed."""
        return self._armed is not None

    @property
    def busy(self) -> bool:
        """Whether a sweep is armed or under way."""
        with self._moved:
            self._finish()
            return self._armed is not None or self._coming is not None

    def begin(self, sweeps: int = 1, *, slope: Slope | None = None) -> None:
        """Begin a measurement of so many averaged sweeps: now, or at an edge."""
        with self._moved:
            self._sweeps = sweeps
            self._armed = slope
            self._coming = None
            if slope is None:
                self._start()

    def edge(self, slope: Slope) -> None:
        """Receive an edge at the trigger input; one that nothing waits for is lost."""
        with self._moved:
            if self._armed == slope:
                self._armed = None
                self._start()
                self._moved.notify_all()

    def abort(self) -> None:
        """Give up the sweep that is armed or under way."""
        with self._moved:
            self._armed = None
            self._coming = None
            self._moved.notify_all()

    def wait(self, patience_s: float) -> bool:
        """Return whether no sweep is armed or under way any more; wait for an edge at most `patience_s`."""
        with self._moved:
            if not self._moved.wait_for(lambda: self._armed is None, patience_s):
                return False
            under_way = self._coming is not None
        if under_way:
            sleep_until(self._ends_s)
        return not self.busy

    def latest(self) -> Complex:
        """Return the S-matrices (n_points, n_ports, n_ports) of the last sweep that has ended; empty before."""
        with self._moved:
            self._finish()
            return self._latest

    def take_overload(self) -> bool:
        """Return whether a receiver was overloaded since the last call."""
        overloaded, self.overloaded = self.overloaded, False
        return overloaded

    def _start(self) -> None:
        driven_ports = self.dut.n_ports if self.corrected else 1
        self._ends_s = time.monotonic() + self.sweep_s * self._sweeps * driven_ports * self.time_scale
        self._coming = self._received()
        if self.time_scale == 0.0:
            self._finish()

    def _finish(self) -> None:
        if self._coming is not None and time.monotonic() >= self._ends_s:
            self._latest, self._coming = self._coming, None
            self.sweeps_made += 1

    def _received(self) -> Complex:
        frequencies_hz = self.frequencies_hz
        if not self.rf_on:
            return np.zeros((len(frequencies_hz), self.dut.n_ports, self.dut.n_ports), dtype=np.complex128)
        signal = self.dut.s_parameters(frequencies_hz)
        loudest_dbm = self.power_dbm + 20.0 * math.log10(max(float(np.abs(signal).max()), 1e-20))
        self.overloaded |= loudest_dbm > self.hardware.receiver_limit_dbm
        if self.noise is None:
            return signal
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(self.sweeps_made,)))
        return replace(self.noise, bandwidth_hz=self.if_bandwidth_hz / self._sweeps).on(signal, rng)
