"""Light modulator, scattering medium or multimode fibre, and camera, as a layer.

Rows are reproducible one by one: noise belongs to (seed, row id, how often that id was measured since `open`), drift
and decorrelation to (seed, row id x time of a pass), and the field comes from matrix products of one fixed shape. A
row's bits therefore depend neither on the other rows of a request nor on its place among them, for one machine and
number of arithmetic threads.
"""

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.capabilities import WrittenParameters, check_parameters
from labctl.contract.chunks import Row, in_chunks
from labctl.contract.clock import Clock
from labctl.contract.disturbances import Bend, MediumChange, Planned
from labctl.contract.driver import BuildContext, Instrument, LayerDriver
from labctl.contract.errors import DriveError, InstrumentError, SettingError, blaming
from labctl.contract.layer import (
    Channel,
    Drives,
    LayerInfo,
    Levels,
    PhysicalLayer,
    Responses,
    RowIds,
    RowStatus,
    Stop,
    check_drives,
)
from labctl_simulators.faults import with_faults
from labctl_simulators.loopback.matrix_file import check_declared, load_matrix
from labctl_simulators.loopback.optics_settings import GaussianMedium, MeasuredMedium, OpticsSettings, UnitaryMedium
from labctl_simulators.loopback.row_noise import RowNoise
from labctl_simulators.physics.drift import SlowDrift
from labctl_simulators.physics.light_path import LightPath, brightness
from labctl_simulators.physics.modulator import Modulator, panel
from labctl_simulators.physics.scattering import (
    BLOCK_ROWS,
    Complex,
    gaussian_medium,
    intensity,
    unitary_medium,
)

_PICTURE_ROWS = 8
"""Rows of the matrix product for one picture: a few are as fast as one, and round as many do."""

_MEDIUM, _LATER_MEDIUM, _DEAD_PIXELS, _DRIFT, _NOISE = range(5)
"""Named random streams below one seed."""


