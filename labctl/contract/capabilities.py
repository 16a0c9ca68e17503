"""What some layers and instruments can do besides. They offer a capability by having its methods."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import DriveError
from labctl.contract.layer import Channel, Drives, Misfit, RawSignal, ResponseValues


@runtime_checkable
class Differentiable(Protocol):
    """A layer that knows its own derivative: an exact simulator, never hardware.

    Learning rules of this package never ask for it; backpropagation, as an upper reference, does.
    """

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the gradient (n, n_inputs) of Σ upstream · response with respect to `drives` (n, n_inputs).

        `upstream` is (n, n_outputs); responses are taken without noise or drift. The layer is open. Raises
        `DriveError` for drives that cannot be measured.
        """
        ...


@runtime_checkable
class DomainLimited(Protocol):
    """A layer that accepts less than the ranges and levels of its inputs say.

    It is asked before a run is begun, so that drives known then are not refused in its middle.
    """

    def misfit(self, drives: Drives) -> Misfit | None:
        """Return the first of `drives` (n, n_inputs) that the layer would refuse though all are within its inputs'
        ranges and levels; open or not.
        """
        ...


@dataclass(frozen=True, slots=True)
class WrittenParameters:
    """What was asked for and what the hardware holds since, both (n_parameters,); `applied` are levels where it has
    levels.
    """

    commanded: NDArray[np.float64]
    applied: NDArray[np.float64]


@runtime_checkable
class ParameterSink(Protocol):
    """A layer with parameters of its own that can be set: bits of a metasurface, a bias phase, a gain.

    What was measured before a write belongs to another state: `state_id` names the parameters, too.
    """

    @property
    def parameters(self) -> tuple[Channel, ...]:
        """Describe the parameters: their ranges, and their levels where they have some; valid before `open`."""
        ...

    @property
    def written(self) -> WrittenParameters:
        """Return the last write; before the first, what the layer begins with."""
        ...

    def write_parameters(self, values: NDArray[np.floating]) -> WrittenParameters:
        """Set the parameters (n_parameters,) to the nearest of their levels; return when they are latched and settled.

        They are read back where the hardware can. Raises `DriveError`, before anything is sent, for values out of range
        or not finite, and `InstrumentError` when the hardware refuses or holds something else. The layer is open.
        """
        ...


def check_parameters(layer: str, n_parameters: int, values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return `values` (n_parameters,), shares of parameters that go from 0 to 1, in double precision.

    Raises `DriveError`, naming the `layer`, for another shape and for values out of range or not finite.
    """
    if values.shape != (n_parameters,) or not ((values >= 0.0) & (values <= 1.0)).all():
        raise DriveError(
            f"layer '{layer}' takes {n_parameters} parameters from 0 to 1, got an array of {values.shape}"
            + ("" if not values.size else f" from {values.min():g} to {values.max():g}")
        )
    return values.astype(np.float64)


Reread = Callable[[RawSignal, Drives], tuple[ResponseValues, NDArray[np.uint8]]]
"""Returns responses (n, n_outputs) and their status (n,) of raw signals (n,) and the drives (n, n_inputs) they belong
to."""


@runtime_checkable
class RawSignals(Protocol):
    """A layer that can hand over what it reads its responses out of, and read it again in another way.

    Nothing is handed over unless it is asked for.
    """

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """Return the type of one pass's raw signal, its fields named and of fixed shape; valid before `open`."""
        ...

    def deliver_raw(self, *, wanted: bool) -> None:
        """Hand over raw signals with the responses of all measurements begun from now on, or no longer."""
        ...

    def rereading(self, sender: object) -> Reread:
        """Return how this layer reads the raw signals that `sender`, a layer built from other settings, recorded.

        Neither is open, and no hardware is touched. With equal settings the same responses come out to the bit. Raises
        `SettingError` at a setting that differs and decides what is sent or recorded, not how it is read out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked after: what, how it is, and, unless it is well, what to do about it."""

    subject: str
    text: str
    remedy: str = ""


@runtime_checkable
class Identifiable(Protocol):
    """An instrument that knows who answers at its address."""

    @property
    def identity(self) -> str:
        """Return make, model, serial number and firmware as told; empty before `open`, or where it cannot be told."""
        ...


@runtime_checkable
class HealthCheckable(Protocol):
    """An instrument or a layer that can say how it is."""

    def health(self) -> tuple[Finding, ...]:
        """Return what the open instrument says of itself, changing nothing. Raises `InstrumentError`.

        A layer may make passes that belong to no row.
        """
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity with its standard uncertainty (k = 1), of its shape or a single one for all, both in `unit`."""

    value: NDArray[np.float64]
    uncertainty: NDArray[np.float64]
    unit: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured of an instrument or a layer: quantities by name for the next run, findings for people."""

    quantities: Mapping[str, Measured]
    findings: tuple[Finding, ...] = ()


@runtime_checkable
class Calibratable(Protocol):
    """An instrument or a layer that can measure what it must know of itself.

    The next run uses what was found when the setting `calibration` names the file that it was written to (see
    `labctl.contract.calibration`); `state_id` then names the calibration, too.
    """

    def calibrate(self) -> Calibration:
        """Measure within the limits of the rig file, open. Raises `InstrumentError`."""
        ...
