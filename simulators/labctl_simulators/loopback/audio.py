"""Loudspeakers and microphones in a simulated box, behind the interface of a real sound card.

Rows are reproducible one by one: noise belongs to (seed, row id, how often that id was played since `open`), drift to
(seed, row id x burst duration), and an exchange starts from silence. A burst that lets the box fall silent before the
next row's readout therefore gives the same numbers in any order, alone or after a restart.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labctl.contract.audio import Burst, Recording, Samples, SpeakerOutput
from labctl.contract.clock import Clock
from labctl.contract.disturbances import MediumChange, Move, Planned, TemperatureChange
from labctl.contract.driver import BuildContext, InstrumentDriver, Settings
from labctl.contract.errors import InstrumentError, SettingError, blaming
from labctl.contract.layer import RowStatus
from labctl.contract.units import Celsius, DecibelFullScale, Hertz, Metres
from labctl_simulators.disturbances import channel_changes, planned
from labctl_simulators.faults import FaultPlan, FaultSchedule, Strike
from labctl_simulators.physics.cavity import Box, Loudspeaker, check_size, impulse_responses, place
from labctl_simulators.physics.convolution import ResponseMatrix

Real = NDArray[np.float64]

LOUDSPEAKER = Loudspeaker(resonance_hz=174.0, quality=0.66, pressure_at_1m_pa=1.0)
"""A 3-inch driver, after the data sheet of Eastech FSB132030-0400: f_s 174 Hz, Q_ts 0.66, 91 dB SPL at 2.83 V and 1 m.
Full scale is taken as 2.83 V (rms of a sine): a peak of 1.0 Pa at 1 m."""

FULL_SCALE_PA = 24.7
"""Peak pressure at digital full scale: 12.5 mV/Pa, 30 dB gain, and a line input that clips at +19 dBu (9.77 V)."""

HIGHEST_MODE_HZ = 4000.0
"""The modal sum ends here (or at half the sample rate); raising it to 6 kHz moves responses below 1.5 kHz by 0.8 %."""

DRIFT_PERIODS_S = (30.0, 600.0)
N_DRIFT_TERMS = 4

_POSITIONS, _DRIFT, _NOISE = range(3)
"""Named random streams below one seed."""


class BoxSettings(Settings):
    """The box. An absorption of 0.16 is a box of 9.5 mm plywood panels.

    (Mean of 0.22, 0.17 and 0.09 at 250, 500 and 1000 Hz in the usual tables, as in F. A. Everest and K. C. Pohlmann,
    *Master Handbook of Acoustics*, appendix.) 1.2 m x 0.9 m x 0.7 m of it reverberates for 0.14 s.
    """

    length_m: Annotated[Metres, Field(gt=0)] = Field(alias="length")
    width_m: Annotated[Metres, Field(gt=0)] = Field(alias="width")
    height_m: Annotated[Metres, Field(gt=0)] = Field(alias="height")
    absorption: float = Field(gt=0, lt=1, description="share of the incident energy that a wall absorbs")
    temperature_c: Annotated[Celsius, Field(gt=-40, lt=60)] = Field(alias="temperature")

    @property
    def box(self) -> Box:
        """The box as physics sees it."""
        return Box((self.length_m, self.width_m, self.height_m), self.absorption, self.temperature_c)


class SpeakerSettings(Settings):
    """One loudspeaker."""

    max_level_dbfs: Annotated[DecibelFullScale, Field(le=0)] = Field(alias="max_level")


class CompressionSettings(Settings):
    """Memoryless compression of every loudspeaker, x -> s · tanh(x / s), where s is `saturation`."""

    saturation_dbfs: DecibelFullScale = Field(alias="saturation")


class SimulatedInterfaceSettings(Settings):
    """A sound card whose loudspeakers and microphones share a box.

    `seed` draws their positions (the medium), the drift and the noise. `drift` is the rms of a slow gain error of each
    microphone, with periods of 30 s to 10 min; repeated drives on a real bench moved by 0.1 to 1 % within six seconds.
    `noise` is white and rms over the whole band. Without `compression` the loudspeakers are linear.
    """

    samplerate_hz: Annotated[Hertz, Field(ge=1000)] = Field(alias="samplerate")
    speakers: dict[str, SpeakerSettings] = Field(min_length=1)
    microphones: tuple[str, ...] = Field(min_length=1)
    box: BoxSettings
    noise_dbfs: Annotated[DecibelFullScale, Field(le=0)] = Field(alias="noise", default=-80.0)
    drift: float = Field(default=0.005, ge=0, le=0.2)
    compression: CompressionSettings | None = None
    seed: int = Field(ge=0)
    faults: FaultPlan | None = Field(default=None, description="faults on purpose, to rehearse a bad night")

    @model_validator(mode="after")
    def _faults_of_a_sound_card(self) -> "SimulatedInterfaceSettings":
        if self.faults is not None:
            lasting = ("gain", "dead", "swapped", "temperature", "moved")
            self.faults.require_kinds(("clipped", "xrun", "error", "delay"), "a sound card", disturbances=lasting)
        return self

    @model_validator(mode="after")
    def _microphones_differ(self) -> "SimulatedInterfaceSettings":
        if len(set(self.microphones)) < len(self.microphones):
            raise SettingError(("microphones",), "two microphones have one name; give every one a name of its own")
        return self


class SimulatedInterface:
    """An `AudioInterface` over a simulated cavity. `speakers_m` and `microphones_m` are positions from a corner."""

    def __init__(self, settings: SimulatedInterfaceSettings, name: str, clock: Clock) -> None:
        """Raise `SettingError` for a box that has no room for the transducers, or is too large to be computed."""
        self._settings = settings
        self._highest_mode_hz = min(HIGHEST_MODE_HZ, settings.samplerate_hz / 2)
        self._name = name
        self._clock = clock
        self._outputs = tuple(
            SpeakerOutput(speaker, _fraction(each.max_level_dbfs)) for speaker, each in settings.speakers.items()
        )
        n_speakers = len(self._outputs)
        with blaming("box"):
            check_size(settings.box.box, self._highest_mode_hz)
            points_m = place(settings.box.box, n_speakers + len(settings.microphones), _rng(settings.seed, _POSITIONS))
        self.speakers_m, self.microphones_m = points_m[:n_speakers], points_m[n_speakers:]
        self._drift = _Drift(settings.drift, len(settings.microphones), _rng(settings.seed, _DRIFT))
        plan = settings.faults
        disturbances = () if plan is None else plan.disturbances
        self._changes = channel_changes(disturbances, 0 if plan is None else plan.seed, self.inputs)
        self._media = [each for each in planned(disturbances) if isinstance(each.change, (TemperatureChange, Move))]
        self._cavities: dict[int, ResponseMatrix] | None = None
        self._epoch_s = 0.0
        self._plays: Counter[int] = Counter()
        self._faults = None if settings.faults is None else FaultSchedule(settings.faults)

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._name

    @property
    def samplerate_hz(self) -> float:
        """Return the samples per second of every channel."""
        return self._settings.samplerate_hz

    @property
    def outputs(self) -> tuple[SpeakerOutput, ...]:
        """Return the speakers, in channel order."""
        return self._outputs

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the microphones' names, in channel order."""
        return self._settings.microphones

    @property
    def simulated(self) -> bool:
        """Return that there is no hardware here."""
        return True

    @property
    def state_id(self) -> str:
        """Name the medium and everything else that the settings determine, but for planned faults."""
        # Settings left at their defaults are not in the name, so that a new one does not rename what exists.
        text = self._settings.model_dump_json(exclude={"faults"}, exclude_defaults=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def settings(self) -> SimulatedInterfaceSettings:
        """Return what the rig file says."""
        return self._settings

    def open(self) -> None:
        """Compute the box's impulse responses; does nothing when already open."""
        if self._cavities is not None:
            return
        self._cavities = {}
        self._cavity(-1)
        # POSIX time at laboratory time zero: recordings are stamped with the time that the laboratory counts.
        self._epoch_s = time.time() - self._clock.now_s()
        self._plays.clear()
        if self._faults is not None:
            self._faults.restart()

    def radiated(self, samples: Samples) -> NDArray[np.floating]:
        """Return what loudspeakers make of samples (n, n_speakers) that they are fed."""
        if self._settings.compression is None:
            return samples
        limit = _fraction(self._settings.compression.saturation_dbfs)
        return limit * np.tanh(samples.astype(np.float64) / limit)

    def digitised(self, heard: Real, time_s: float, rng: np.random.Generator) -> Samples:
        """Return what the converters deliver of (n, n_microphones): drifting gain, noise, saturation at full scale."""
        samples = rng.standard_normal(heard.shape[::-1], dtype=np.float32)
        samples *= np.float32(_fraction(self._settings.noise_dbfs))
        samples += heard.T * self._drift.gains(time_s)[:, None]
        return np.clip(samples, -1.0, 1.0, out=samples).T

    def exchange(self, bursts: Iterable[Burst]) -> Iterator[Recording]:
        """Play bursts back to back, starting from silence, and yield one recording for each.

        Raises `InstrumentError` when closed, for a burst that does not fit the speakers or their levels, and where an
        error is planned.
        """
        if self._cavities is None:
            raise InstrumentError(self._name, "the interface is not open", command="exchange")
        cavity = self._cavity(-1)
        ringing = cavity.silence()
        for burst in bursts:
            self._check(burst)
            strike = self._strike(burst.id)
            if self._cavity(burst.id) is not cavity:
                cavity = self._cavity(burst.id)
                ringing = cavity.silence()
            ringing, heard = cavity.stream(ringing, self.radiated(burst.samples))
            heard = self._changes.apply(heard, np.full(len(heard), burst.id))
            duration_s = len(burst.samples) / self.samplerate_hz
            samples = _marked(self.digitised(heard, burst.id * duration_s, self._noise(burst.id)), strike.status)
            self._clock.sleep_s(strike.delay_s + duration_s)
            xrun = strike.status == RowStatus.XRUN
            yield Recording(burst.id, samples, self._epoch_s + self._clock.now_s(), xrun=xrun)

    def check_disturbance(self, change: MediumChange) -> None:
        """Raise `SettingError` for a change of anything but the box and what stands in it."""
        if not isinstance(change, (TemperatureChange, Move)):
            raise SettingError(("kind",), f"a box of air is not {change.kind}; expected temperature or moved")

    def disturb(self, planned: Planned) -> None:
        """Let the box be another one from a row on."""
        self._media.append(planned)

    def make_safe(self) -> None:
        """Do nothing: between exchanges nothing is played."""

    def close(self) -> None:
        """Forget the impulse responses."""
        self._cavities = None

    def responses(self) -> ResponseMatrix:
        """Compute the undisturbed box's responses, from speakers to microphones, both in full scale."""
        return self._responses(self._settings.box.box, self.speakers_m)

    def _cavity(self, row_id: int) -> ResponseMatrix:
        """Return the box as it is when a row is played, after all disturbances of its medium until then."""
        past = [each for each in self._media if each.row <= row_id]
        cavities = self._cavities if self._cavities is not None else {}
        if len(past) not in cavities:
            box, speakers_m = self._settings.box.box, self.speakers_m.copy()
            for each in past:
                match each.change:
                    case TemperatureChange(temperature_c=temperature_c):
                        box = replace(box, temperature_c=temperature_c)
                    case Move(distance_m=distance_m):
                        speakers_m[0, 0] = (speakers_m[0, 0] + distance_m) % box.size_m[0]
                    case _:
                        raise AssertionError(each)
            cavities[len(past)] = self._responses(box, speakers_m)
        return cavities[len(past)]

    def _responses(self, box: Box, speakers_m: Real) -> ResponseMatrix:
        responses_pa = impulse_responses(
            box,
            LOUDSPEAKER,
            speakers_m,
            self.microphones_m,
            samplerate_hz=self.samplerate_hz,
            highest_mode_hz=self._highest_mode_hz,
        )
        return ResponseMatrix(responses_pa / FULL_SCALE_PA)

    def _check(self, burst: Burst) -> None:
        command = f"burst {burst.id}"
        if burst.samples.ndim != 2 or burst.samples.shape[1] != len(self._outputs):
            shape = f"samples of shape {burst.samples.shape}, not (n, {len(self._outputs)})"
            raise InstrumentError(self._name, shape, command=command)
        peaks = np.maximum(burst.samples.max(axis=0), -burst.samples.min(axis=0))
        for speaker, peak in zip(self._outputs, peaks.tolist(), strict=True):
            # A float32 sample may lie half a unit in the last place above the limit it was scaled to.
            if not peak <= speaker.max_level * (1.0 + 1e-6):
                cause = f"speaker {speaker.name} was asked to play {peak:g}, its maximum is {speaker.max_level:g}"
                raise InstrumentError(self._name, cause, command=command)

    def _strike(self, row_id: int) -> Strike:
        strike = Strike() if self._faults is None else self._faults.next(row_id)
        if strike.error:
            cause = "the interface dropped out, as was planned"
            raise InstrumentError(self._name, cause, command=f"burst {row_id}")
        return strike

    def _noise(self, row_id: int) -> np.random.Generator:
        """Return the noise of the next play of a row."""
        self._plays[row_id] += 1
        return _rng(self._settings.seed, _NOISE, row_id, self._plays[row_id])


def _marked(samples: Samples, status: RowStatus) -> Samples:
    """Return a recording (n, n_microphones) as a fault leaves it: the first microphone knocked, or samples lost."""
    n_samples = len(samples)
    if status == RowStatus.CLIPPED:
        knock = 4.0 * np.sin(np.pi * np.arange(n_samples, dtype=np.float32) / n_samples)
        samples[:, 0] = np.clip(samples[:, 0] + knock, -1.0, 1.0)
    if status == RowStatus.XRUN:
        samples[n_samples // 2 :] = 0.0
    return samples


class _Drift:
    """Gains (n_channels,) as a smooth function of laboratory time: a few slow sines with rms `drift` in all."""

    def __init__(self, drift: float, n_channels: int, rng: np.random.Generator) -> None:
        shape = (n_channels, N_DRIFT_TERMS)
        self._amplitude = drift * np.sqrt(2.0 / N_DRIFT_TERMS)
        self._rad_per_s = 2.0 * np.pi / np.exp(rng.uniform(*np.log(DRIFT_PERIODS_S), size=shape))
        self._phase = rng.uniform(0.0, 2.0 * np.pi, size=shape)

    def gains(self, time_s: float) -> Real:
        return 1.0 + self._amplitude * np.sin(self._rad_per_s * time_s + self._phase).sum(axis=1)


def _fraction(level_dbfs: float) -> float:
    return 10.0 ** (level_dbfs / 20.0)


def _rng(seed: int, *stream: int) -> np.random.Generator:
    # A row id is any int64; a spawn key holds unsigned words.
    key = tuple(word % 2**64 for word in stream)
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def _build(settings: SimulatedInterfaceSettings, context: BuildContext) -> SimulatedInterface:
    return SimulatedInterface(settings, context.name, context.clock)


DRIVER = InstrumentDriver(SimulatedInterfaceSettings, _build)
