"""A metasurface in a flat metal box, read by a network analyser: a layer without hardware.

Rows are computed one at a time. Noise belongs to (seed, row id, how often that id was measured since `open`), drift to
(seed, row id x pass time), so a row's numbers depend neither on its neighbours nor on a restart.
"""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, Instrument, LayerDriver
from labctl.contract.errors import DriveError, InstrumentError, blaming
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
from labctl_simulators.faults import with_faults
from labctl_simulators.loopback.microwave_settings import SimulatedMicrowaveSettings
from labctl_simulators.loopback.row_noise import RowNoise
from labctl_simulators.physics.analyser import READINGS
from labctl_simulators.physics.drift import SlowDrift
from labctl_simulators.physics.enclosure import Plates, Real
from labctl_simulators.physics.metasurface import (
    Element,
    Layout,
    MetasurfaceCavity,
    Pitch,
    arrange,
    check_frequency,
    check_walls,
    check_wire,
    in_rows,
    solve_cavity,
)

CHUNK_ROWS = 64
CHUNK_S = 0.05

_MEDIUM, _DRIFT, _NOISE = range(3)
"""Named random streams below one seed."""


class SimulatedMicrowaveLayer:
    """A `PhysicalLayer` over a simulated metasurface cavity; `Differentiable`. `layout` says where everything is."""

    def __init__(self, settings: SimulatedMicrowaveSettings, name: str, clock: Clock) -> None:
        self.layout = _layout(settings)
        self._settings = settings
        self._clock = clock
        self._info = _layer_info(settings, name)
        self._reading = READINGS[settings.readout]
        self._noise = None if settings.vna is None else settings.vna.noise
        self._random = RowNoise(_stream(settings.seed, _NOISE))
        drawn = np.random.default_rng(_stream(settings.seed, _DRIFT))
        self._gain_drift, self._phase_drift = (SlowDrift(settings.drift / math.sqrt(2.0), drawn) for _ in range(2))
        self._cavity: MetasurfaceCavity | None = None
        self._epoch_s = 0.0
        self._passes: Counter[int] = Counter()

    @property
    def info(self) -> LayerInfo:
        """Describe elements and frequencies; valid before `open`."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the medium and everything else that the settings determine, but for planned faults."""
        return hashlib.sha256(
            self._settings.model_dump_json(exclude={"faults"}, exclude_defaults=True).encode()
        ).hexdigest()[:12]

    def open(self) -> None:
        """Solve the empty box at every frequency; does nothing when already open."""
        if self._cavity is not None:
            return
        elements = self._settings.elements
        element = Element(elements.resonances_hz, elements.quality, elements.coupling)
        self._cavity = solve_cavity(self.layout, element, self._settings.sweep_hz)
        # POSIX time at laboratory time zero: rows are stamped with the time that the laboratory counts.
        self._epoch_s = time.time() - self._clock.now_s()
        self._passes.clear()

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Answer rows one by one, each taking the nominal time of a pass.

        Raises `DriveError`, before anything is answered, for drives that the elements cannot realise exactly, and
        `InstrumentError` when closed.
        """
        check_drives(self._info, drives, ids)
        return self._chunks(self._opened("measure"), drives, ids, stop)

    def signals(self, drives: Drives) -> Real:
        """Return the responses (n, n_outputs) without noise or drift. Raises as `measure` does."""
        check_drives(self._info, drives, np.arange(len(drives), dtype=np.int64))
        cavity, paths = self._opened("signals"), self._settings.antennas.paths
        rows = [self._reading.read(cavity.transmission(drive, paths)) for drive in drives.astype(np.float64)]
        return np.array(rows).reshape(len(drives), self._info.n_outputs)

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating]) -> Real:
        """Return the gradient (n, n_inputs) of Σ upstream · `signals`, along each element's path between its states.

        At one-bit drives it is the slope at the end of that path. Raises as `measure` does, and `DriveError` for an
        `upstream` that is not (n, n_outputs).
        """
        check_drives(self._info, drives, np.arange(len(drives), dtype=np.int64))
        if upstream.shape != (len(drives), self._info.n_outputs):
            wanted = (len(drives), self._info.n_outputs)
            raise DriveError(f"layer '{self._info.name}': the upstream has shape {upstream.shape}, not {wanted}")
        cavity, paths = self._opened("differentiate"), self._settings.antennas.paths
        gradient = np.empty(drives.shape)
        for row, drive in enumerate(drives.astype(np.float64)):
            pulled = self._reading.pull(cavity.transmission(drive, paths), upstream[row].astype(np.float64))
            gradient[row] = np.einsum("pf,pfe->e", pulled, cavity.transmission_slopes(drive, paths)).real
        return gradient

    def make_safe(self) -> None:
        """Do nothing: no power is on."""

    def close(self) -> None:
        """Forget the solutions."""
        self._cavity = None

    def _opened(self, command: str) -> MetasurfaceCavity:
        if self._cavity is None:
            raise InstrumentError(self._info.name, "the layer is not open", command=command)
        return self._cavity

    def _chunks(self, cavity: MetasurfaceCavity, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Responses]:
        waiting: list[_Row] = []
        flushed_s = time.monotonic()
        for row_id, drive in zip(ids.tolist(), drives.astype(np.float64), strict=True):
            if stop.is_set():
                break
            waiting.append(self._answer(cavity, row_id, drive))
            if len(waiting) >= CHUNK_ROWS or time.monotonic() - flushed_s >= CHUNK_S:
                yield _chunk(waiting)
                waiting, flushed_s = [], time.monotonic()
        if waiting:
            yield _chunk(waiting)

    def _answer(self, cavity: MetasurfaceCavity, row_id: int, drive: Real) -> "_Row":
        self._passes[row_id] += 1
        signal = cavity.transmission(drive, self._settings.antennas.paths)
        drifted_s = row_id * self._settings.pass_s
        signal = signal * complex(self._gain_drift.gain(drifted_s), self._phase_drift.gain(drifted_s) - 1.0)
        if self._noise is not None:
            signal = self._noise.on(signal, self._random.of(row_id, self._passes[row_id]))
        self._clock.sleep_s(self._settings.pass_s)
        values = self._reading.read(signal).astype(np.float32)
        return _Row(row_id, values, self._epoch_s + self._clock.now_s())


class _Row(NamedTuple):
    id: int
    values: NDArray[np.float32]
    time_s: float


def _chunk(rows: list[_Row]) -> Responses:
    return Responses(
        ids=np.array([row.id for row in rows], dtype=np.int64),
        values=np.stack([row.values for row in rows]),
        status=np.full(len(rows), RowStatus.OK, dtype=np.uint8),
        time_s=np.array([row.time_s for row in rows]),
    )


def _layout(settings: SimulatedMicrowaveSettings) -> Layout:
    """Place everything. Raises `SettingError` for what does not fit or lies outside the model's validity."""
    box, elements, antennas = settings.box, settings.elements, settings.antennas
    size_m = (max(box.length_m, box.width_m), min(box.length_m, box.width_m))
    plates, highest_hz = Plates(box.height_m, box.quality), float(settings.sweep_hz.max())
    for key, frequency_hz in settings.named_hz.items():
        with blaming("frequencies", key):
            check_frequency(size_m, plates, frequency_hz)
    thickest = {("elements", "radius"): elements.radius_m, ("antennas", "radius"): antennas.radius_m}
    for at, radius_m in (thickest | {("box", "post_radius"): box.post_radius_m}).items():
        with blaming(*at):
            check_wire(radius_m, highest_hz)
    with blaming("elements"):
        rows = in_rows(elements.count, size_m, Pitch(elements.pitch_m, elements.distance_m, elements.radius_m))
    with blaming("box"):
        check_walls(size_m, box.posts, highest_hz)
        return arrange(
            size_m,
            plates,
            rows,
            antenna_radius_m=np.full(antennas.count, antennas.radius_m),
            post_radius_m=np.full(box.posts, box.post_radius_m),
            rng=np.random.default_rng(_stream(settings.seed, _MEDIUM)),
        )


