"""What a rig file says of a network analyser."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.units import DecibelMilliwatt, Hertz, Seconds


class AnalyserRules(Settings):
    """What this rig allows its analyser.

    `max_power` protects what hangs on the ports: no sweep above it is sent. With `correction: required` uncorrected
    data are an error. A sweep has `sweep_margin` times its nominal duration and the link's time-out to end, after an
    external trigger for which `trigger_wait` is waited. `simulated` says that a simulator answers; one that answers
    where this is not said is refused.
    """

    max_power_dbm: DecibelMilliwatt = Field(alias="max_power", default=-10.0)
    min_frequency_hz: Annotated[Hertz, Field(ge=0)] | None = Field(alias="min_frequency", default=None)
    max_frequency_hz: Annotated[Hertz, Field(gt=0)] | None = Field(alias="max_frequency", default=None)
    correction: Literal["required", "allowed"] = "required"
    sweep_margin: float = Field(default=3.0, ge=1)
    trigger_wait_s: Annotated[Seconds, Field(ge=0)] = Field(alias="trigger_wait", default=10.0)
    simulated: bool = False

    @model_validator(mode="after")
    def _frequencies_rise(self) -> "AnalyserRules":
        lowest, highest = self.min_frequency_hz, self.max_frequency_hz
        if lowest is not None and highest is not None and lowest >= highest:
            raise ValueError("max_frequency must lie above min_frequency")
        return self
