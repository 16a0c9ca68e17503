"""The acoustic layer: tone amplitudes at loudspeakers in, tone amplitudes at microphones out."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.audio import AudioInterface, Burst, Samples
from labctl.contract.calibration import calibration_id, read_calibration
from labctl.contract.capabilities import Calibration, Finding, Reread
from labctl.contract.chunks import Row, in_chunks
from labctl.contract.driver import BuildContext, Instrument, LayerDriver, Settings, pick_instrument
from labctl.contract.errors import InstrumentError, SettingError
from labctl.contract.layer import (
    Channel,
    Drives,
    LayerInfo,
    RawSignal,
    Responses,
    ResponseValues,
    RowIds,
    RowStatus,
    Stop,
    check_drives,
)
from labctl.contract.rereading import require_same_sent
from labctl.contract.switch import Switch
from labctl.contract.units import Decibel, DecibelFullScale, Hertz, Seconds
from labctl_drivers.layers.acoustic_calibration import Bench, calibrate, look_for_carry_over
from labctl_drivers.layers.multitone import Complex, Phases, burst_timing, multitone

Readout = Literal["amplitude", "complex", "power"]

CLIP_LEVEL = 0.99
"""A sample beyond this fraction of full scale marks its row as clipped."""

LARGEST_AMPLITUDE = 4.0 / math.pi
"""Amplitude of the fundamental of a full-scale square wave: no recording within full scale holds a larger tone."""


READ_OUT = ("settle_s", "window_s", "averages", "readout", "calibration", "low_signal_dbfs")
"""Settings that a recording can be read out by in another way. What is sent follows from all the others, and from
settle and window how long it sounds."""


class AcousticSettings(Settings):
    """Bursts of tones, one amplitude per loudspeaker and tone, read out at every microphone.

    Inputs are speaker x tone, 0 to 1, where 1 is the amplitude at which all tones of a speaker together cannot exceed
    `level`, counted from the speaker's own maximum; with `polarity: signed` -1 to 1, where a negative drive is the tone
    in opposite phase. Outputs are microphone x tone in digital full scale.
    """

    interface: str
    tones_hz: tuple[Annotated[Hertz, Field(gt=0)], ...] = Field(alias="tones", min_length=1)
    order: Literal["speaker-major"] = "speaker-major"
    phases: Phases = "schroeder"
    settle_s: Annotated[Seconds, Field(gt=0)] = Field(alias="settle")
    window_s: Annotated[Seconds, Field(gt=0)] = Field(alias="window")
    gap_s: Annotated[Seconds, Field(gt=0)] = Field(alias="gap")
    averages: int = Field(default=1, ge=1)
    readout: Readout = "amplitude"
    polarity: Literal["positive", "signed"] = "positive"
    level_db: Annotated[Decibel, Field(le=0)] = Field(alias="level", default=0.0)
    amplifier: str | None = Field(
        default=None,
        description="switch of the amplifiers' power: on while it is measured, off when all is to be safe",
    )
    calibration: str | None = Field(
        default=None,
        description="file that `labctl calibrate` wrote of it: responses are divided by the microphones' gains in it",
    )
    low_signal_dbfs: Annotated[DecibelFullScale, Field(le=0)] | None = Field(
        alias="low_signal",
        default=None,
        description="a row fails in which the tones at a microphone are together below this, unless nothing is played",
    )


class AcousticLayer:
    """A `PhysicalLayer` on any `AudioInterface`. One pass is one burst."""

    def __init__(
        self,
        settings: AcousticSettings,
        interface: AudioInterface,
        name: str,
        calibration: Calibration | None = None,
        amplifier: Switch | None = None,
    ) -> None:
        """Raise `SettingError` for tones, times or a calibration that do not fit the interface or one another."""
        self._settings = settings
        self._interface = interface
        self._amplifier = amplifier
        self._is_powered = False
        self._delivers_raw = False
        timing = burst_timing(
            interface.samplerate_hz,
            settle_s=settings.settle_s,
            window_s=settings.window_s,
            gap_s=settings.gap_s,
            averages=settings.averages,
        )
        self._multitone = multitone(settings.tones_hz, timing, settings.phases)
        self._full_drive = _full_drive(settings, interface)
        self._calibration = calibration
        self._gains = _gains(calibration, interface)
        resources = frozenset(each.name for each in (interface, amplifier) if each is not None)
        self._info = _layer_info(settings, interface, name, timing.duration_s, self._gains, resources)

    @property
    def info(self) -> LayerInfo:
        """Describe the layer; valid before `open`."""
        return self._info

    @property
    def raw_dtype(self) -> np.dtype[Any]:
        """Return the type of what is recorded of a burst, from its first sample to the end of its gap.

        `samples` (n_microphones, n_samples) in full scale, `late` as of a `Recording`.
        """
        form = len(self._interface.inputs), self._multitone.timing.n_samples
        return np.dtype([("samples", "<f4", form), ("late", "<f8")])

    def deliver_raw(self, *, wanted: bool) -> None:
        """Hand over whole recordings with the responses of all measurements begun from now on, or no longer."""
        self._delivers_raw = wanted

    def rereading(self, sender: object) -> Reread:
        """Return how this layer reads the recordings of `sender`. Phase zero stays the tone as it was played then.

        Raises `SettingError` for another burst, and for a window that is open when the tones fade out.
        """
        if not isinstance(sender, AcousticLayer):
            raise SettingError(("kind",), "what was recorded is of a layer of another kind; expected the one it was")
        require_same_sent(sender._settings, self._settings, READ_OUT)
        timing, sent = self._multitone.timing, sender._multitone.timing
        if timing.analysed.stop > sent.analysed.stop:
            ends_ms, until_ms = (1e3 * each.analysed.stop / each.samplerate_hz for each in (timing, sent))
            what = f"what is analysed ends {ends_ms:g} ms after the beginning of a burst, whose tones were played until"
            raise SettingError(("window",), f"{what} {until_ms:g} ms; expected a shorter settle or window")
        shift = sent.settle - timing.settle

        def reread(raw: RawSignal, drives: Drives) -> tuple[ResponseValues, NDArray[np.uint8]]:
            lates = raw["late"] + shift
            heard = [
                self._heard(samples.T, late, silent=not drive.any())
                for samples, late, drive in zip(raw["samples"], lates.tolist(), drives, strict=True)
            ]
            return np.stack([values for values, _ in heard]), np.array([status for _, status in heard], np.uint8)

        return reread

    @property
    def state_id(self) -> str:
        """Name the burst design together with the interface's own state."""
        # Settings left at their defaults are not in the name, so that a new one does not rename what exists.
        text = self._settings.model_dump_json(exclude_defaults=True, exclude={"amplifier", "calibration"})
        text += self._interface.state_id
        if self._calibration is not None:
            text += calibration_id(self._calibration)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def open(self) -> None:
        """Open the interface, then switch the amplifiers on. Raises `InstrumentError` and leaves nothing open then."""
        self._interface.open()
        try:
            if self._amplifier is not None:
                self._amplifier.open()
            self._power_up()
        except BaseException:
            with suppress(InstrumentError):
                self.make_safe()
            self.close()
            raise

    def calibrate(self) -> Calibration:
        """Measure how speakers are heard, what is dead or on a node, and carry-over. Raises `InstrumentError`."""
        self._power_up()
        return calibrate(self._bench())

    def health(self) -> tuple[Finding, ...]:
        """Play one burst and silence after it, and say what is left of it there. Raises `InstrumentError`."""
        self._power_up()
        return (look_for_carry_over(self._bench()),)

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Play one burst per row, back to back, and yield rows as they come: each at once, or in groups if they fly.

        When `stop` is set, the bursts already pulled by the interface are still played and yielded. Raises `DriveError`
        before anything is played, `InstrumentError` after everything measured before it has been yielded.
        """
        check_drives(self._info, drives, ids)
        if len(ids):
            self._power_up()
        return in_chunks(self._rows(drives, ids, stop))

    def make_safe(self) -> None:
        """Mute the interface, then switch the amplifiers off. Raises `InstrumentError` when these cannot be told."""
        self._interface.make_safe()
        self._is_powered = False
        if self._amplifier is not None:
            self._amplifier.make_safe()

    def close(self) -> None:
        """Switch the amplifiers off by closing their switch, and close the interface."""
        self._is_powered = False
        if self._amplifier is not None:
            self._amplifier.close()
        self._interface.close()

    def _bench(self) -> Bench:
        return Bench(self._interface, self._multitone, self._full_drive)

    def _power_up(self) -> None:
        """Switch the amplifiers on, unless they are: while nothing is played, so that nothing is heard of it."""
        if self._amplifier is not None and not self._is_powered:
            self._amplifier.switch(on=True)
        self._is_powered = True

    def _bursts(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Burst]:
        for row_id, drive in zip(ids.tolist(), drives, strict=True):
            if stop.is_set():
                return
            amplitudes = drive.reshape(self._full_drive.shape[0], -1) * self._full_drive
            yield Burst(row_id, self._multitone.synthesise(amplitudes))

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Row]:
        played = iter(drives)  # recordings come in the order of their bursts
        raw_dtype = self.raw_dtype if self._delivers_raw else None
        for recording in self._interface.exchange(self._bursts(drives, ids, stop)):
            values, status = self._heard(recording.samples, recording.late, silent=not next(played).any())
            if recording.xrun:
                status = RowStatus.XRUN
            elif recording.stale:
                status = RowStatus.STALE
            raw = None if raw_dtype is None else np.array((recording.samples.T, recording.late), raw_dtype)
            yield Row(recording.id, values, status, recording.time_s, raw)

    def _heard(self, samples: Samples, late: float, *, silent: bool) -> tuple[ResponseValues, RowStatus]:
        """Return responses (n_outputs,) and status of samples (n_samples, n_microphones); `silent`: nothing sent."""
        phasors = self._multitone.analyse(samples, late=late)
        status = self._status(samples, phasors, silent=silent)
        if self._gains is not None:
            phasors = phasors / self._gains[:, None]
        return read_out(phasors, self._settings.readout), status

    def _status(self, samples: Samples, phasors: Complex, *, silent: bool) -> RowStatus:
        analysed: Samples = samples[self._multitone.timing.analysed]
        if max(analysed.max(), -analysed.min()) > CLIP_LEVEL:
            return RowStatus.CLIPPED
        least = self._settings.low_signal_dbfs
        if least is None or silent:
            return RowStatus.OK
        # The level of a full-scale sine is 0 dBFS.
        weakest = np.sqrt((np.abs(phasors) ** 2).sum(axis=1)).min()
        return RowStatus.FAILED if weakest < 10.0 ** (least / 20.0) else RowStatus.OK


def read_out(phasors: Complex, readout: Readout) -> NDArray[np.float32]:
    """Return responses (n_outputs,) of phasors (n_microphones, n_tones).

    `amplitude` and `power` (its square) have one value per phasor, `complex` two: real part, imaginary part.
    """
    if readout == "complex":
        return np.stack([phasors.real, phasors.imag], axis=-1).reshape(-1).astype(np.float32)
    amplitude = np.abs(phasors).reshape(-1)
    return (amplitude if readout == "amplitude" else amplitude**2).astype(np.float32)


def _gains(calibration: Calibration | None, interface: AudioInterface) -> NDArray[np.float64] | None:
    """Return the gains (n_microphones,) to divide by. Raises `SettingError` for a calibration of something else."""
    if calibration is None:
        return None
    found = calibration.quantities.get("gain")
    if found is None or found.value.shape != (len(interface.inputs),) or "carry_over" not in calibration.quantities:
        raise SettingError(("calibration",), f"it is of no acoustic layer with {len(interface.inputs)} microphones")
    for name, gain, uncertainty in zip(interface.inputs, found.value.tolist(), found.uncertainty.tolist(), strict=True):
        if not gain > 3.0 * uncertainty:
            raise SettingError(("calibration",), f"{name} was dead when it was made; mend it and calibrate again")
    return found.value


def _full_drive(settings: AcousticSettings, interface: AudioInterface) -> NDArray[np.float32]:
    """Return the amplitude of a tone at drive 1, (n_speakers, 1) in full scale: the level shared by all tones."""
    maxima = np.array([speaker.max_level for speaker in interface.outputs])
    peaks = maxima * 10.0 ** (settings.level_db / 20.0)
    return (peaks[:, None] / len(settings.tones_hz)).astype(np.float32)


def _layer_info(
    settings: AcousticSettings,
    interface: AudioInterface,
    name: str,
    pass_s: float,
    gains: NDArray[np.float64] | None,
    resources: frozenset[str],
) -> LayerInfo:
    tones = [f"{tone_hz:g} Hz" for tone_hz in settings.tones_hz]
    lowest = -1.0 if settings.polarity == "signed" else 0.0
    drives = [f"{speaker.name} {tone}" for speaker in interface.outputs for tone in tones]
    unit, largest = ("FS", np.full(len(interface.inputs), LARGEST_AMPLITUDE))
    if gains is not None:
        unit, largest = "of gain", LARGEST_AMPLITUDE / gains
    heard = [
        (f"{microphone} {tone}", peak)
        for microphone, peak in zip(interface.inputs, largest.tolist(), strict=True)
        for tone in tones
    ]
    return LayerInfo(
        name=name,
        inputs=tuple(Channel(drive, "of full drive", lowest, 1.0) for drive in drives),
        outputs=tuple(
            channel for each, peak in heard for channel in _readout_channels(each, settings.readout, unit, peak)
        ),
        nominal_pass_s=pass_s,
        resources=resources,
        simulated=interface.simulated,
    )


def _readout_channels(name: str, readout: Readout, unit: str, largest: float) -> tuple[Channel, ...]:
    if readout == "amplitude":
        return (Channel(name, unit, 0.0, largest),)
    if readout == "power":
        return (Channel(name, f"{unit}²", 0.0, largest**2),)
    return tuple(Channel(f"{name} {part}", unit, -largest, largest) for part in ("re", "im"))


def _build(settings: AcousticSettings, instruments: Mapping[str, Instrument], context: BuildContext) -> AcousticLayer:
    interface = pick_instrument(instruments, settings.interface, AudioInterface, context.name, at=("interface",))
    calibration = None if settings.calibration is None else read_calibration(context.folder / settings.calibration)
    amplifier = None
    if settings.amplifier is not None:
        amplifier = pick_instrument(instruments, settings.amplifier, Switch, context.name, at=("amplifier",))
    return AcousticLayer(settings, interface, context.name, calibration, amplifier)


DRIVER = LayerDriver(AcousticSettings, _build)
