"""What a rig file says of a microwave layer."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.microwave import Segment, Sweep
from labctl.contract.readout import Readout
from labctl.contract.units import DecibelMilliwatt, Hertz, Seconds


class FrequencySpan(Settings):
    """Equidistant frequencies, both ends included."""

    start_hz: Annotated[Hertz, Field(gt=0)] = Field(alias="start")
    stop_hz: Annotated[Hertz, Field(gt=0)] = Field(alias="stop")
    points: int = Field(ge=2)

    @model_validator(mode="after")
    def _rises(self) -> "FrequencySpan":
        if self.stop_hz <= self.start_hz:
            raise SettingError(("stop",), "stop must lie above start")
        return self


class MicrowaveSettings(Settings):
    """A metasurface's patterns in, S-parameters out: one pattern and one sweep a pass.

    `analyser` and `metasurface` name instruments of the rig; layers that name the same two are operating points of one
    cavity. `parameters` are the S-parameters read at each frequency, receiving port first; `complex` gives real and
    imaginary part of each value, one after the other. An input is an element's level, from 0 (lowest) to 1 (highest).
    `driven` lists the elements that inputs set, all of them unless given; the others are parameters of the layer and
    keep their level, 0 at first. With an external `trigger` the analyser is armed before a pattern is shown, and
    sweeps at the edge that the metasurface's controller gives when the pattern has settled.
    """

    analyser: str
    metasurface: str
    parameters: tuple[Annotated[str, Field(pattern="^S[1-9][1-9]$")], ...] = Field(default=("S21",), min_length=1)
    frequencies_hz: tuple[Annotated[Hertz, Field(gt=0)], ...] | FrequencySpan = Field(alias="frequencies")
    power_dbm: DecibelMilliwatt = Field(alias="power")
    if_bandwidth_hz: Annotated[Hertz, Field(gt=0)] = Field(alias="if_bandwidth")
    averages: int = Field(default=1, ge=1, le=65536)
    trigger: Literal["internal", "external-rising", "external-falling"] = "internal"
    readout: Readout = "amplitude"
    driven: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(default=None, min_length=1)
    pass_s: Annotated[Seconds, Field(gt=0)] = Field(
        alias="pass", description="about what a pattern, its settling and a sweep take"
    )

    @model_validator(mode="after")
    def _nothing_twice(self) -> "MicrowaveSettings":
        for key, values in (
            ("frequencies", self.sweep_hz.tolist()),
            ("parameters", self.parameters),
            ("driven", self.driven or ()),
        ):
            if len(set(values)) < len(values):
                raise SettingError((key,), f"{key}: name each once")
        if not self.sweep_hz.size:
            raise SettingError(("frequencies",), "frequencies: name at least one")
        return self

    @property
    def sweep_hz(self) -> NDArray[np.float64]:
        """The frequencies (n,) in the order in which they are read."""
        if isinstance(self.frequencies_hz, FrequencySpan):
            span = self.frequencies_hz
            return np.linspace(span.start_hz, span.stop_hz, span.points)
        return np.array(self.frequencies_hz, dtype=np.float64)

    @property
    def sweep(self) -> Sweep:
        """What the analyser measures: a span as one segment, listed frequencies as one each."""
        if isinstance(self.frequencies_hz, FrequencySpan):
            span = self.frequencies_hz
            segments = (Segment(span.start_hz, span.stop_hz, span.points),)
        else:
            segments = tuple(Segment(frequency_hz, frequency_hz, 1) for frequency_hz in self.frequencies_hz)
        return Sweep(self.parameters, segments, self.power_dbm, self.if_bandwidth_hz, self.averages, self.trigger)
