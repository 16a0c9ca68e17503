"""An operating point of a simulated metasurface cavity: element states in, S-parameters out.

Rows are computed one at a time, and a row's numbers depend neither on its neighbours nor on a restart.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import WrittenParameters, check_parameters
from labctl.contract.chunks import Row, in_chunks
from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, Instrument, LayerDriver, pick_instrument
from labctl.contract.errors import DriveError, InstrumentError, SettingError, blaming
from labctl.contract.layer import (
    Channel,
    Drives,
    LayerInfo,
    PhysicalLayer,
    Responses,
    RowIds,
    RowStatus,
    Stop,
    check_drives,
)
from labctl.contract.readout import READINGS, readout_channels
from labctl_simulators.faults import with_faults
from labctl_simulators.loopback.microwave_cavity import SimulatedCavity
from labctl_simulators.loopback.microwave_settings import SimulatedMicrowaveSettings
from labctl_simulators.physics.analyser import PULLS
from labctl_simulators.physics.enclosure import Real
from labctl_simulators.physics.metasurface import MetasurfaceCavity, check_frequency


class SimulatedMicrowaveLayer:
    """A `PhysicalLayer` over a simulated metasurface cavity; `Differentiable`."""

    def __init__(self, settings: SimulatedMicrowaveSettings, cavity: SimulatedCavity, name: str, clock: Clock) -> None:
        """Raise `SettingError` for frequencies at which the model does not hold, antennas and elements not there."""
        _check_point(settings, cavity)
        self._settings = settings
        self._bench = cavity
        self._clock = clock
        n_elements = cavity.elements.count
        self._driven = np.arange(n_elements) if settings.driven is None else np.array(settings.driven, np.int64)
        self._kept: Real = np.zeros(n_elements)
        """The states of the elements that no drive sets; 0 for those that are driven."""
        self._info = _layer_info(settings, cavity, self._driven, name)
        self._reading = READINGS[settings.readout]
        self._pull = PULLS[settings.readout]
        self._cavity: MetasurfaceCavity | None = None
        self._epoch_s = 0.0

    @property
    def info(self) -> LayerInfo:
        """Describe elements and frequencies; valid before `open`."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the operating point together with the cavity's own state; planned faults are no part of it."""
        text = self._settings.model_dump_json(exclude={"faults"}, exclude_defaults=True) + self._bench.state_id
        kept = self._kept.tobytes().hex() if self._kept.any() else ""
        return hashlib.sha256((text + kept).encode()).hexdigest()[:12]

    def open(self) -> None:
        """Solve the empty box at every frequency; does nothing when already open."""
        if self._cavity is not None:
            return
        self._bench.open()
        self._cavity = self._bench.solved(self._settings.sweep_hz)
        # POSIX time at laboratory time zero: rows are stamped with the time that the laboratory counts.
        self._epoch_s = time.time() - self._clock.now_s()

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Answer rows one by one, each taking the nominal time of a pass.

        Raises `DriveError`, before anything is answered, for drives that the elements cannot realise, and
        `InstrumentError` when closed.
        """
        states = self._states(drives, ids)
        self._opened("measure")
        return in_chunks(self._rows(states, ids, stop))

    def signals(self, drives: Drives) -> Real:
        """Return the responses (n, n_outputs) without noise or drift. Raises as `measure` does."""
        states = self._states(drives, np.arange(len(drives), dtype=np.int64))
        cavity, paths = self._opened("signals"), self._settings.paths
        rows = [self._reading.read(cavity.transmission(row, paths)) for row in states]
        return np.array(rows).reshape(len(drives), self._info.n_outputs)

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating]) -> Real:
        """Return the gradient (n, n_inputs) of Σ upstream · `signals`, along each element's path between its states.

        At one-bit drives it is the slope at the end of that path. Raises as `measure` does, and `DriveError` for an
        `upstream` that is not (n, n_outputs).
        """
        states = self._states(drives, np.arange(len(drives), dtype=np.int64))
        if upstream.shape != (len(drives), self._info.n_outputs):
            wanted = (len(drives), self._info.n_outputs)
            raise DriveError(f"layer '{self._info.name}': the upstream has shape {upstream.shape}, not {wanted}")
        cavity, paths = self._opened("differentiate"), self._settings.paths
        gradient = np.empty(drives.shape)
        for row, state in enumerate(states):
            pulled = self._pull(cavity.transmission(state, paths), upstream[row].astype(np.float64))
            slopes = np.einsum("pf,pfe->e", pulled, cavity.transmission_slopes(state, paths)).real
            gradient[row] = slopes[self._driven]
        return gradient

    def make_safe(self) -> None:
        """Do nothing: no power is on."""

    def close(self) -> None:
        """Forget the solution."""
        self._cavity = None
        self._bench.close()

    def _opened(self, command: str) -> MetasurfaceCavity:
        if self._cavity is None:
            raise InstrumentError(self._info.name, "the layer is not open", command=command)
        return self._cavity

    def _states(self, drives: Drives, ids: RowIds) -> Real:
        """Return the states (n, n_elements) that the elements take for `drives`, in double precision."""
        check_drives(self._info, drives, ids)
        states = np.repeat(self._kept[None, :], len(drives), axis=0)
        states[:, self._driven] = self._nearest(drives.astype(np.float64))
        return states

    def _nearest(self, states: Real) -> Real:
        levels = self._bench.elements.levels
        return states if levels == "continuous" else np.rint(states * (levels - 1)) / (levels - 1)

    def _rows(self, states: Real, ids: RowIds, stop: Stop) -> Iterator[Row]:
        sweep_hz = self._settings.sweep_hz
        for row_id, state in zip(ids.tolist(), states, strict=True):
            if stop.is_set():
                return
            yield self._answer(self._bench.solved(sweep_hz, row_id), row_id, state)

    def _answer(self, cavity: MetasurfaceCavity, row_id: int, states: Real) -> Row:
        # The time of a row is that of its place in the run, so that a restart does not move it.
        planned_s = row_id * self._settings.pass_s
        signal = self._bench.read(cavity, states, self._settings.paths, row_id=row_id, time_s=planned_s)
        self._clock.sleep_s(self._settings.pass_s)
        values = self._reading.read(signal).astype(np.float32)
        return Row(row_id, values, RowStatus.OK, self._epoch_s + self._clock.now_s())


class TunableSimulatedMicrowaveLayer(SimulatedMicrowaveLayer):
    """One with elements that no drive sets: a `ParameterSink`."""

    def __init__(self, settings: SimulatedMicrowaveSettings, cavity: SimulatedCavity, name: str, clock: Clock) -> None:
        super().__init__(settings, cavity, name, clock)
        self._tuned = np.setdiff1d(np.arange(cavity.elements.count), self._driven)
        self._parameters = _element_channels(cavity, self._tuned)
        begin = np.zeros(len(self._tuned))
        self._written = WrittenParameters(begin, begin)

    @property
    def parameters(self) -> tuple[Channel, ...]:
        """Describe the elements that no drive sets."""
        return self._parameters

    @property
    def written(self) -> WrittenParameters:
        """Return the last write; zeros before the first."""
        return self._written

    def write_parameters(self, values: NDArray[np.floating]) -> WrittenParameters:
        """Set the elements (n_parameters,) to their nearest levels. Raises as `measure` does."""
        commanded = check_parameters(self.info.name, len(self._tuned), values)
        self._opened("write parameters")
        self._kept[self._tuned] = self._nearest(commanded)
        self._written = WrittenParameters(commanded, self._kept[self._tuned])
        return self._written


def _check_point(settings: SimulatedMicrowaveSettings, cavity: SimulatedCavity) -> None:
    for key, frequency_hz in settings.named_hz.items():
        with blaming("frequencies", key):
            check_frequency(cavity.layout, frequency_hz)
    for place, parameter in enumerate(settings.parameters):
        if max(int(port) for port in parameter[1:]) > cavity.n_antennas:
            what = f"{parameter} needs more than the {cavity.n_antennas} antennas of '{cavity.name}'"
            raise SettingError(("parameters", place), what)
    for place, element in enumerate(settings.driven or ()):
        if element >= cavity.elements.count:
            what = f"'{cavity.name}' has elements 0 to {cavity.elements.count - 1}, and no {element}"
            raise SettingError(("driven", place), what)


def _element_channels(cavity: SimulatedCavity, elements: NDArray[np.int64]) -> tuple[Channel, ...]:
    levels = None if cavity.elements.levels == "continuous" else cavity.elements.levels
    return tuple(Channel(f"element{index}", "state", 0.0, 1.0, levels) for index in elements.tolist())


def _layer_info(
    settings: SimulatedMicrowaveSettings, cavity: SimulatedCavity, driven: NDArray[np.int64], name: str
) -> LayerInfo:
    return LayerInfo(
        name=name,
        inputs=_element_channels(cavity, driven),
        outputs=readout_channels(settings.parameters, settings.sweep_hz, settings.readout),
        nominal_pass_s=settings.pass_s,
        resources=frozenset({cavity.name}),
        simulated=True,
    )


def _build(
    settings: SimulatedMicrowaveSettings, instruments: Mapping[str, Instrument], context: BuildContext
) -> PhysicalLayer:
    cavity = pick_instrument(instruments, settings.cavity, SimulatedCavity, context.name, at=("cavity",))
    all_driven = settings.driven is None or len(settings.driven) == cavity.elements.count
    kind = SimulatedMicrowaveLayer if all_driven else TunableSimulatedMicrowaveLayer
    layer = kind(settings, cavity, context.name, context.clock)
    return with_faults(layer, settings.faults, context.clock)


DRIVER = LayerDriver(SimulatedMicrowaveSettings, _build)
