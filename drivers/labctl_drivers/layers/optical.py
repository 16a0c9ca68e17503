"""The optical layer: patterns of a modulator in, intensities at a camera's pixels out.

A picture that shows the pattern before is the fault that nobody sees. Therefore a picture that is no different from the
last one, though its pattern is, is never believed: another pattern tells whether the light still follows.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from labctl.contract.calibration import calibration_id
from labctl.contract.capabilities import Calibration, Measured, Reread, WrittenParameters, check_parameters
from labctl.contract.chunks import Row, in_chunks
from labctl.contract.driver import BuildContext, Instrument, LayerDriver, pick_instrument
from labctl.contract.errors import InstrumentError, SettingError, blaming
from labctl.contract.layer import (
    Channel,
    Drives,
    LayerInfo,
    RawSignal,
    Responses,
    RowIds,
    RowStatus,
    Stop,
    check_drives,
)
from labctl.contract.optics import Camera, Frame, FrameError, Image, Modulator, Preparable
from labctl.contract.rereading import require_same_sent
from labctl.contract.switch import Switch
from labctl_drivers.layers.optical_calibration import findings, read_settling_calibration, settling
from labctl_drivers.layers.optical_readout import READ_OUT, DarkSum, OpticalReadout
from labctl_drivers.layers.optical_settings import OpticalSettings
from labctl_drivers.layers.punctuality import Punctuality
from labctl_drivers.layers.step_response import MOST_LAG, StepBench, measure_step

ALIKE = 2.0
"""Pictures that differ by no more than so many times what two pictures of one pattern differ by are alike."""

ATTEMPTS = 3
"""Pictures that belong to no row may be taken again."""

Levels = NDArray[np.uint8]
Real = NDArray[np.float32]
_Seen = tuple[Levels, Real]
"""A pattern and the blocks of its picture."""

_log = logging.getLogger(__name__)


class OpticalLayer:
    """A `PhysicalLayer` on any `Modulator`, `Camera` and, if there is one, a `Switch` for the light."""

    def __init__(
        self,
        settings: OpticalSettings,
        modulator: Modulator,
        camera: Camera,
        light: Switch | None,
        context: BuildContext,
    ) -> None:
        """Raise `SettingError` for blocks that are not there and an exposure that sees a part of a refresh."""
        self._settings = settings
        self._modulator = modulator
        self._camera = camera
        self._light = light
        self._clock = context.clock
        self._calibration = read_settling_calibration(settings, context)
        self._settle_s, self._lag = settling(self._calibration, modulator)
        _check_parts(settings, modulator, camera)
        with blaming("inputs"):
            self._inputs = settings.inputs.blocks(modulator.shape, modulator.name)
        self._readout = OpticalReadout(settings, camera.shape, camera.bits, camera.name)
        self._delivers_raw = False
        self._info = self._describe(context.name)
        self._plane = np.full(modulator.shape, settings.background, np.uint8)
        self._painted: Levels | None = None
        self._bias: Levels = np.zeros(self._inputs.n_blocks, np.uint8)
        self._references = _reference_levels(self._inputs.n_blocks, modulator.levels)
        self._open = False
        self._forget()

    @property
    def info(self) -> LayerInfo:
        """Describe macro-pixels and blocks of the picture; valid before `open`."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the operating point, the instruments, the calibration and the bias."""
        own = self._settings.model_dump_json(exclude={"overlap", "calibration"}, exclude_defaults=True)
        if self._calibration is not None:
            own += calibration_id(self._calibration)
        parts = [own, self._modulator.state_id, self._camera.state_id]
        if self._light is not None:
            parts.append(self._light.state_id)
        if self._bias.any():
            parts.append(self._bias.tobytes().hex())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """Return the type of a pass's picture and of what is needed beside it, see `OpticalReadout`."""
        return self._readout.raw_dtype

    def deliver_raw(self, *, wanted: bool) -> None:
        """Hand over whole pictures with the responses of all measurements begun from now on, or no longer."""
        self._delivers_raw = wanted

    def rereading(self, sender: object) -> Reread:
        """Return how this layer reads the pictures of `sender`. A stale one stays stale, wherever one looks.

        Raises `SettingError` for anything but other blocks, another share of saturated pixels, and no dark pictures.
        """
        if not isinstance(sender, OpticalLayer):
            raise SettingError(("kind",), "what was recorded is of a layer of another kind; expected the one it was")
        require_same_sent(sender._settings, self._settings, READ_OUT)
        taken, dark = sender._settings.dark, self._settings.dark
        if dark is not None and dark != taken:
            were = "none were" if taken is None else f"{taken.frames} every {taken.every_s:g} s were"
            raise SettingError(("dark",), f"of dark pictures {were} taken; expected those or none, or measure anew")
        return lambda raw, _drives: self._readout.read_again(raw)

    def open(self) -> None:
        """Open all instruments, light up, and see whether pictures follow patterns.

        Raises `InstrumentError` and leaves nothing open then; does nothing when already open.
        """
        if self._open:
            return
        try:
            self._modulator.open()
            self._camera.open()
            if self._light is not None:
                self._light.open()
            self._forget()
            self._light_up()
            self._see_whether_pictures_follow()
        except BaseException:
            self.close()
            raise
        self._open = True

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Show, settle, expose and read, row by row; the next pattern is shown while a picture is read.

        A picture that is lost, late or broken makes its row `FAILED`, one that shows what was shown before `STALE`, one
        with too many saturated pixels `OVERLOAD`. Raises `DriveError` before anything is sent, `InstrumentError` after
        everything measured before it has been yielded.
        """
        check_drives(self._info, drives, ids)
        if not self._open:
            raise InstrumentError(self._info.name, "the layer is not open", command="measure")
        if self._behind is not None:
            raise InstrumentError(self._info.name, self._behind, command="measure")
        return in_chunks(self._rows(drives, ids.tolist(), stop))

    def calibrate(self) -> Calibration:
        """Measure how long light takes to settle after a pattern is shown, and how many pictures the camera lags.

        Raises `InstrumentError` when pictures do not follow patterns as they should.
        """
        if not self._open:
            raise InstrumentError(self._info.name, "the layer is not open", command="calibrate")
        self._light_up()
        delay_s = self._camera.expose_s - self._camera.exposure_s
        bench = StepBench(self._step, self._clock.sleep_s, self._blocks_now)
        step = measure_step(bench, self._info.name, delay_s)
        lag = Measured(np.array(float(step.lag)), np.array(0.0), "pictures")
        settle = Measured(np.array(step.settle_s), np.array(step.uncertainty_s), "s")
        return Calibration({"lag": lag, "settle": settle}, findings(step, self._modulator.settle_s))

    def make_safe(self) -> None:
        """Make dark, then show level 0. Raises `InstrumentError` when the light cannot be told."""
        self._lit = False
        if self._light is not None:
            self._light.make_safe()
        self._modulator.make_safe()
        self._shown = None

    def close(self) -> None:
        """Close all instruments, the light first."""
        self._open = False
        if self._light is not None:
            self._light.close()
        self._camera.close()
        self._modulator.close()

    # ------------------------------------------------------------------------------------------------ rows

    def _rows(self, drives: Drives, ids: list[int], stop: Stop) -> Iterator[Row]:
        if not ids or stop.is_set():
            return
        self._light_up()
        levels = self._levels(drives)
        raw_dtype = self.raw_dtype if self._delivers_raw else None
        for place, row_id in enumerate(ids):
            if stop.is_set():
                return
            self._renew_dark_frame()
            following = levels[place + 1] if place + 1 < len(ids) else None
            yield self._pass(row_id, levels[place], following, raw_dtype)

    def _levels(self, drives: Drives) -> Levels:
        """Return the levels (n, n_inputs) that drives are shown as; phases add up modulo one wave."""
        top = self._modulator.levels - 1
        levels = np.rint(drives * np.float32(top)).astype(np.int64)
        biased = levels + self._bias
        return np.where(biased > top, biased - top, biased).astype(np.uint8)

    def _pass(self, row_id: int, levels: Levels, following: Levels | None, raw_dtype: np.dtype[Any] | None) -> Row:
        try:
            self._require_something_seen()
            before = self._seen
            overlaps = self._punctuality.begin_row() and self._settings.overlap
            frame, blocks = self._picture(levels, following if overlaps else None)
            is_stale = self._is_stale(blocks, levels, before)
        except FrameError as error:
            _log.warning("row %d: %s", row_id, error)
            self._seen = None
            values, fault = np.zeros(self._info.n_outputs, self._info.response_dtype), RowStatus.FAILED
            return Row(row_id, values, fault, time.time(), self._raw(raw_dtype, None, fault))
        fault = RowStatus.STALE if is_stale else RowStatus.OK
        values = self._readout.values(frame.image, blocks, self._dark)
        status = fault or self._readout.status(frame.image)
        return Row(row_id, values, status, frame.time_s, self._raw(raw_dtype, frame, fault))

    def _raw(self, dtype: np.dtype[Any] | None, frame: Frame | None, fault: RowStatus) -> RawSignal | None:
        """Return what a row is read out of, zeros for a picture that is not there; None where nobody wants it."""
        if dtype is None:
            return None
        raw = np.zeros((), dtype)
        raw["fault"] = fault
        if frame is not None:
            raw["picture"] = frame.image
            if self._dark_sum is not None:
                raw["dark"] = self._dark_sum
        return raw

    def _picture(self, levels: Levels, following: Levels | None = None) -> tuple[Frame, Real]:
        """Return the picture of a pattern and its blocks; as soon as it is exposed show the `following` one."""
        self._show(levels)
        if following is not None:
            self._prepare(following)
        self._clock.sleep_s(max(0.0, self._shown_s + self._settle_s - self._clock.now_s()))
        for _ in range(self._lag):
            self._camera.expose()
            self._camera.read()
        self._camera.expose()
        exposed_s = self._clock.now_s()
        if following is not None:
            self._show(following)
        frame = self._camera.read()
        self._require_in_time(self._clock.now_s() - exposed_s, is_following_shown=following is not None)
        blocks = self._readout.blocks(frame.image)
        self._seen = levels, blocks
        return frame, blocks

    def _require_in_time(self, waited_s: float, *, is_following_shown: bool) -> None:
        """Raise `FrameError` for a picture that came so late that the pattern after its own may be in it."""
        late_s = self._punctuality.late_s(waited_s)
        if late_s and is_following_shown:
            self._punctuality.be_careful()
            cause = (
                f"the picture came {1e3 * late_s:.0f} ms later than others do, when the next pattern was shown already"
            )
            raise FrameError(self._camera.name, cause, command="read")

    def _show(self, levels: Levels) -> None:
        """Show a pattern, unless it is there."""
        if self._is_shown(levels):
            return
        self._shown = None
        self._modulator.show(self._plane_of(levels))
        self._shown, self._shown_s = levels, self._clock.now_s()

    def _prepare(self, levels: Levels) -> None:
        """Have the next pattern ready for the moment in which it may be shown."""
        if isinstance(self._modulator, Preparable) and not self._is_shown(levels):
            shown, self._shown = self._shown, None  # a modulator that fails shows nothing any more
            self._modulator.prepare(self._plane_of(levels))
            self._shown = shown

    def _is_shown(self, levels: Levels) -> bool:
        return self._shown is not None and np.array_equal(self._shown, levels)

    def _plane_of(self, levels: Levels) -> Levels:
        """Return the modulator's plane (rows, columns) of a pattern, good until the next call."""
        if self._painted is None or not np.array_equal(self._painted, levels):
            self._inputs.paint(levels, self._plane)
            self._painted = levels
        return self._plane

    def _is_stale(self, blocks: Real, levels: Levels, before: _Seen | None) -> bool:
        """Return whether a picture repeats the one before. Raises `InstrumentError` when all now do."""
        if before is None or np.array_equal(before[0], levels) or not self._alike(before[1], blocks):
            return False
        self._require_following(blocks)
        return True

    def _require_something_seen(self) -> None:
        """Take a picture where the last one is not known: a later one that only repeats it must be found out."""
        if self._seen is None:
            self._picture(self._references[0])

    # ------------------------------------------------------------------------------------------------ light

    def _light_up(self) -> None:
        if not self._lit:
            if self._light is not None:
                self._light.switch(on=True)
            self._lit = True

    def _renew_dark_frame(self) -> None:
        """Take dark pictures where they are due."""
        dark, light = self._settings.dark, self._light
        if dark is None or light is None or self._clock.now_s() < self._dark_until_s:
            return
        light.switch(on=False)
        total = np.zeros(self._camera.shape, np.uint32)
        for _ in range(dark.frames):
            total += self._retaken(lambda: self._picture(self._shown_or_rest())[0].image)
        self._seen = None
        light.switch(on=True)
        self._dark, self._dark_sum = self._readout.dark_blocks(total), total
        self._dark_until_s = self._clock.now_s() + dark.every_s

    def _shown_or_rest(self) -> Levels:
        return np.zeros(self._info.n_inputs, np.uint8) if self._shown is None else self._shown

    # ------------------------------------------------------------------------------------------------ following

    def _see_whether_pictures_follow(self) -> None:
        """Learn by how much two pictures of one pattern differ, and after how many pictures another one is seen.

        Raises `InstrumentError` when it is never seen; when it is seen late nothing can be measured, only calibrated.
        """
        one, other = self._references
        self._blocks_of(one)
        before = [self._blocks_now() for _ in range(MOST_LAG)][-2:]
        self._unrest = _rms(before[1] - before[0])
        pictures = [self._blocks_of(other), *(self._blocks_now() for _ in range(MOST_LAG))]
        if self._alike(pictures[-1], before[1]):
            raise self._not_following()
        self._seen = other, pictures[-1]
        late = next(place for place, picture in enumerate(pictures) if self._alike(picture, pictures[-1]))
        self._behind = None
        if late:
            self._behind = (
                f"a pattern is first seen in picture {late + 1} after its settling of {self._settle_s * 1e3:g} ms: "
                "let labctl calibrate measure settling and lag"
            )
            _log.warning("%s: %s", self._info.name, self._behind)

    def _require_following(self, blocks: Real) -> None:
        """Show other patterns than the last and raise `InstrumentError` if all of their pictures are like `blocks`."""
        for reference in self._references * ATTEMPTS:
            if not self._alike(blocks, self._blocks_of(reference)):
                return
        raise self._not_following()

    def _not_following(self) -> InstrumentError:
        return InstrumentError(
            self._info.name,
            f"pictures of '{self._camera.name}' do not follow the patterns of '{self._modulator.name}': is the window "
            "covered, the display asleep, the light off, the region beside the light?",
            command="compare two patterns",
        )

    def _alike(self, one: Real, other: Real) -> bool:
        return _rms(one - other) <= ALIKE * self._unrest

    def _blocks_of(self, levels: Levels) -> Real:
        """Return the blocks of a pattern's picture that belongs to no row."""
        return self._readout.blocks(self._retaken(lambda: self._picture(levels)[0].image))

    def _blocks_now(self) -> Real:
        """Return the blocks of one picture of whatever is there."""
        return self._readout.blocks(self._retaken(self._take_now))

    def _take_now(self) -> Image:
        self._seen = None
        self._camera.expose()
        return self._camera.read().image

    def _retaken(self, take: Callable[[], Image]) -> Image:
        """Return a picture; one that fails is taken again."""
        for _ in range(ATTEMPTS - 1):
            try:
                return take()
            except FrameError as error:
                _log.warning("%s; once more", error)
        return take()

    def _step(self, which: Literal["first", "second"]) -> float:
        """Show a reference pattern and return how long that took."""
        begin_s = self._clock.now_s()
        self._show(self._references[0 if which == "first" else 1])
        return self._clock.now_s() - begin_s

    def _forget(self) -> None:
        """Forget what was shown and seen."""
        self._lit = False
        self._unrest = 0.0
        self._behind: str | None = None
        self._shown: Levels | None = None
        self._shown_s = float("-inf")
        self._seen: _Seen | None = None
        self._dark: Real | None = None
        self._dark_sum: DarkSum | None = None
        self._dark_until_s = float("-inf")
        self._punctuality = Punctuality(self._camera.exposure_s)

    def _input_channels(self, letter: str) -> tuple[Channel, ...]:
        unit, levels = self._settings.modulation.unit, self._modulator.levels
        return tuple(Channel(f"{letter}{k}", unit, 0.0, 1.0, levels) for k in range(self._inputs.n_blocks))

    def _describe(self, name: str) -> LayerInfo:
        modulator, camera = self._modulator, self._camera
        parts = [modulator, camera, *([] if self._light is None else [self._light])]
        low, full_scale = self._readout.low, float(self._readout.full_scale)
        return LayerInfo(
            name=name,
            inputs=self._input_channels("x"),
            outputs=tuple(Channel(f"y{k}", "counts", low, full_scale) for k in range(self._readout.outputs.n_blocks)),
            nominal_pass_s=self._settle_s + (1 + self._lag) * camera.expose_s,
            resources=frozenset(part.name for part in parts),
            simulated=all(part.simulated for part in parts),
            response_dtype=self._readout.response_dtype,
        )


