"""The acoustic layer: tone amplitudes at loudspeakers in, tone amplitudes at microphones out."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.audio import AudioInterface, Burst, Recording, Samples
from labctl.contract.chunks import Row, in_chunks
from labctl.contract.driver import BuildContext, Instrument, LayerDriver, Settings, pick_instrument
from labctl.contract.layer import Channel, Drives, LayerInfo, Responses, RowIds, RowStatus, Stop, check_drives
from labctl.contract.units import Decibel, DecibelFullScale, Hertz, Seconds
from labctl_drivers.layers.multitone import Complex, Phases, burst_timing, multitone

Readout = Literal["amplitude", "complex", "power"]

CLIP_LEVEL = 0.99
"""A sample beyond this fraction of full scale marks its row as clipped."""

LARGEST_AMPLITUDE = 4.0 / math.pi
"""Amplitude of the fundamental of a full-scale square wave: no recording within full scale holds a larger tone."""


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
    low_signal_dbfs: Annotated[DecibelFullScale, Field(le=0)] | None = Field(
        alias="low_signal",
        default=None,
        description="a row fails in which the tones at a microphone are together below this, unless nothing is played",
    )


class AcousticLayer:
    """A `PhysicalLayer` on any `AudioInterface`. One pass is one burst."""

    def __init__(self, settings: AcousticSettings, interface: AudioInterface, name: str) -> None:
        """Raise `SettingError` for tones or times that do not fit the interface or one another."""
        self._settings = settings
        self._interface = interface
        timing = burst_timing(
            interface.samplerate_hz,
            settle_s=settings.settle_s,
            window_s=settings.window_s,
            gap_s=settings.gap_s,
            averages=settings.averages,
        )
        self._multitone = multitone(settings.tones_hz, timing, settings.phases)
        self._full_drive = _full_drive(settings, interface)
        self._info = _layer_info(settings, interface, name, timing.duration_s)

    @property
    def info(self) -> LayerInfo:
        """Describe the layer; valid before `open`."""
        return self._info

    @property
    def state_id(self) -> str:
        """Name the burst design together with the interface's own state."""
        # Settings left at their defaults are not in the name, so that a new one does not rename what exists.
        text = self._settings.model_dump_json(exclude_defaults=True) + self._interface.state_id
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def open(self) -> None:
        """Open the interface. Raises `InstrumentError`."""
        self._interface.open()

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Play one burst per row, back to back, and yield rows as they come: each at once, or in groups if they fly.

        When `stop` is set, the bursts already pulled by the interface are still played and yielded. Raises `DriveError`
        before anything is played, `InstrumentError` after everything measured before it has been yielded.
        """
        check_drives(self._info, drives, ids)
        return in_chunks(self._rows(drives, ids, stop))

    def make_safe(self) -> None:
        """Mute the interface."""
        self._interface.make_safe()

    def close(self) -> None:
        """Close the interface."""
        self._interface.close()

    def _bursts(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Burst]:
        for row_id, drive in zip(ids.tolist(), drives, strict=True):
            if stop.is_set():
                return
            amplitudes = drive.reshape(self._full_drive.shape[0], -1) * self._full_drive
            yield Burst(row_id, self._multitone.synthesise(amplitudes))

    def _rows(self, drives: Drives, ids: RowIds, stop: Stop) -> Iterator[Row]:
        played = iter(drives)  # recordings come in the order of their bursts
        for recording in self._interface.exchange(self._bursts(drives, ids, stop)):
            phasors = self._multitone.analyse(recording.samples, late=recording.late)
            status = self._status(recording, phasors, silent=not next(played).any())
            yield Row(recording.id, read_out(phasors, self._settings.readout), status, recording.time_s)

    def _status(self, recording: Recording, phasors: Complex, *, silent: bool) -> RowStatus:
        if recording.xrun:
            return RowStatus.XRUN
        if recording.stale:
            return RowStatus.STALE
        analysed: Samples = recording.samples[self._multitone.timing.analysed]
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


def _full_drive(settings: AcousticSettings, interface: AudioInterface) -> NDArray[np.float32]:
    """Return the amplitude of a tone at drive 1, (n_speakers, 1) in full scale: the level shared by all tones."""
    maxima = np.array([speaker.max_level for speaker in interface.outputs])
    peaks = maxima * 10.0 ** (settings.level_db / 20.0)
    return (peaks[:, None] / len(settings.tones_hz)).astype(np.float32)


def _layer_info(settings: AcousticSettings, interface: AudioInterface, name: str, pass_s: float) -> LayerInfo:
    tones = [f"{tone_hz:g} Hz" for tone_hz in settings.tones_hz]
    lowest = -1.0 if settings.polarity == "signed" else 0.0
    drives = [f"{speaker.name} {tone}" for speaker in interface.outputs for tone in tones]
    heard = [f"{microphone} {tone}" for microphone in interface.inputs for tone in tones]
    return LayerInfo(
        name=name,
        inputs=tuple(Channel(drive, "of full drive", lowest, 1.0) for drive in drives),
        outputs=tuple(channel for each in heard for channel in _readout_channels(each, settings.readout)),
        nominal_pass_s=pass_s,
        resources=frozenset({interface.name}),
        simulated=interface.simulated,
    )


def _readout_channels(name: str, readout: Readout) -> tuple[Channel, ...]:
    if readout == "amplitude":
        return (Channel(name, "FS", 0.0, LARGEST_AMPLITUDE),)
    if readout == "power":
        return (Channel(name, "FS²", 0.0, LARGEST_AMPLITUDE**2),)
    return tuple(Channel(f"{name} {part}", "FS", -LARGEST_AMPLITUDE, LARGEST_AMPLITUDE) for part in ("re", "im"))


def _build(settings: AcousticSettings, instruments: Mapping[str, Instrument], context: BuildContext) -> AcousticLayer:
    interface = pick_instrument(instruments, settings.interface, AudioInterface, context.name, at=("interface",))
    return AcousticLayer(settings, interface, context.name)


DRIVER = LayerDriver(AcousticSettings, _build)
