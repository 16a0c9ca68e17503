"""The surface behind a virtual controller: cells that latch, a field that needs time to follow, an analyser's device.

The pattern that a cavity shows is the last one whose latching and settling have both passed.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labctl.contract.clock import Clock
from labctl_simulators.instruments.vna.dut import PatternedCavity
from labctl_simulators.physics.enclosure import Complex, Real

Levels = NDArray[np.uint8]


@dataclass(frozen=True)
class PanelTiming:
    """Seconds from a whole pattern to its latch, and from there until the field has followed."""

    latch_s: float = 0.0
    settle_s: float = 0.0


class Panel:
    """A `Dut`: the box of `cavity`, with the pattern that a controller latched. Thread-safe.

    `wiring` gives the element of each cell; without it cell k is element k. `pattern` (n_elements,) is what is latched,
    `shown` what the field has followed to, `latches` how many patterns there were, the first included.
    """

    def __init__(
        self,
        cavity: PatternedCavity,
        clock: Clock,
        timing: PanelTiming | None = None,
        wiring: Sequence[int] | None = None,
    ) -> None:
        self.levels = cavity.levels
        self.latches = 0
        self._cavity = cavity
        self._clock = clock
        self._timing = timing or PanelTiming()
        self._element_of = np.array(range(cavity.n_elements) if wiring is None else wiring, dtype=np.int64)
        self._latched: Levels = np.zeros(cavity.n_elements, dtype=np.uint8)
        self._shown: Levels = self._latched
        self._coming: list[tuple[float, float, Levels]] = []
        self._lock = threading.Lock()

    @property
    def n_ports(self) -> int:
        """Number of antennas."""
        return self._cavity.n_ports

    @property
    def n_elements(self) -> int:
        """Number of elements, and of cells."""
        return self._cavity.n_elements

    @property
    def pattern(self) -> Levels:
        """The levels (n_elements,) that are latched now."""
        with self._lock:
            self._follow()
            return self._latched.copy()

    @property
    def shown(self) -> Levels:
        """The levels (n_elements,) that the field has settled to."""
        with self._lock:
            self._follow()
            return self._shown.copy()

    @property
    def cells(self) -> Levels:
        """The latched level of each cell (n_elements,), as a controller reads it back."""
        return self.pattern[self._element_of]

    def latch(self, cells: Levels) -> None:
        """Take the level of every cell (n_elements,) and return when it is latched."""
        self.begin(cells)
        self._clock.sleep_s(self._timing.latch_s)

    def begin(self, cells: Levels) -> None:
        """Take the level of every cell (n_elements,) and return at once; it is latched later."""
        pattern = np.empty_like(cells)
        pattern[self._element_of] = cells
        with self._lock:
            self._follow()
            latched_s = self._clock.now_s() + self._timing.latch_s
            self._coming.append((latched_s, latched_s + self._timing.settle_s, pattern))
            self.latches += 1

    def s_parameters(self, frequencies_hz: Real) -> Complex:
        """Return the S-matrix (n_frequencies, n_ports, n_ports) under the pattern that the field has settled to."""
        with self._lock:
            self._follow()
            self._cavity.show(self._shown)
            return self._cavity.s_parameters(frequencies_hz)

    def _follow(self) -> None:
        """Let what has been latched or has settled by now take effect."""
        now_s = self._clock.now_s()
        for latched_s, settled_s, pattern in self._coming:
            if latched_s <= now_s:
                self._latched = pattern
            if settled_s <= now_s:
                self._shown = pattern
        self._coming = [each for each in self._coming if each[1] > now_s]
