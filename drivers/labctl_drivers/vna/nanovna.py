"""What the NanoVNAs share: two receivers, a fixed output power, no trigger input, no way to switch RF off."""

from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import override

from labctl.contract.microwave import Sweep
from labctl.contract.units import DecibelMilliwatt, Hertz
from labctl_drivers.transport.link import ByteLink
from labctl_drivers.vna.base import Analyser, Configured
from labctl_drivers.vna.limits import Limits
from labctl_drivers.vna.settings import AnalyserRules

PARAMETERS = ("S11", "S21")


class NanoVnaRules(AnalyserRules):
    """What a NanoVNA has and does not state: its `output_power`, which cannot be set, and its most points in a sweep.

    `if_bandwidth` is that of a firmware that cannot set one. The power is on for as long as the device is, so that
    `max_power` below it is an error.
    """

    output_power_dbm: DecibelMilliwatt = Field(alias="output_power", default=-10.0)
    max_points: Annotated[int, Field(ge=1)] = 101
    if_bandwidth_hz: Annotated[Hertz, Field(gt=0)] = Field(alias="if_bandwidth", default=1000.0)

    @model_validator(mode="after")
    def _power_is_allowed(self) -> "NanoVnaRules":
        if self.output_power_dbm > self.max_power_dbm:
            raise ValueError(
                f"output_power {self.output_power_dbm:g} dBm is above max_power {self.max_power_dbm:g} dBm, and a "
                "NanoVNA cannot be turned down: put an attenuator at its port and state the power behind it"
            )
        return self


class NanoVna(Analyser):
    """A NanoVNA on a serial line. Segments are sweeps one after the other; averages are taken here.

    It reports no overload. `make_safe` cannot switch its power off: what can be sure is only that it is the stated one.
    """

    def __init__(self, rules: NanoVnaRules, name: str, link: ByteLink, *, timeout_s: float) -> None:
        super().__init__(rules, name, timeout_s=timeout_s)
        self._link = link
        self._nano = rules

    def _connect(self) -> None:
        self._link.open()

    def _disconnect(self) -> None:
        self._link.close()

    def _read_limits(self) -> Limits:
        return Limits(
            owner="a limit of this NanoVNA",
            power_dbm=(self._nano.output_power_dbm, self._nano.output_power_dbm),
            if_bandwidth_hz=self._if_bandwidths_hz(),
            most_points=self._nano.max_points,
            points_of_each_segment=True,
            ports=2,
            parameters=PARAMETERS,
            external_trigger=False,
        )

    def _if_bandwidths_hz(self) -> tuple[float, float]:
        """Return the least and the greatest IF bandwidth; here the one that there is."""
        return self._nano.if_bandwidth_hz, self._nano.if_bandwidth_hz

    def _power_found_on(self) -> bool:
        """Return False: nobody can leave it other than on."""
        return False

    def _switch_power_on(self) -> None:
        """Do nothing: it is on."""

    def _switch_power_off(self) -> None:
        """Do nothing: it cannot be switched off."""

    def _begin(self, configured: Configured) -> None:
        """Do nothing: the sweep of each segment is begun when it is to be read."""

    def _has_ended(self) -> bool:
        """Return False: sweeps are made when they are read."""
        return False

    @override
    def _sweeps_per_result(self, sweep: Sweep, calibration: str) -> int:
        """Return one: only port 1 drives."""
        return 1
