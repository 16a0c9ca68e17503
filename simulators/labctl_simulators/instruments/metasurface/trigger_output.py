"""The trigger output of a virtual controller, and the wires from it."""

import threading
from collections.abc import Callable

from labctl_simulators.instruments.vna.engine import Slope

Edge = Callable[[Slope], None]
"""A trigger input."""


class TriggerOutput:
    """Pulses `delay_s` real seconds after a latch, when the pattern has settled; a latch before then begins anew."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self._delay_s = delay_s
        self._inputs: list[Edge] = []
        self._coming: threading.Timer | None = None

    def wire(self, to: Edge) -> None:
        """Run a wire to a trigger input."""
        self._inputs.append(to)

    def latched(self) -> None:
        """Begin to wait for the pulse of the pattern that has just been latched."""
        self.stop()
        if not self._inputs:
            return
        self._coming = threading.Timer(self._delay_s, self._pulse)
        self._coming.daemon = True
        self._coming.start()

    def stop(self) -> None:
        """Give up a pulse that is to come. Idempotent."""
        if self._coming is not None:
            self._coming.cancel()

    def _pulse(self) -> None:
        slopes: tuple[Slope, Slope] = ("rising", "falling")
        for slope in slopes:
            for edge in self._inputs:
                edge(slope)
