"""A simulated modulator and camera of slmsuite's that see each other."""

from typing import Any

from slmsuite.hardware.cameras.simulated import SimulatedCamera
from slmsuite.hardware.slms.simulated import SimulatedSLM

GAIN = 1000.0
"""So that a millisecond is enough."""

_shown: list[Any] = []


class LoopSlm(SimulatedSLM):
    """The modulator that the next camera looks at."""

    def __init__(self) -> None:
        super().__init__((64, 48))
        _shown.append(self)


class LoopCamera(SimulatedCamera):
    """A camera at the far field of the latest modulator."""

    def __init__(self) -> None:
        super().__init__(_shown[-1] if _shown else LoopSlm(), gain=GAIN)