def _layer_info(settings: SimulatedMicrowaveSettings, name: str) -> LayerInfo:
    reading = READINGS[settings.readout]
    levels = None if settings.elements.levels == "continuous" else settings.elements.levels
    parts = (".re", ".im") if settings.readout == "complex" else ("",)
    return LayerInfo(
        name=name,
        inputs=tuple(Channel(f"element{index}", "state", 0.0, 1.0, levels) for index in range(settings.elements.count)),
        outputs=tuple(
            Channel(f"{parameter}@{frequency_hz / 1e9:.9g}GHz{part}", reading.unit, reading.low, math.inf)
            for parameter in settings.antennas.parameters
            for frequency_hz in settings.sweep_hz.tolist()
            for part in parts
        ),
        nominal_pass_s=settings.pass_s,
        resources=frozenset({name}),
        simulated=True,
    )


def _stream(seed: int, stream: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(stream,))


def _build(
    settings: SimulatedMicrowaveSettings, instruments: Mapping[str, Instrument], context: BuildContext
) -> PhysicalLayer:
    """Place the wires; a simulated cavity needs no instrument."""
    del instruments
    layer = SimulatedMicrowaveLayer(settings, context.name, context.clock)
    return with_faults(layer, settings.faults, context.clock)


DRIVER = LayerDriver(SimulatedMicrowaveSettings, _build)