class TunableOpticalLayer(OpticalLayer):
    """An optical layer with a phase of its own on every macro-pixel: a `ParameterSink`."""

    def __init__(
        self,
        settings: OpticalSettings,
        modulator: Modulator,
        camera: Camera,
        light: Switch | None,
        context: BuildContext,
    ) -> None:
        super().__init__(settings, modulator, camera, light, context)
        self._parameters = self._input_channels("bias")
        begin = np.zeros(self._inputs.n_blocks)
        self._written = WrittenParameters(begin, begin)

    @property
    def parameters(self) -> tuple[Channel, ...]:
        """Describe the bias of every macro-pixel."""
        return self._parameters

    @property
    def written(self) -> WrittenParameters:
        """Return the last write; zeros before the first."""
        return self._written

    def write_parameters(self, values: NDArray[np.floating]) -> WrittenParameters:
        """Add the nearest levels to `values` (n_inputs,) to whatever is shown from now on, modulo one wave.

        Raises `DriveError` for values out of range. Nothing is sent before the next pattern, which settles as any.
        """
        commanded = check_parameters(self.info.name, self.info.n_inputs, values)
        if not self._open:
            raise InstrumentError(self.info.name, "the layer is not open", command="write parameters")
        top = self._modulator.levels - 1
        self._bias = np.rint(commanded * top).astype(np.uint8)
        self._written = WrittenParameters(commanded, self._bias / top)
        return self._written


