"""What a virtual camera sees: light, panel and medium, one picture after another."""

import threading
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from labctl.contract.blocks import Blocks
from labctl_simulators.faults import STATUS, FaultSchedule, Strike
from labctl_simulators.instruments.optics.panel import Panel
from labctl_simulators.instruments.serial_switch import VirtualSwitch
from labctl_simulators.loopback.optics import OpticalLayer

SATURATING = 1e4
"""How many times too much light a saturated picture gets."""


class Scene:
    """Takes pictures (rows, columns) of `shape`, in which the medium's outputs are blocks.

    A picture of a `lag` is that of so many exposures before. What is planned in `faults` befalls exposures by their
    number from 1: `failed` loses one (None), `delay` delivers it late, `stale` is the picture before once more,
    `overload` has too much light. `taken` counts exposures; one that a fault struck is in `struck`.
    """

    def __init__(
        self,
        physics: OpticalLayer,
        panel: Panel,
        shutter: VirtualSwitch | None,
        blocks: Blocks,
        shape: tuple[int, int],
    ) -> None:
        self.faults: FaultSchedule | None = None
        self.taken = 0
        self.struck: dict[int, Strike] = {}
        self._physics = physics
        self._panel = panel
        self._shutter = shutter
        self._blocks = blocks
        self._begin_s = time.monotonic()
        self._lock = threading.Lock()
        self._pictures: deque[NDArray[np.uint8]] = deque(maxlen=1 + physics.settings.camera.lag)
        self._dark = np.full(shape, physics.settings.camera.dark_level, np.uint8)

    def expose(self, at_s: float) -> tuple[NDArray[np.uint8] | None, float]:
        """Return a picture of the light at a monotonic time, None for one that is lost, and its delay in seconds."""
        with self._lock:
            self.taken += 1
            strike = self.faults.next(self.taken) if self.faults is not None else Strike()
            if strike != Strike():
                self.struck[self.taken] = strike
            if strike.status != STATUS["stale"] or not self._pictures:
                power = SATURATING if strike.status == STATUS["overload"] else 1.0
                self._pictures.append(self._picture(at_s, power))
            return (None if strike.status == STATUS["failed"] else self._pictures[0]), strike.delay_s

    def _picture(self, at_s: float, power: float) -> NDArray[np.uint8]:
        lit = self._shutter is None or self._shutter.is_on
        drives = self._panel.drives(at_s)
        counts = self._physics.photograph(drives, self.taken, at_s - self._begin_s, power=power if lit else 0.0)
        picture = self._dark.copy()
        self._blocks.paint(counts, picture)
        return picture
