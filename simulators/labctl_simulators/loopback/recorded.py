"""A layer that answers as a recorded system would: a surrogate fitted to measured drive and response pairs.

Rows are computed one at a time and noise belongs to (seed, row id, how often that id was measured since `open`), so a
row's numbers depend neither on its neighbours nor on a restart.
"""

import hashlib
import logging
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.chunks import Row, in_chunks
from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, Instrument, LayerDriver, Settings
from labctl.contract.errors import DriveError, InstrumentError, SettingError
from labctl.contract.layer import (
    Channel,
    Drives,
    LayerInfo,
    Misfit,
    PhysicalLayer,
    Responses,
    RowIds,
    RowStatus,
    Stop,
    check_drives,
)
from labctl.contract.units import Decibel, Seconds
from labctl_simulators.faults import FaultPlan, with_faults
from labctl_simulators.physics.surrogate import Surrogate, Thresholds, fit_surrogate

Real = NDArray[np.float64]

_log = logging.getLogger(__name__)


class RecordingKeys(Settings):
    """Names of the arrays in the file: drives (n, n_inputs) and responses (n, n_outputs)."""

    drives: str = "x"
    responses: str = "y"


class RecordedSettings(Settings):
    """Recorded pairs in an .npz file, and what of them counts as a signal (see `Thresholds`).

    `noise` adds each channel's held-out residual on every pass. Inputs and outputs without signal are dropped.
    """

    path: Path
    keys: RecordingKeys = RecordingKeys()
    weakest_output_db: Annotated[Decibel, Field(le=0)] = Field(alias="weakest_output", default=-30.0)
    least_r2: float = Field(default=0.9, gt=0, lt=1)
    least_input_share: float = Field(default=0.0005, ge=0, lt=1)
    holdout_fraction: float = Field(default=0.2, gt=0, lt=0.5)
    noise: bool = True
    seed: int = Field(ge=0)
    pass_s: Annotated[Seconds, Field(gt=0)] = Field(alias="pass")
    faults: FaultPlan | None = Field(default=None, description="faults on purpose, to rehearse a bad night")