class OpticalLayer:
    """A `PhysicalLayer` and `Differentiable`: intensities behind a linear medium, in camera counts.

    `later` is the light path through what the medium is turning into, `bent` returns that through a fibre of another
    deformation where several were measured. Inputs lie in [0, 1].
    """

    def __init__(
        self,
        settings: OpticsSettings,
        path: LightPath,
        later: LightPath | None,
        info: LayerInfo,
        state_id: str,
        clock: Clock,
        bent: Callable[[int], LightPath] | None = None,
    ) -> None:
        self._settings = settings
        self._path = path
        self._later = later
        self._bent = bent
        self._bends: list[tuple[int, LightPath]] = []
        self._info = info
        self._state_id = state_id
        self._clock = clock
        self._camera = settings.camera.exposed()
        self._drift = SlowDrift(settings.drift, _rng(settings.seed, _DRIFT))
        self._noise = RowNoise(_seed(settings.seed, _NOISE))
        self._open = False
        self._epoch_s = 0.0
        self._passes: Counter[int] = Counter()
        self._bias: NDArray[np.float32] = np.zeros(info.n_inputs, np.float32)

    @property
    def settings(self) -> OpticsSettings:
        """What the rig file says of it."""
        return self._settings

    @property
    def info(self) -> LayerInfo:
        """Describe inputs and camera pixels; valid before `open`."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the medium and everything else that the settings determine (not the folder a matrix lies in)."""
        if not self._bias.any():
            return self._state_id
        return hashlib.sha256(self._state_id.encode() + self._bias.tobytes()).hexdigest()[:12]

    def open(self) -> None:
        """Start counting passes; does nothing when already open."""
        if not self._open:
            self._open = True
            self._epoch_s = time.time() - self._clock.now_s()
            self._passes.clear()

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Answer rows one by one, each taking the time of a pass.

        Raises `DriveError`, before anything is answered, and `InstrumentError` when closed.
        """
        check_drives(self._info, drives, ids)
        self._require_open("measure")
        return in_chunks(self._rows(drives, ids, stop))

    def signals(self, drives: Drives) -> NDArray[np.float64]:
        """Return responses (n, n_outputs) at time zero without noise, drift and the rounding of light."""
        check_drives(self._info, drives, np.arange(len(drives)))
        dark, full = self._camera.dark_level, self._camera.full_scale
        return np.minimum(self._path.signals(self._biased(drives).astype(np.float64)) + dark, full)

    def photograph(self, drives: Drives, exposure: int, time_s: float, *, power: float) -> NDArray[Any]:
        """Return the counts (n_outputs,) of one picture of `drives` (n_inputs,), as virtual instruments take it.

        Noise belongs to the number of the `exposure`, drift and decorrelation to the laboratory time; `power` is the
        light's relative to its own. Without noise, drift and ageing it is what `measure` answers.
        """
        gain = np.float32(power * self._drift.gain(time_s))
        signals = self._behind_medium(drives[np.newaxis], [self._correlation(time_s)], _PICTURE_ROWS) * gain
        values, _ = self._camera.expose(signals, self._noise.normal([exposure], [0], signals.shape[1]))
        return values[0]

    def differentiate(self, drives: Drives, upstream: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the gradient (n, n_inputs) of sum(upstream * `signals`); saturated pixels have none.

        Raises `DriveError` for drives or an upstream that do not fit.
        """
        saturated = self.signals(drives) >= self._camera.full_scale
        if upstream.shape != saturated.shape:
            raise DriveError(
                f"layer '{self._info.name}': the upstream has shape {upstream.shape}, not {saturated.shape}"
            )
        return self._path.gradient(self._biased(drives).astype(np.float64), np.where(saturated, 0.0, upstream))

    def check_disturbance(self, change: MediumChange) -> None:
        """Raise `SettingError` for a change that was not measured of this medium."""
        if not isinstance(change, Bend) or self._bent is None:
            what = f"layer '{self._info.name}' knows no change of its medium of kind {change.kind}"
            raise SettingError(("kind",), f"{what}; a measured medium with several deformations can be bent")
        self._bent(change.deformation)

    def disturb(self, planned: Planned) -> None:
        """Let the fibre be bent otherwise from a row on."""
        if self._bent is not None and isinstance(planned.change, Bend):
            self._bends.append((planned.row, self._bent(planned.change.deformation)))

    def make_safe(self) -> None:
        """Do nothing: no hardware is behind this."""

    def close(self) -> None:
        """Close."""
        self._open = False

    def _require_open(self, command: str) -> None:
        if not self._open:
            raise InstrumentError(self._info.name, "the layer is not open", command=command)

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Row]:
        for first in range(0, len(ids), BLOCK_ROWS):
            if stop.is_set():
                return
            rows = slice(first, first + BLOCK_ROWS)
            row_ids: list[int] = ids[rows].tolist()
            yield from self._frames(row_ids, self._intensities(drives[rows], row_ids), stop)

    def _intensities(self, drives: Drives, row_ids: list[int]) -> NDArray[np.float32]:
        left = [self._correlation(row_id * self._settings.pass_s) for row_id in row_ids]
        shown = self._biased(drives)
        intensities = self._behind_medium(shown, left, BLOCK_ROWS)
        for first_row, path in self._bends:
            late = np.array(row_ids) >= first_row
            if late.any():
                intensities[late] = intensity(path.fields(shown, BLOCK_ROWS))[late]
        return intensities

    def _biased(self, drives: Drives) -> Drives:
        """Return `drives` (n, n_inputs) as they are shown: with the bias, phases adding up modulo one wave."""
        if not self._bias.any():
            return drives
        shown = drives + self._bias
        return np.where(shown > 1.0, shown - np.float32(1.0), shown)

    def _behind_medium(self, drives: Drives, correlations: list[float], block_rows: int) -> NDArray[np.float32]:
        fields = self._path.fields(drives, block_rows)
        if self._later is not None:
            left = np.array(correlations)[:, np.newaxis]
            fields *= left.astype(np.float32)
            fields += np.sqrt(1.0 - left**2).astype(np.float32) * self._later.fields(drives, block_rows)
        return intensity(fields)

    def _correlation(self, time_s: float) -> float:
        decorrelation = self._settings.medium.decorrelation
        if decorrelation is None:
            return 1.0
        return math.exp(-max(0.0, time_s) / decorrelation.time_s)

    def _frames(self, row_ids: list[int], signals: NDArray[np.float32], stop: Stop) -> Iterator[Row]:
        power = np.array([[self._drift.gain(row_id * self._settings.pass_s)] for row_id in row_ids], np.float32)
        noise = self._noise.normal(row_ids, self._repeats(row_ids), signals.shape[1])
        values, saturated = self._camera.expose(signals * power, noise)
        for row_id, frame, share in zip(row_ids, values, saturated.tolist(), strict=True):
            if stop.is_set():
                return
            yield self._frame(row_id, frame, share)

    def _repeats(self, row_ids: list[int]) -> list[int]:
        """Return how often each row will have been measured after its pass: an id may stand several times."""
        ahead: Counter[int] = Counter()
        repeats: list[int] = []
        for row_id in row_ids:
            ahead[row_id] += 1
            repeats.append(self._passes[row_id] + ahead[row_id])
        return repeats

    def _frame(self, row_id: int, values: NDArray[Any], saturated: float) -> Row:
        self._passes[row_id] += 1
        self._clock.sleep_s(self._settings.pass_s)
        overloaded = saturated > self._settings.camera.max_saturated
        status = RowStatus.OVERLOAD if overloaded else RowStatus.OK
        return Row(row_id, values, status, self._epoch_s + self._clock.now_s())


