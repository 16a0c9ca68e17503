"""What a rig file says of a simulated metasurface cavity and of the layers that read it."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.readout import Readout
from labctl.contract.units import Celsius, Decibel, Hertz, Metres, Seconds
from labctl_simulators.faults import FaultPlan
from labctl_simulators.physics.air import Air
from labctl_simulators.physics.analyser import AnalyserNoise
from labctl_simulators.physics.enclosure import Real
from labctl_simulators.physics.metasurface import MOST_FIXED_WIRES


class BoxSettings(Settings):
    """A flat box whose plates and filling let a field decay with `quality`, with round posts at random places.

    Posts make the field irregular; a rectangle alone is not chaotic. `temperature` and `humidity` are those of the
    laboratory in which all this holds; they matter where a disturbance changes the temperature: the box, of aluminium,
    expands, and waves are as fast as its air lets them.
    """

    length_m: Annotated[Metres, Field(gt=0)] = Field(alias="length")
    width_m: Annotated[Metres, Field(gt=0)] = Field(alias="width")
    height_m: Annotated[Metres, Field(gt=0)] = Field(alias="height")
    quality: float = Field(gt=1, description="quality factor of the box before antennas and elements are put in")
    posts: int = Field(default=30, ge=0, le=MOST_FIXED_WIRES)
    post_radius_m: Annotated[Metres, Field(gt=0)] = Field(alias="post_radius", default=0.003)
    temperature_c: Annotated[Celsius, Field(gt=-40, lt=60)] = Field(alias="temperature", default=20.0)
    humidity: float = Field(default=0.5, ge=0, le=1, description="relative humidity of the air")

    @property
    def air(self) -> Air:
        """The air as physics sees it."""
        return Air.humid(self.temperature_c, self.humidity)


class ElementSettings(Settings):
    """Programmable elements in rows along the long walls.

    A drive of 0 puts an element's resonance at the first of `resonances`, 1 at the second. Two `levels` are on/off
    elements; k levels, 0, 1/(k-1), ..., 1, are set by a converter. No other drive is taken. The defaults are what a
    single resonance needs to reflect as the 1-bit element of J. ur R. Kazim et al. (UCET 2020, doi
    10.1109/UCET51115.2020.9205382) does: about 3.3 GHz, the phases of the two states 180° ± 20° apart over 200 MHz, and
    0.9 of the amplitude at least. With x = 2 Q_ext Δf / f the phases are 4 atan(x₀) = 200° apart in the middle and 160°
    at its ends, which gives Q_ext = 15.1 and a shift of ±130 MHz; (g - 1)/(g + 1) = 0.9 gives the coupling g = 19,
    hence the quality 287 of the element's own losses.
    """

    count: int = Field(ge=1)
    levels: Annotated[int, Field(ge=2, le=65536)] | Literal["continuous"] = 2
    resonances_hz: tuple[Annotated[Hertz, Field(gt=0)], Annotated[Hertz, Field(gt=0)]] = Field(
        alias="resonances", default=(3.17e9, 3.43e9)
    )
    quality: float = Field(default=287.0, gt=0)
    coupling: float = Field(default=19.0, gt=0, description="radiated over absorbed power at resonance")
    pitch_m: Annotated[Metres, Field(gt=0)] = Field(alias="pitch", default=0.028)
    distance_m: Annotated[Metres, Field(gt=0)] = Field(alias="distance", default=0.022, description="from the wall")
    radius_m: Annotated[Metres, Field(gt=0)] = Field(alias="radius", default=0.001)

    @model_validator(mode="after")
    def _states_differ(self) -> "ElementSettings":
        if self.resonances_hz[0] == self.resonances_hz[1]:
            raise SettingError(("resonances",), "the two resonances must differ, or the elements do nothing")
        return self


class AntennaSettings(Settings):
    """Probes on cables of 50 Ω."""

    count: int = Field(default=4, ge=1, le=9)
    radius_m: Annotated[Metres, Field(gt=0)] = Field(alias="radius", default=0.003)


class SweepSettings(Settings):
    """Equidistant frequencies, both ends included."""

    start_hz: Annotated[Hertz, Field(gt=0)] = Field(alias="start")
    stop_hz: Annotated[Hertz, Field(gt=0)] = Field(alias="stop")
    points: int = Field(ge=2, le=20_001)


class AnalyserSettings(Settings):
    """Noise of the network analyser as data sheets state it, and the bandwidth it is used with.

    `noise_floor` is the rms of |S| without signal at 10 Hz of bandwidth, `trace_noise` the rms fluctuation of a large
    |S| at 70 kHz; noise power grows with `if_bandwidth`. The defaults are those of a Keysight E5071C up to 6 GHz
    (data sheet 5989-5479: system dynamic range 123 dB, trace noise 0.004 dB).
    """

    noise_floor_db: Annotated[Decibel, Field(le=0)] = Field(alias="noise_floor", default=-123.0)
    trace_noise_db: Annotated[Decibel, Field(ge=0)] = Field(alias="trace_noise", default=0.004)
    if_bandwidth_hz: Annotated[Hertz, Field(gt=0)] = Field(alias="if_bandwidth", default=10_000.0)

    @property
    def noise(self) -> AnalyserNoise:
        """The noise as physics sees it."""
        return AnalyserNoise(self.noise_floor_db, self.trace_noise_db, self.if_bandwidth_hz)


class SimulatedCavitySettings(Settings):
    """A metasurface cavity with a network analyser on it. `seed` draws the medium, the drift and the noise.

    The medium is where posts and antennas stand. `drift` is the rms of a slow error of the complex gain, common to all
    frequencies, with periods of 30 s to 10 min. Without `vna` the readout is exact. One cavity can be several layers
    (`kind: simulated-microwave`), each an operating point of its own.
    """

    box: BoxSettings
    elements: ElementSettings
    antennas: AntennaSettings = AntennaSettings()
    vna: AnalyserSettings | None = AnalyserSettings()
    drift: float = Field(default=0.002, ge=0, le=0.2)
    seed: int = Field(ge=0)


class SimulatedMicrowaveSettings(Settings):
    """An operating point of a simulated metasurface cavity: what is read, at which frequencies.

    `cavity` names the instrument; layers that name the same one share box, elements and medium. `parameters` are the
    S-parameters read at each frequency: S21 is from antenna 1 to antenna 2. `complex` gives real and imaginary part of
    each value, one after the other. `driven` lists the elements that inputs set, all of them unless given; the others
    are parameters of the layer, 0 at first.
    """

    cavity: str
    driven: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    parameters: tuple[Annotated[str, Field(pattern="^S[1-9][1-9]$")], ...] = Field(default=("S21",), min_length=1)
    frequencies_hz: tuple[Annotated[Hertz, Field(gt=0)], ...] | SweepSettings = Field(alias="frequencies")
    readout: Readout = "amplitude"
    pass_s: Annotated[Seconds, Field(gt=0)] = Field(alias="pass")
    faults: FaultPlan | None = Field(default=None, description="faults on purpose, to rehearse a bad night")

    @model_validator(mode="after")
    def _parameters_differ(self) -> "SimulatedMicrowaveSettings":
        for place, parameter in enumerate(self.parameters):
            if parameter in self.parameters[:place]:
                raise SettingError(("parameters", place), f"{parameter} is listed twice; name every S-parameter once")
        return self

    @model_validator(mode="after")
    def _driven_differ(self) -> "SimulatedMicrowaveSettings":
        driven = self.driven or ()
        for place, element in enumerate(driven):
            if element in driven[:place]:
                raise SettingError(("driven", place), f"element {element} is listed twice; name every element once")
        return self

    @model_validator(mode="after")
    def _frequencies_differ(self) -> "SimulatedMicrowaveSettings":
        named = list(self.named_hz.items())
        if not named:
            raise SettingError(("frequencies",), "there are no frequencies; name at least one")
        for place, (key, frequency_hz) in enumerate(named):
            if frequency_hz in [earlier_hz for _, earlier_hz in named[:place]]:
                raise SettingError(("frequencies", key), f"{frequency_hz:g} Hz is listed twice; name it once")
        if (
            isinstance(self.frequencies_hz, SweepSettings)
            and self.frequencies_hz.stop_hz < self.frequencies_hz.start_hz
        ):
            raise SettingError(("frequencies", "stop"), "stop must lie above start")
        return self

    @property
    def named_hz(self) -> dict[str | int, float]:
        """The frequencies that are written down, by their key or index."""
        if isinstance(self.frequencies_hz, SweepSettings):
            return {"start": self.frequencies_hz.start_hz, "stop": self.frequencies_hz.stop_hz}
        return dict(enumerate(self.frequencies_hz))

    @property
    def sweep_hz(self) -> Real:
        """The frequencies (n,) in the order in which they are read."""
        if isinstance(self.frequencies_hz, SweepSettings):
            sweep = self.frequencies_hz
            return np.linspace(sweep.start_hz, sweep.stop_hz, sweep.points)
        return np.array(self.frequencies_hz, dtype=np.float64)

    @property
    def paths(self) -> list[tuple[int, int]]:
        """The paths (to, from) of the parameters, antennas counted from 0."""
        return [(int(parameter[1]) - 1, int(parameter[2]) - 1) for parameter in self.parameters]