class RecordedLayer:
    """A `PhysicalLayer` that replays the behaviour of a recorded one.

    `surrogate` states per channel what the model is worth. A prediction plus noise may fall below zero where the
    response is near zero; it is left there, since cutting it off would bias the mean.
    """

    def __init__(self, settings: RecordedSettings, surrogate: Surrogate, digest: str, name: str, clock: Clock) -> None:
        self.surrogate = surrogate
        self._settings = settings
        self._clock = clock
        described = settings.model_dump_json(exclude={"path", "faults"}, exclude_defaults=True)
        self._state_id = hashlib.sha256((described + digest).encode()).hexdigest()[:12]
        self._info = _layer_info(surrogate, name, settings.pass_s)
        self._open = False
        self._epoch_s = 0.0
        self._passes: Counter[int] = Counter()

    @property
    def info(self) -> LayerInfo:
        """Describe the live inputs and outputs; valid before `open`."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the recordings and settings (not the folder the recordings lie in)."""
        return self._state_id

    def open(self) -> None:
        """Start counting passes; does nothing when already open."""
        if not self._open:
            self._open = True
            self._epoch_s = time.time() - self._clock.now_s()
            self._passes.clear()

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Answer rows one by one, each taking the nominal time of a pass.

        Raises `DriveError`, before anything is answered, for drives outside the recorded domain: the range of each
        input, or the range of the vector's norm. Raises `InstrumentError` when closed.
        """
        check_drives(self._info, drives, ids)
        misfit = self.misfit(drives)
        if misfit is not None:
            raise DriveError(f"layer '{self._info.name}', row id {ids[misfit.row]}: {misfit.what}")
        if not self._open:
            raise InstrumentError(self._info.name, "the layer is not open", command="measure")
        return in_chunks(self._rows(drives, ids, stop))

    def misfit(self, drives: Drives) -> Misfit | None:
        """Return the first of `drives` whose norm was not recorded."""
        low, high = self.surrogate.norm_range
        norms = np.linalg.norm(drives.astype(np.float64), axis=1)
        # The recorded norms were computed with another memory layout, hence with another rounding of the last place.
        outside = np.flatnonzero((norms < low * (1.0 - 1e-12)) | (norms > high * (1.0 + 1e-12)))
        if not outside.size:
            return None
        what = f"a drive of norm {norms[outside[0]]:.4g} lies outside what was recorded, {low:.4g} to {high:.4g}"
        return Misfit(int(outside[0]), None, f"{what}; the surrogate would have to guess")

    def make_safe(self) -> None:
        """Do nothing: no hardware is behind the recordings."""

    def close(self) -> None:
        """Close."""
        self._open = False

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Row]:
        for row_id, drive in zip(ids.tolist(), drives.astype(np.float64), strict=True):
            if stop.is_set():
                return
            yield self._answer(row_id, drive)

    def _answer(self, row_id: int, drive: Real) -> Row:
        values = self.surrogate.predict(drive)
        self._passes[row_id] += 1
        if self._settings.noise:
            # A row id is any int64; a spawn key holds unsigned words.
            key = (row_id % 2**64, self._passes[row_id])
            rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(self._settings.seed, spawn_key=key)))
            values = values + self.surrogate.residual * rng.standard_normal(len(values))
        self._clock.sleep_s(self._settings.pass_s)
        return Row(row_id, values.astype(np.float32), RowStatus.OK, self._epoch_s + self._clock.now_s())


def _layer_info(surrogate: Surrogate, name: str, pass_s: float) -> LayerInfo:
    bounds = zip(surrogate.inputs.tolist(), surrogate.low.tolist(), surrogate.high.tolist(), strict=True)
    return LayerInfo(
        name=name,
        inputs=tuple(Channel(f"x{index}", "as recorded", low, high) for index, low, high in bounds),
        outputs=tuple(Channel(f"y{index}", "as recorded", -np.inf, np.inf) for index in surrogate.outputs.tolist()),
        nominal_pass_s=pass_s,
        resources=frozenset({name}),
        simulated=True,
    )


def load_pairs(path: Path, keys: RecordingKeys) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return drives (n, n_inputs) and responses (n, n_outputs). Raises `SettingError` at `path` or `keys`."""
    try:
        with path.open("rb") as file, np.load(file) as archive:
            present = ", ".join(archive) or "nothing"
            arrays = {role: np.asarray(archive[key]) for role, key in keys if key in archive}
    except FileNotFoundError as error:
        raise SettingError(
            ("path",), f"{path}: no such file; name the .npz file of recorded pairs as `path`"
        ) from error
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise SettingError(("path",), f"{path}: not a readable .npz file ({error}); copy it again") from error
    for role, key in keys:
        array = arrays.get(role)
        if array is None:
            raise SettingError(("keys", role), f"{path}: there is no array '{key}'; the file holds {present}")
        if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
            what = f"{path}: '{key}' must be a table of numbers, not {array.dtype} of shape {array.shape}"
            raise SettingError(("keys", role), what)
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0].tolist()
            what = f"{path}: '{key}' is not a finite number at row {row}, column {column}; leave that pair out"
            raise SettingError(("path",), what)
    drives, responses = arrays["drives"], arrays["responses"]
    if len(drives) != len(responses):
        what = f"{path}: {len(drives)} drives but {len(responses)} responses; they must be pairs"
        raise SettingError(("path",), what)
    return drives.astype(np.float32), responses.astype(np.float32)


def _report(layer: RecordedLayer) -> None:
    fitted = layer.surrogate
    channels = zip(layer.info.outputs, fitted.r2, fitted.residual, fitted.rooted, strict=True)
    for channel, r2, residual, rooted in channels:
        model = "root of a quadratic form" if rooted else "quadratic form"
        _log.info("%s %s: held-out R2 %.4f, residual %.3g (%s)", layer.info.name, channel.name, r2, residual, model)
    for index in sorted(set(range(len(fitted.held))) - set(fitted.inputs.tolist())):
        _log.info("%s x%d carries no signal, held at %.3g", layer.info.name, index, fitted.held[index])


def _build(settings: RecordedSettings, instruments: Mapping[str, Instrument], context: BuildContext) -> PhysicalLayer:
    """Load and fit; a surrogate needs no instrument."""
    del instruments
    path = context.folder / settings.path
    drives, responses = load_pairs(path, settings.keys)
    thresholds = Thresholds(settings.weakest_output_db, settings.least_r2, settings.least_input_share)
    rng = np.random.default_rng(np.random.SeedSequence(settings.seed))
    try:
        surrogate = fit_surrogate(
            drives.astype(np.float64),
            responses.astype(np.float64),
            thresholds=thresholds,
            holdout_fraction=settings.holdout_fraction,
            rng=rng,
        )
    except ValueError as error:
        raise SettingError(("path",), f"{path}: {error}") from error
    digest = hashlib.sha256(drives.tobytes() + responses.tobytes()).hexdigest()
    layer = RecordedLayer(settings, surrogate, digest, context.name, context.clock)
    _report(layer)
    return with_faults(layer, settings.faults, context.clock)


DRIVER = LayerDriver(RecordedSettings, _build)
