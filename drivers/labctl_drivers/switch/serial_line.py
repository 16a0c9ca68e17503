"""A laser, a shutter or an amplifier that is switched by lines of text over a serial port and answers each of them.

Only devices are meant whose commands set a state. One that toggles cannot be made safe: sent twice, `off` would be on.
"""

import contextlib
import hashlib
from typing import Annotated

from pydantic import Field, model_validator

from labctl.contract.capabilities import Finding
from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError, SettingError
from labctl.contract.safety import SafeOrder, SafeStep
from labctl.contract.units import Seconds
from labctl_drivers.transport.build import build_byte_log
from labctl_drivers.transport.link import ByteLink, LinkError
from labctl_drivers.transport.safe_plan import OVER_SERIAL
from labctl_drivers.transport.serial_link import SerialLink
from labctl_drivers.transport.settings import SerialSettings

Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x20-\x7e]+$")]
_ENDS = {"lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}


class SerialSwitchSettings(SerialSettings):
    """A laser, a shutter or an amplifier on a serial port.

    Look up the lines in its manual; each is sent with `end` behind it.
    """

    on: Line = Field(description="line that switches it on, or opens the shutter")
    off: Line = Field(description="line that switches it off, or makes dark; it must set the state and not toggle it")
    reply: Line = Field(description="what it answers to either when it has done it")
    query: Line | None = Field(default=None, description="line that asks for the state, if there is one")
    reply_on: Line | None = Field(default=None, description="answer to `query` when it is on")
    reply_off: Line | None = Field(default=None, description="answer to `query` when it is off")
    end: str = Field(default="lf", pattern="^(lf|cr|crlf)$", description="end of every line: lf, cr or crlf")
    steady_s: Annotated[Seconds, Field(ge=0, le=3600)] = Field(
        alias="steady", default=0.05, description="from the answer until the light is steady, or the amplifier ready"
    )
    simulated: bool = Field(default=False, description="a simulator answers")

    @model_validator(mode="after")
    def _query_has_answers(self) -> "SerialSwitchSettings":
        answers = (self.query, self.reply_on, self.reply_off)
        if any(answers) and not all(answers):
            raise SettingError(("query",), "query, reply_on and reply_off belong together: state all three or none")
        if self.query is not None and self.reply_on == self.reply_off:
            raise SettingError(("reply_off",), "reply_off must differ from reply_on")
        if self.on == self.off:
            raise SettingError(("off",), "off must differ from on: a line that toggles cannot be made safe")
        return self


class SerialSwitch:
    """A `Switch`, `Safeguarded` and `HealthCheckable`."""

    def __init__(self, settings: SerialSwitchSettings, link: ByteLink, clock: Clock) -> None:
        self._settings = settings
        self._link = link
        self._clock = clock
        self._end = _ENDS[settings.end]
        self._is_open = False

    @property
    def name(self) -> str:
        """Return the instrument's name in the rig file."""
        return self._link.name

    @property
    def simulated(self) -> bool:
        """Return whether the rig file says that a simulator answers."""
        return self._settings.simulated

    @property
    def state_id(self) -> str:
        """Name what is sent and how long it takes to be steady."""
        described = self._settings.model_dump_json(include={"on", "off", "steady_s", "simulated"})
        return hashlib.sha256(described.encode()).hexdigest()[:12]

    def open(self) -> None:
        """Connect and switch off; does nothing when already open. Raises `InstrumentError`."""
        if self._is_open:
            return
        self._link.open()
        try:
            self._tell(on=False)
        except BaseException:
            self._link.close()
            raise
        self._is_open = True

    def switch(self, *, on: bool) -> None:
        """Return when it is acknowledged, asked back where that is possible, and steady."""
        if not self._is_open:
            raise InstrumentError(self.name, "it is not open", command="switch")
        self._tell(on=on)
        self._clock.sleep_s(self._settings.steady_s)

    def health(self) -> tuple[Finding, ...]:
        """Return what it says of itself. Raises `InstrumentError`."""
        if self._settings.query is None:
            return (Finding("state", "cannot be asked; what it acknowledges is trusted"),)
        return (Finding("state", self._ask(self._settings.query)),)

    def make_safe(self) -> None:
        """Switch off; a link that fails is tried twice. Raises `InstrumentError` when it is open and cannot be told."""
        if not self._is_open:
            return
        with contextlib.suppress(LinkError):
            self._tell(on=False)
            return
        self._tell(on=False)

    def safe_plan(self) -> tuple[SafeStep, ...]:
        """Return the line that switches off."""
        settings = self._settings
        return (
            SafeStep(
                SafeOrder.POWER_OFF,
                f"'{self.name}' off",
                settings.address,
                settings.off.encode() + self._end,
                settings.reply.encode(),
                OVER_SERIAL,
                settings.baud,
            ),
        )

    def close(self) -> None:
        """Release the port."""
        self._is_open = False
        self._link.close()

    def _tell(self, *, on: bool) -> None:
        settings = self._settings
        line = settings.on if on else settings.off
        answer = self._ask(line)
        if answer != settings.reply:
            raise InstrumentError(self.name, f"answers '{answer}', not '{settings.reply}'", command=line)
        if settings.query is None:
            return
        held, wanted = self._ask(settings.query), settings.reply_on if on else settings.reply_off
        if held != wanted:
            cause = f"says '{held}' where '{wanted}' belongs: is an interlock open?"
            raise InstrumentError(self.name, cause, command=settings.query)

    def _ask(self, line: str) -> str:
        reply = self._link.exchange_until(line.encode() + self._end, self._end)
        return reply.decode("ascii", errors="replace").strip()


def _build(settings: SerialSwitchSettings, context: BuildContext) -> SerialSwitch:
    link = SerialLink(settings, context.name, log=build_byte_log(settings.byte_log, context))
    return SerialSwitch(settings, link, context.clock)


DRIVER = InstrumentDriver(SerialSwitchSettings, _build)
