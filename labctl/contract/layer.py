"""The physical layer: what maps drives to responses, and what it says about itself.

A layer answers measurement requests. It never repeats a measurement, never changes its input, and never clips,
resamples or fills in a value: it reports, and the orchestrator decides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import DriveError

API_VERSION = 1

Drives = NDArray[np.float32]
RowIds = NDArray[np.int64]
ResponseValues = NDArray[Any]
"""Responses keep the number type the instrument delivers, so that the record holds what was measured."""

RawSignal = NDArray[np.void]
"""What responses are read out of: an array (n,) of rows with named fields, such as the samples of a recording."""


ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""By what share of the range's larger end a drive may miss a level: data come as single-precision numbers."""


class RowStatus(IntEnum):
    """What became of one row of a request. Only `OK` rows may be learnt from."""

    OK = 0
    CLIPPED = 1
    XRUN = 2
    STALE = 3
    OVERLOAD = 4
    FAILED = 5


@dataclass(frozen=True, slots=True)
class Channel:
    """One input or output of a layer. An output's range is what the readout can deliver; it may be infinite.

    An input that can be set to `levels` equidistant values only, the ends of its range included, says so.
    """

    name: str
    unit: str
    low: float
    high: float
    levels: int | None = None


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """What a layer says about itself before it is opened.

    `resources` names the instruments the layer occupies: layers that share one are never measured at once.
    `nominal_pass_s` is the hardware time of one pass, `switch_s` what it takes to change its instruments over from the
    operating point of another layer to this one's; `response_dtype` the numpy name of the response's type.
    """

    name: str
    inputs: tuple[Channel, ...]
    outputs: tuple[Channel, ...]
    nominal_pass_s: float
    resources: frozenset[str]
    simulated: bool
    response_dtype: str = "float32"
    switch_s: float = 0.0

    @property
    def n_inputs(self) -> int:
        """Number of drive channels."""
        return len(self.inputs)

    @property
    def n_outputs(self) -> int:
        """Number of response channels."""
        return len(self.outputs)


@dataclass(frozen=True, slots=True)
class Responses:
    """An ordered chunk of measured rows.

    `ids` (n,), `values` (n, n_outputs) in the layer's response type, `status` (n,) of `RowStatus`,
    `time_s` (n,) POSIX seconds at which each row was read. The values of a row that is not `OK` mean nothing. `raw`
    (n,) are the signals that values were read out of, from a layer that was asked for them (see `RawSignals`).
    """

    ids: RowIds
    values: ResponseValues
    status: NDArray[np.uint8]
    time_s: NDArray[np.float64]
    raw: RawSignal | None = None


class Stop(Protocol):
    """Asks a measurement to end after the pass under way; `threading.Event` is one."""

    def is_set(self) -> bool:
        """Return whether the measurement should end."""
        ...


@runtime_checkable
class PhysicalLayer(Protocol):
    """One physical system that maps drives to responses.

    Life: constructed without touching hardware, `open`, any number of `measure`, `make_safe`, `close`.
    `make_safe` is idempotent, may be called in any state and must not raise for hardware that is already gone.
    """

    @property
    def info(self) -> LayerInfo:
        """Describe the layer; valid before `open`."""
        ...

    @property
    def state_id(self) -> str:
        """Name the state of parameters, configuration and calibration; equal ids promise equal physics."""
        ...

    def open(self) -> None:
        """Connect and configure. Raises `InstrumentError`; a failed `open` leaves nothing connected."""
        ...

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Measure rows in the order given and yield them in ordered chunks of any size.

        `drives` is (n, n_inputs) within the inputs' ranges, `ids` (n,). What was yielded stays valid when a later
        row raises. When `stop` is set the iteration ends after the pass under way. Raises `DriveError` before
        anything is sent, `InstrumentError` when an instrument fails.
        """
        ...

    def make_safe(self) -> None:
        """Leave the hardware in a state that can be left alone."""
        ...

    def close(self) -> None:
        """Release everything. Idempotent."""
        ...


class Misfit(NamedTuple):
    """A drive that a layer cannot realise: its row in a request, its input (None: all together) and what is wrong."""

    row: int
    column: int | None
    what: str


def check_drives(info: LayerInfo, drives: Drives, ids: RowIds) -> None:
    """Raise `DriveError` unless `drives` fits `info` in shape, range and levels and every value is finite."""
    if drives.ndim != 2 or drives.shape[1] != info.n_inputs:
        raise DriveError(f"layer '{info.name}' takes drives of shape (n, {info.n_inputs}), got {tuple(drives.shape)}")
    if ids.shape != (len(drives),):
        raise DriveError(f"layer '{info.name}' got {len(drives)} drives but ids of shape {ids.shape}")
    misfit = find_misfit(info, drives)
    if misfit is not None:
        raise DriveError(f"layer '{info.name}', row id {ids[misfit.row]}, {misfit.what}")


def find_misfit(info: LayerInfo, drives: Drives) -> Misfit | None:
    """Return the first value of `drives` (n, n_inputs) outside its input's range or between its levels."""
    low = np.array([channel.low for channel in info.inputs], dtype=np.float32)
    high = np.array([channel.high for channel in info.inputs], dtype=np.float32)
    inside = (drives >= low) & (drives <= high)
    if not inside.all():
        row, column = (int(index) for index in np.argwhere(~inside)[0])
        channel = info.inputs[column]
        value = f"input {channel.name}: {drives[row, column]:g}"
        return Misfit(row, column, f"{value} is outside {channel.low:g} to {channel.high:g} {channel.unit}")
    if all(channel.levels is None for channel in info.inputs):
        return None
    largest = np.maximum(np.abs(low), np.abs(high))
    between = np.argwhere(np.abs(drives - Levels(info.inputs).nearest(drives)) > ROUNDING * largest)
    if not between.size:
        return None
    row, column = (int(index) for index in between[0])
    value = f"input {info.inputs[column].name}: {drives[row, column]:g}"
    return Misfit(row, column, f"{value} is none of {levels_of(info.inputs[column])}")


class Levels:
    """What those of a layer's `inputs` that have levels can be set to."""

    def __init__(self, inputs: Sequence[Channel]) -> None:
        chosen = [column for column, channel in enumerate(inputs) if channel.levels is not None]
        self._columns = slice(None) if len(chosen) == len(inputs) else np.array(chosen, dtype=np.intp)
        self._low = np.array([inputs[column].low for column in chosen], dtype=np.float32)
        self._high = np.array([inputs[column].high for column in chosen], dtype=np.float32)
        self._steps = np.array([(inputs[column].levels or 2) - 1 for column in chosen], dtype=np.float32)

    def nearest(self, drives: Drives) -> Drives:
        """Return `drives` (n, n_inputs) with every value that has levels moved to the nearest of them."""
        if not self._steps.size:
            return drives
        span = self._high - self._low
        numbers = np.rint((drives[:, self._columns] - self._low) / span * self._steps)
        moved = drives.copy()
        moved[:, self._columns] = np.clip(numbers / self._steps * span + self._low, self._low, self._high)
        return moved


def levels_of(channel: Channel) -> str:
    """Say which levels a channel has."""
    n_levels = channel.levels or 2
    levels = np.linspace(channel.low, channel.high, n_levels)[:4]
    return f"the {n_levels} levels {', '.join(f'{level:.4g}' for level in levels)}{', ...' if n_levels > 4 else ''}"
