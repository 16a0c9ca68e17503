"""What a network analyser and a programmable metasurface can do: sweep S-parameters, and hold a pattern."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.driver import NamedInstrument

SParameters = NDArray[np.complex128]
"""(n_parameters, n_points), corrected where the analyser corrects."""

Pattern = NDArray[np.uint8]
"""Levels (n_elements,) of a metasurface's elements, in the order of its element map: 0 to levels - 1."""


@dataclass(frozen=True, slots=True)
class Segment:
    """`points` frequencies from `start_hz` to `stop_hz`, evenly spaced; one frequency where the ends are equal."""

    start_hz: float
    stop_hz: float
    points: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What an analyser measures at a trigger: one linear sweep, or one over several segments.

    `parameters` are named S11 to S99, receiving port first. `averages` whole sweeps make one result. An `external`
    trigger arrives at the analyser's trigger input with the given edge; `internal` means on command.
    """

    parameters: tuple[str, ...]
    segments: tuple[Segment, ...]
    power_dbm: float
    if_bandwidth_hz: float
    averages: int = 1
    trigger: Literal["internal", "external-rising", "external-falling"] = "internal"

    @property
    def points(self) -> int:
        """Number of frequencies."""
        return sum(segment.points for segment in self.segments)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """S-parameters of one sweep; `overload` says that a receiver was driven too hard, so that they mean nothing."""

    values: SParameters
    overload: bool
    time_s: float


@runtime_checkable
class NetworkAnalyser(NamedInstrument, Protocol):
    """A vector network analyser. Constructed without touching hardware; power is off until the first sweep."""

    def check(self, sweep: Sweep) -> None:
        """Raise `InputError` for a sweep beyond the limits of the rig file or, once open, of the instrument."""
        ...

    def open(self) -> None:
        """Connect, identify, read limits. Raises `InstrumentError`."""
        ...

    def configure(self, sweep: Sweep) -> NDArray[np.float64]:
        """Set up for `sweep` and return its frequencies (n_points,) as the instrument states them.

        Raises `InputError` before anything is sent, `InstrumentError` when the instrument refuses or reads back
        something else.
        """
        ...

    def arm(self) -> None:
        """Begin what was configured: at once, or with an external trigger at the next edge.

        It waits for the edge when this returns: arm it, then do what the edge follows. Raises `InstrumentError`.
        """
        ...

    def swept(self) -> bool:
        """Return whether the sweep that an external trigger was to begin has ended. Raises `InstrumentError`."""
        ...

    def wait(self) -> bool:
        """Wait for the end of what was armed; return at once, False, where only `read` can tell. Raises as `read` does.

        When it returns True nothing more is measured: what the analyser looks at may change, and then be read.
        """
        ...

    def read(self) -> SweepResult:
        """Wait for the end of what was armed and return it. Raises `InstrumentError`; never returns a part of it.

        An edge that does not come is an `InstrumentError` too.
        """
        ...

    def sweep(self) -> SweepResult:
        """Arm and read. Raises `InstrumentError`."""
        ...

    def make_safe(self) -> None:
        """Turn the power off. Idempotent; any state. Raises `InstrumentError` when it is open and cannot be told."""
        ...


@runtime_checkable
class Metasurface(NamedInstrument, Protocol):
    """A surface of elements, each of which takes one of `levels` states."""

    @property
    def n_elements(self) -> int:
        """Number of elements."""
        ...

    @property
    def levels(self) -> int:
        """Number of states an element can take."""
        ...

    def open(self) -> None:
        """Connect, identify, show the rest pattern. Raises `InstrumentError`."""
        ...

    @property
    def settle_s(self) -> float:
        """Seconds from a pattern's acknowledgement until the field is steady."""
        ...

    def latch(self, pattern: Pattern) -> None:
        """Return when `pattern` is acknowledged and read back where the controller can; it has not settled then.

        A controller with a trigger output gives an edge when it has settled. Raises `InputError` for a pattern that
        does not fit, `InstrumentError` when the controller refuses, is silent or holds something else.
        """
        ...

    def settle(self) -> None:
        """Return when what was latched last has settled."""
        ...

    def show(self, pattern: Pattern) -> None:
        """Latch `pattern` and return when it has settled. Raises as `latch` does."""
        ...

    def make_safe(self) -> None:
        """Show the rest pattern. Idempotent; any state. Raises `InstrumentError` when it is open and cannot be told."""
        ...
