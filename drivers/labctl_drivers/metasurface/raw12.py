"""Twelve shift registers behind an Arduino: 96 one-bit cells as twelve raw bytes (remi-blandin/metasurface_control).

Nothing frames or checks a request, so one lost byte shifts everything after it. Whatever the sketch still waits for is
therefore filled up before the first pattern and after every fault. Registers have no output latch: while a pattern is
shifted in, others pass, and the Leonardo sketch acknowledges before it even begins. Settling is never left out.
"""

import contextlib
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InstrumentError
from labctl.contract.microwave import Pattern
from labctl.contract.safety import SafeStep
from labctl.contract.units import Seconds
from labctl_drivers.metasurface.base import PatternedSurface, Place
from labctl_drivers.metasurface.errors import ControllerRefusedError
from labctl_drivers.metasurface.settings import SurfaceRules
from labctl_drivers.transport.build import build_byte_log
from labctl_drivers.transport.link import ByteLink, LinkGarbledError, LinkTimeoutError
from labctl_drivers.transport.safe_plan import rest_step
from labctl_drivers.transport.serial_link import SerialLink
from labctl_drivers.transport.settings import SerialSettings

ACK, NAK = b"\x06", b"\x15"
N_REGISTERS = 12
LONGEST_SEQUENCE = 128
"""Patterns that the Leonardo sketch takes in one request."""

QUIET_S = 0.1
"""An acknowledgement comes well within this time of a request's last byte."""


FILLED_UP_S = 4.0
"""Filling up a single pattern, byte by byte, takes no longer."""


@dataclass(frozen=True)
class Sketch:
    """What comes before the registers' bytes, and what a request that lacks bytes is filled up with.

    `missing` is how many bytes a request cut off anywhere may lack. Two fillers at a request's beginning are themselves
    the beginning of one with a single pattern.
    """

    header: bytes
    filler: bytes
    missing: int


SKETCHES: dict[str, Sketch] = {
    "uno": Sketch(b"", b"\x00", N_REGISTERS),
    "leonardo": Sketch(b"\x01\x01", b"\x01", 2 + LONGEST_SEQUENCE * N_REGISTERS),
}
"""The Leonardo's header: once, one pattern."""


class Raw12Rules(SurfaceRules):
    """Cell 0 is the most significant bit of the first register's byte. `settle` cannot be left out."""

    cells = 8 * N_REGISTERS

    sketch: Literal["uno", "leonardo"] = Field(description="what the board runs; theirs are different frames")
    settle_s: Annotated[Seconds, Field(gt=0, le=60)] = Field(
        alias="settle", description="from a pattern's acknowledgement until the field is steady; measure it"
    )
    boot_s: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        alias="boot",
        default=2.0,
        description="waited after opening the port, which resets an Uno unless `dtr: false` keeps it up",
    )


class Raw12Surface(PatternedSurface):
    """A surface that acknowledges with one byte and can neither say who it is nor what it holds."""

    def __init__(self, rules: Raw12Rules, link: ByteLink, clock: Clock, *, at: Place | None = None) -> None:
        super().__init__(rules, link, clock, at=at)
        self._rules: Raw12Rules = rules
        self._sketch = SKETCHES[rules.sketch]
        self._boot_s = rules.boot_s

    def _identify(self) -> str:
        self._clock.sleep_s(self._boot_s)
        return self._resynchronise()

    def _latch(self, cells: Pattern) -> None:
        try:
            answer = self._link.exchange(_request(self._sketch, cells), n_bytes=1)
        except LinkTimeoutError as error:
            cause = f"{error.cause}: a byte was probably lost on the way, so that the sketch waits for more"
            raise LinkTimeoutError(self.name, cause, command="show") from error
        if answer == NAK:
            cause = f"refuses (0x15) as more than {LONGEST_SEQUENCE} patterns: a byte was probably lost on the way"
            raise ControllerRefusedError(self.name, cause, command="show")
        if answer != ACK:
            cause = f"answers {answer!r}, neither 0x06 nor 0x15: is the baud rate the sketch's, and is it this sketch?"
            raise LinkGarbledError(self.name, cause, command="show")

    def _resynchronise(self) -> str:
        if _filled_up(self._link, self._sketch):
            return ""
        cause = "acknowledges no number of bytes: is it powered, and does it run this sketch at this baud rate?"
        raise LinkTimeoutError(self.name, cause, command="resynchronise")

    def _steps_to_rest(self, at: Place, cells: Pattern) -> tuple[SafeStep, ...]:
        """Bytes alone do not do: how many of a pattern were sent is found out by filling it up."""
        step = rest_step(at, f"{self.name}: at rest", _request(self._sketch, cells), expected=ACK)
        through = f"{__name__}:rest_{self._rules.sketch}"
        return (replace(step, through=through, try_s=self._boot_s + FILLED_UP_S),)


def _request(sketch: Sketch, cells: Pattern) -> bytes:
    return sketch.header + np.packbits(cells).tobytes()


def _filled_up(link: ByteLink, sketch: Sketch) -> bool:
    """Fill up whatever request the sketch waits for, which shows on the surface until the next pattern.

    A long request is filled in strides of a whole pattern, whose surplus begins another one.
    """
    shortest, longest = N_REGISTERS + len(sketch.header), sketch.missing // N_REGISTERS
    fills = partial(_fills_up, link, sketch.filler)
    return fills(1, shortest) or (fills(N_REGISTERS, longest) and fills(1, shortest))


def _fills_up(link: ByteLink, filler: bytes, stride: int, times: int) -> bool:
    """Return whether an acknowledgement came, sending `stride` fillers at a time."""
    for _ in range(times):
        with contextlib.suppress(LinkTimeoutError, LinkGarbledError):
            if link.exchange(filler * stride, n_bytes=1, timeout_s=QUIET_S) == ACK:
                return True
    return False


def _rest(sketch: Sketch, step: SafeStep, timeout_s: float) -> None:
    """Carry out a step of a safe plan on a link of its own. Raises `OSError`."""
    deadline_s = time.monotonic() + timeout_s
    settings = SerialSettings(address=step.address, baud=step.baud, dtr=step.dtr)
    link = SerialLink(settings, step.address)
    try:
        link.open()
        # The port stays open meanwhile: opening it may have let the board start anew.
        while not _filled_up(link, sketch):
            if time.monotonic() > deadline_s:
                raise OSError("it acknowledges no number of bytes")
        if (answer := link.exchange(step.data, n_bytes=1)) != step.expected:
            raise OSError(f"it answered {answer!r}, expected {step.expected!r}")
    except InstrumentError as error:
        raise OSError(str(error)) from error
    finally:
        link.close()


rest_uno = partial(_rest, SKETCHES["uno"])
rest_leonardo = partial(_rest, SKETCHES["leonardo"])


class Raw12Settings(SerialSettings, Raw12Rules):
    """Twelve raw bytes for 96 cells over a serial port, to the Uno's or the Leonardo's `sketch`."""

    baud: int = Field(default=1_000_000, ge=50, le=12_000_000)


def _build(settings: Raw12Settings, context: BuildContext) -> Raw12Surface:
    link = SerialLink(settings, context.name, log=build_byte_log(settings.byte_log, context))
    return Raw12Surface(settings, link, context.clock, at=settings)


DRIVER = InstrumentDriver(Raw12Settings, _build)
