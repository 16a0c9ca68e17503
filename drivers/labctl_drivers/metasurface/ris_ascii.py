"""Open Source RIS, 16 x 16 one-bit elements: lines of text over a serial port (mheinri/OpenSourceRIS).

The controller says nothing at all to a command that it does not understand.
"""

import re

import numpy as np
from pydantic import Field

from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.microwave import Pattern
from labctl.contract.safety import SafeStep
from labctl_drivers.metasurface.base import PatternedSurface, Place
from labctl_drivers.metasurface.errors import ControllerRefusedError
from labctl_drivers.metasurface.settings import SurfaceRules
from labctl_drivers.transport.build import build_byte_log
from labctl_drivers.transport.link import ByteLink, LinkGarbledError, LinkTimeoutError
from labctl_drivers.transport.safe_plan import rest_step
from labctl_drivers.transport.serial_link import Ready, SerialLink
from labctl_drivers.transport.settings import SerialSettings

RESET_S = 10.0
"""The controller starts anew, its radio module included, within this time."""

READY = Ready(answer=b"#", probe=b"\n?SerialNo\n")
"""The newline ends whatever was begun; alone it is a command without meaning and without answer."""

_PATTERN = re.compile("#0[Xx]([0-9A-Fa-f]{64})")


class RisAsciiRules(SurfaceRules):
    """Cell 0 is the top left one, cells follow in reading order."""

    cells = 256

    rows: int = Field(default=16, ge=1, description="of elements, which are counted row by row from the top left")
    columns: int = Field(default=16, ge=1, description="of elements")
    verify: bool = Field(default=True, description="read every pattern back, which costs a second exchange")


class RisAsciiSurface(PatternedSurface):
    """A surface that names itself by its serial number and can be asked what it holds."""

    def __init__(self, rules: RisAsciiRules, link: ByteLink, clock: Clock, *, at: Place | None = None) -> None:
        super().__init__(rules, link, clock, at=at)
        self._verifies = rules.verify

    def _identify(self) -> str:
        self._link.exchange(b"\n", n_bytes=0)
        answer = self._ask("?SerialNo")
        if not answer.startswith("#"):
            raise LinkGarbledError(self.name, f"answers '{answer}', which does not begin with #,", command="?SerialNo")
        return answer

    def _latch(self, cells: Pattern) -> None:
        answer = self._ask(_show(cells))
        if answer == "#ERROR":
            raise ControllerRefusedError(self.name, "answers #ERROR", command="!0x...")
        if answer != "#OK":
            raise LinkGarbledError(self.name, f"answers '{answer}' where #OK belongs", command="!0x...")

    def _steps_to_rest(self, at: Place, cells: Pattern) -> tuple[SafeStep, ...]:
        """The newline ends whatever was begun. An #OK may answer the driver that is gone: what is held is asked for."""
        shown = _show(cells)
        request = f"\n{shown}\n?Pattern\n".encode("ascii")
        held = f"#0X{shown.removeprefix('!0x')}".encode("ascii")
        return (rest_step(at, f"{self.name}: at rest", request, expected=held),)

    def _read_back(self) -> Pattern | None:
        if not self._verifies:
            return None
        answer = self._ask("?Pattern")
        match = _PATTERN.fullmatch(answer)
        if match is None:
            cause = f"answers '{answer}', not #0X and 64 hexadecimal digits: characters were lost on the way"
            raise LinkGarbledError(self.name, cause, command="?Pattern")
        return np.unpackbits(np.frombuffer(bytes.fromhex(match[1]), dtype=np.uint8))

    def _resynchronise(self) -> str:
        """Ask who answers; where nobody does, start the controller anew and ask again."""
        try:
            return self._identify()
        except LinkTimeoutError:
            self._link.exchange_until(b"!Reset\n", b"#READY!\n", timeout_s=RESET_S)
            return self._identify()

    def _ask(self, line: str) -> str:
        command = line if len(line) < 20 else f"{line[:3]}..."
        try:
            answer = self._link.exchange_until(line.encode("ascii") + b"\n", b"\n")
        except LinkTimeoutError as error:
            cause = f"{error.cause}: it is silent to what it does not understand, so a character was probably lost"
            raise LinkTimeoutError(self.name, cause, command=command) from error
        try:
            return answer.decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise LinkGarbledError(self.name, f"answers {answer[:40]!r}, which is no text,", command=command) from error


def _show(cells: Pattern) -> str:
    return f"!0x{np.packbits(cells).tobytes().hex().upper()}"


class RisAsciiSettings(SerialSettings, RisAsciiRules):
    """Open Source RIS over its USB port."""


def _build(settings: RisAsciiSettings, context: BuildContext) -> RisAsciiSurface:
    link = SerialLink(settings, context.name, ready=READY, log=build_byte_log(settings.byte_log, context))
    return RisAsciiSurface(settings, link, context.clock, at=settings)


DRIVER = InstrumentDriver(RisAsciiSettings, _build)