class TunableOpticalLayer(OpticalLayer):
    """One with a phase of its own on every input: a `ParameterSink`."""

    _last_write: WrittenParameters | None = None

    @property
    def parameters(self) -> tuple[Channel, ...]:
        """Describe the bias of every input."""
        return tuple(replace(channel, name=f"bias{k}") for k, channel in enumerate(self.info.inputs))

    @property
    def written(self) -> WrittenParameters:
        """Return the last write; zeros before the first."""
        begin = np.zeros(self.info.n_inputs)
        return self._last_write or WrittenParameters(begin, begin)

    def write_parameters(self, values: NDArray[np.floating]) -> WrittenParameters:
        """Add the nearest levels to `values` (n_inputs,) to whatever is shown. Raises `DriveError`, and when closed."""
        commanded = check_parameters(self.info.name, self.info.n_inputs, values)
        self._require_open("write parameters")
        self._bias = Levels(self.info.inputs).nearest(commanded[None].astype(np.float32))[0]
        self._last_write = WrittenParameters(commanded, self._bias.astype(np.float64))
        return self._last_write


def _seed(seed: int, stream: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(stream,))


def _rng(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(_seed(seed, stream))


def _matrices(medium: GaussianMedium | UnitaryMedium | MeasuredMedium, folder: Path) -> tuple[Complex, Complex | None]:
    """Return the transmission matrix at time zero, and the one it decorrelates towards if it does."""
    if isinstance(medium, MeasuredMedium):
        path = folder / medium.path
        matrix = load_matrix(path, medium.key, medium.deformation)
        check_declared(path, matrix, medium.declared)
        return matrix, None
    now, later = (_drawn(medium, _rng(medium.seed, stream)) for stream in (_MEDIUM, _LATER_MEDIUM))
    return now, later if medium.decorrelation else None


def _drawn(medium: GaussianMedium | UnitaryMedium, rng: np.random.Generator) -> Complex:
    if isinstance(medium, UnitaryMedium):
        return unitary_medium(medium.modes, rng)
    return gaussian_medium(medium.inputs, medium.outputs, rng)


def _layer_info(settings: OpticsSettings, shape: tuple[int, int], name: str) -> LayerInfo:
    n_outputs, n_inputs = shape
    camera = settings.camera.exposed()
    modulator = settings.modulator
    return LayerInfo(
        name=name,
        inputs=tuple(Channel(f"x{k}", modulator.modulation.unit, 0.0, 1.0, modulator.levels) for k in range(n_inputs)),
        outputs=tuple(Channel(f"y{k}", "counts", 0.0, float(camera.full_scale)) for k in range(n_outputs)),
        nominal_pass_s=settings.pass_s,
        resources=frozenset({name}),
        simulated=True,
        response_dtype=camera.dtype.name,
    )


def _build(settings: OpticsSettings, instruments: Mapping[str, Instrument], context: BuildContext) -> PhysicalLayer:
    """Draw or load the medium and expose the camera; the bench needs no instrument of the rig."""
    del instruments
    with blaming("medium"):
        matrix, later = _matrices(settings.medium, context.folder)
    slm, modulation = settings.modulator, settings.modulator.modulation
    modulator = Modulator(slm.levels, modulation.stroke_rad)
    pixels = panel(
        modulator,
        matrix.shape[1],
        fill=slm.fill,
        pixels_per_input=slm.pixels_per_input,
        dead_share=slm.dead,
        rng=_rng(settings.seed, _DEAD_PIXELS),
    )
    bright = brightness(modulator, pixels, matrix, modulation.typical_drive)
    counts = settings.camera.exposed().mean_counts / bright
    described = settings.model_dump_json(exclude={"medium": {"path"}, "faults": True}, exclude_defaults=True)
    digest = hashlib.sha256(described.encode() + matrix.tobytes())

    def bent(deformation: int) -> LightPath:
        assert isinstance(settings.medium, MeasuredMedium)
        other = settings.medium.model_copy(update={"deformation": deformation})
        return LightPath(modulator, pixels, _matrices(other, context.folder)[0], counts)

    several = isinstance(settings.medium, MeasuredMedium) and settings.medium.deformation is not None
    kind = TunableOpticalLayer if settings.tunable_bias else OpticalLayer
    layer = kind(
        settings,
        LightPath(modulator, pixels, matrix, counts),
        None if later is None else LightPath(modulator, pixels, later, counts),
        _layer_info(settings, matrix.shape, context.name),
        digest.hexdigest()[:12],
        context.clock,
        bent if several else None,
    )
    return with_faults(layer, settings.faults, context.clock)


DRIVER = LayerDriver(OpticsSettings, _build)