def _rms(difference: Real) -> float:
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


def _reference_levels(n_inputs: int, levels: int) -> tuple[Levels, Levels]:
    """Return two patterns of level 0 and half the range, drawn independently.

    Not a pattern and its inverse: on a phase modulator those may differ by a phase of the whole, which nobody sees.
    """
    halves = np.random.default_rng(0).integers(0, 2, size=(2, n_inputs), dtype=np.uint8) * np.uint8(levels // 2)
    if n_inputs == 1:
        halves[:, 0] = 0, levels // 2
    return halves[0], halves[1]


def _check_parts(settings: OpticalSettings, modulator: Modulator, camera: Camera) -> None:
    if settings.background >= modulator.levels:
        raise SettingError(("background",), f"background: '{modulator.name}' has levels 0 to {modulator.levels - 1}")
    if camera.exposure_s < modulator.frame_s * (1 - 1e-6):
        raise SettingError(
            ("camera",),
            f"'{camera.name}' exposes for {camera.exposure_s * 1e3:g} ms, shorter than the "
            f"{modulator.frame_s * 1e3:.4g} ms in which '{modulator.name}' is refreshed: expose for a multiple of that",
        )


def _build(settings: OpticalSettings, instruments: Mapping[str, Instrument], context: BuildContext) -> OpticalLayer:
    modulator = pick_instrument(instruments, settings.modulator, Modulator, context.name, at=("modulator",))
    camera = pick_instrument(instruments, settings.camera, Camera, context.name, at=("camera",))
    light = None
    if settings.light is not None:
        light = pick_instrument(instruments, settings.light, Switch, context.name, at=("light",))
    kind = TunableOpticalLayer if settings.tunable_bias else OpticalLayer
    return kind(settings, modulator, camera, light, context)


DRIVER = LayerDriver(OpticalSettings, _build)
