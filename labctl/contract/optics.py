"""What an optical bench can do: hold a pattern on a modulator and take one picture of it.

A pass goes in this order: show a pattern, let it settle, expose, and only when the exposure has ended show the next
one, while the picture is still being read.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.driver import NamedInstrument
from labctl.contract.errors import InstrumentError

LevelPlane = NDArray[np.uint8]
"""Levels (rows, columns) of a modulator's pixels, row 0 at the top: 0 to levels - 1."""

Image = NDArray[Any]
"""Counts (rows, columns) of a camera, `uint8` up to 8 bits, else `uint16`; the lowest bit is the camera's lowest."""


class FrameError(InstrumentError):
    """An exposure gave no picture that can be used: lost, late, broken. The camera is ready for the next one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture. `number` counts the exposures since `open`, from 1; `time_s` is POSIX time of its arrival."""

    image: Image
    number: int
    time_s: float


@runtime_checkable
class Modulator(NamedInstrument, Protocol):
    """A spatial light modulator. Constructed without touching hardware."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns of pixels."""
        ...

    @property
    def levels(self) -> int:
        """Return the number of levels a pixel can take, at most 256."""
        ...

    @property
    def settle_s(self) -> float:
        """Return how long after `show` the light is steady."""
        ...

    @property
    def frame_s(self) -> float:
        """Return the period of its refresh: a shorter exposure sees a part of it; 0 where nothing is refreshed."""
        ...

    def open(self) -> None:
        """Connect and show level 0 everywhere. Raises `InstrumentError`."""
        ...

    def show(self, plane: LevelPlane) -> None:
        """Return when `plane` (rows, columns) is with the hardware; it has settled `settle_s` later.

        Raises `InputError` for a plane that does not fit, `InstrumentError` when the hardware does not take it.
        """
        ...

    def make_safe(self) -> None:
        """Show level 0 everywhere. Idempotent; any state; never raises.

        It does not make dark: see `labctl.contract.switch`.
        """
        ...


@runtime_checkable
class Preparable(Protocol):
    """A `Modulator` that can take a plane ahead: what is left of showing it takes less time."""

    def prepare(self, plane: LevelPlane) -> None:
        """Take the plane (rows, columns) that is probably shown next; what is shown now stays.

        Raises as `show`.
        """
        ...


@runtime_checkable
class Camera(NamedInstrument, Protocol):
    """A camera that takes one picture on request. Constructed without touching hardware."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns of a picture."""
        ...

    @property
    def bits(self) -> int:
        """Return the bits of a pixel; full scale is 2^bits - 1."""
        ...

    @property
    def exposure_s(self) -> float:
        """Return how long light is collected."""
        ...

    @property
    def expose_s(self) -> float:
        """Return how long `expose` nominally takes: delays before and exposures left unused included."""
        ...

    def open(self) -> None:
        """Connect, configure, read back, begin to acquire. Raises `InstrumentError`."""
        ...

    def expose(self) -> None:
        """Take one picture; return when its exposure has ended. Raises `InstrumentError`."""
        ...

    def read(self) -> Frame:
        """Return the picture of the last `expose`, never another one.

        Raises `FrameError` when it is lost, late or broken, and `InstrumentError` when the camera is gone.
        """
        ...

    def make_safe(self) -> None:
        """Do what is left to do; a camera harms nobody. Idempotent; any state; never raises."""
        ...
