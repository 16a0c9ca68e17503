"""labctl's own protocol for metasurface firmware: framed, checked, numbered; a reply means that the pattern is latched.

What is on the wire: `docs/reference/metasurface-protocol.md`.
"""

import binascii
import struct
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from labctl.contract.clock import Clock
from labctl.contract.driver import BuildContext, InstrumentDriver
from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.microwave import Pattern
from labctl.contract.safety import SafeStep
from labctl_drivers.metasurface.base import PatternedSurface, Place
from labctl_drivers.metasurface.errors import ControllerRefusedError, FrameCheckError, FrameSequenceError
from labctl_drivers.metasurface.settings import SurfaceRules
from labctl_drivers.transport.build import build_byte_log
from labctl_drivers.transport.link import ByteLink, LinkGarbledError, LinkTimeoutError
from labctl_drivers.transport.safe_plan import rest_step
from labctl_drivers.transport.serial_link import SerialLink
from labctl_drivers.transport.settings import SerialSettings

SYNC = b"\xa5\x5a"
VERSION = 1
REPLY = 0x80
OUTSIDE_SEQ = 0xFF
"""Number of the request that brings the surface to rest when the driver is gone; the driver never uses it."""

LARGEST_PAYLOAD = 1024

_HEADER = struct.Struct("<2sBBBH")
_CHECK = struct.Struct("<H")
_IDENTITY = struct.Struct("<HHH24s")
OVERHEAD = _HEADER.size + _CHECK.size


class Command(IntEnum):
    """What is asked for."""

    IDENTIFY = 1
    SHOW = 2
    READ = 3
    REST = 4
    STORE = 5
    SHOW_STORED = 6


REFUSALS = {
    1: "the check sum was wrong: is the line noisy?",
    2: "it does not know this command",
    3: "the payload has the wrong length: does the rig file say how many elements there are?",
    4: "a level is beyond the last",
    5: "there is no such stored pattern, or no room for it",
    6: "its hardware failed",
}
"""Status bytes other than 0, done."""


def crc16(data: bytes) -> int:
    """Return the CRC-16/CCITT-FALSE: polynomial 0x1021 from 0xFFFF on, nothing reflected; 0x29B1 for 123456789."""
    return binascii.crc_hqx(data, 0xFFFF)


def frame(code: int, seq: int, payload: bytes) -> bytes:
    """Return a request or reply as it goes over the wire."""
    body = _HEADER.pack(SYNC, VERSION, code, seq, len(payload)) + payload
    return body + _CHECK.pack(crc16(body[len(SYNC) :]))


def packed(patterns: NDArray[np.uint8], levels: int) -> bytes:
    """Return levels (..., n_elements) as bits, most significant first, each pattern filled up to whole bytes."""
    bits = (levels - 1).bit_length()
    each = patterns[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8) & 1
    return np.packbits(each.reshape(*patterns.shape[:-1], -1), axis=-1).tobytes()


def unpacked(data: bytes, n_elements: int, levels: int) -> Pattern:
    """Return the levels (n_elements,) of one pattern."""
    bits = (levels - 1).bit_length()
    each = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=n_elements * bits).reshape(n_elements, bits)
    return (each << np.arange(bits - 1, -1, -1, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)


class LabctlV1Rules(SurfaceRules):
    """Any number of elements of any number of levels, both of which the controller has to confirm."""

    levels: int = Field(default=2, ge=2, le=256, description="of an element")
    verify: bool = Field(default=True, description="read every pattern back, which costs a second exchange")


class LabctlV1Surface(PatternedSurface):
    """A surface that says who it is, what it holds, and when a pattern is latched; it keeps patterns for later."""

    def __init__(self, rules: LabctlV1Rules, link: ByteLink, clock: Clock, *, at: Place | None = None) -> None:
        super().__init__(rules, link, clock, at=at, levels=rules.levels)
        self._verifies = rules.verify
        self._seq = 0
        self._room = 0
        self._stored: list[Pattern] = []
        self._n_bytes = len(packed(np.zeros(rules.n_elements, dtype=np.uint8), rules.levels))

    def upload(self, patterns: NDArray[np.uint8]) -> None:
        """Let the controller keep `patterns` (n, n_elements) in place of what it kept before.

        Raises `InputError`, before anything is sent, for patterns that do not fit or are more than it has room for, and
        `InstrumentError`.
        """
        checked = [self._checked(pattern) for pattern in patterns]
        if len(checked) > self._room:
            raise InputError(f"{self.name}: {len(checked)} patterns are more than the {self._room} it has room for")
        self._wait_for_turn("upload")
        with self._talking:
            self._come_into_step()
            self._in_step = False
            self._stored = []
            self._store(checked)
            self._stored = checked
            self._in_step = True

    def show_stored(self, index: int) -> None:
        """Show an uploaded pattern as `show` would, with three bytes instead of all. Raises as `show` does."""
        self._wait_for_turn("show stored")
        with self._talking:
            self._come_into_step()  # a controller that restarted keeps nothing
        if not 0 <= index < len(self._stored):
            cause = f"keeps {len(self._stored)} patterns, and none of number {index}; a restart loses them: upload anew"
            raise InstrumentError(self.name, cause, command="show stored")
        self._present(self._stored[index], lambda _: self._show_stored(index))

    def _store(self, patterns: list[Pattern]) -> None:
        at_once = max(1, (LARGEST_PAYLOAD - 2) // self._n_bytes)
        for first in range(0, len(patterns), at_once):
            cells = np.empty((len(patterns[first : first + at_once]), self.n_elements), dtype=np.uint8)
            cells[:, self._cell_of] = patterns[first : first + at_once]
            self._ask(Command.STORE, struct.pack("<H", first) + packed(cells, self._levels))

    def _show_stored(self, index: int) -> None:
        self._ask(Command.SHOW_STORED, struct.pack("<H", index))

    def _identify(self) -> str:
        n_elements, levels, stored, name = _IDENTITY.unpack(self._ask(Command.IDENTIFY, n_data=_IDENTITY.size))
        self._stored = []
        if (n_elements, levels) != (self.n_elements, self._levels):
            cause = f"has {n_elements} elements of {levels} levels where the rig file says "
            cause += f"{self.n_elements} of {self._levels}"
            raise InstrumentError(self.name, cause, command="identify")
        self._room = stored
        return name.rstrip(b"\0").decode("ascii", "replace")

    def _latch(self, cells: Pattern) -> None:
        self._ask(Command.SHOW, packed(cells, self._levels))

    def _latch_rest(self, cells: Pattern) -> None:
        """Let the controller fall back on the rest pattern by itself, too."""
        self._ask(Command.REST, packed(cells, self._levels))

    def _steps_to_rest(self, at: Place, cells: Pattern) -> tuple[SafeStep, ...]:
        """Rest is asked for with a sequence number of its own, whose reply alone counts."""
        request = frame(Command.REST, OUTSIDE_SEQ, packed(cells, self._levels))
        done = frame(Command.REST | REPLY, OUTSIDE_SEQ, b"\0")
        return (rest_step(at, f"{self.name}: at rest", request, expected=done),)

    def _read_back(self) -> Pattern | None:
        if not self._verifies:
            return None
        return unpacked(self._ask(Command.READ, n_data=self._n_bytes), self.n_elements, self._levels)

    def _ask(self, command: Command, payload: bytes = b"", *, n_data: int = 0) -> bytes:
        """Send one request and return the `n_data` bytes of its reply. Raises `InstrumentError`."""
        self._seq = (self._seq + 1) % OUTSIDE_SEQ
        told = f"{command.name.lower().replace('_', ' ')} (request {self._seq})"
        try:
            reply = self._link.exchange(frame(command, self._seq, payload), n_bytes=OVERHEAD + 1 + n_data)
        except LinkTimeoutError as error:
            cause = f"{error.cause}: without power, another firmware, or a byte was lost on the way"
            raise LinkTimeoutError(self.name, cause, command=told) from error
        return self._data_of(reply, command, told)

    def _data_of(self, reply: bytes, command: Command, told: str) -> bytes:
        sync, version, code, seq, length = _HEADER.unpack_from(reply)
        (check,) = _CHECK.unpack(reply[-_CHECK.size :])
        computed = crc16(reply[len(SYNC) : -_CHECK.size])
        if sync != SYNC:
            cause = f"a reply begins with {sync.hex(' ')} where a5 5a belongs: is the baud rate the firmware's?"
            raise LinkGarbledError(self.name, cause, command=told)
        if check != computed:
            cause = f"a reply's check sum is {check:04x} where {computed:04x} belongs: the line is noisy"
            raise FrameCheckError(self.name, cause, command=told)
        if version != VERSION or length != len(reply) - OVERHEAD:
            cause = f"speaks version {version} with {length} bytes, not version {VERSION}: update its firmware"
            raise LinkGarbledError(self.name, cause, command=told)
        if seq != self._seq or code != command | REPLY:
            cause = f"answers request {seq} (0x{code:02x}): a late reply, or two programs use the port"
            raise FrameSequenceError(self.name, cause, command=told)
        status, data = reply[_HEADER.size], reply[_HEADER.size + 1 : -_CHECK.size]
        if status:
            cause = f"refuses ({status}): {REFUSALS.get(status, 'for a reason of its own')}"
            raise ControllerRefusedError(self.name, cause, command=told)
        return data


class LabctlV1Settings(SerialSettings, LabctlV1Rules):
    """Firmware that speaks labctl's own protocol, over a serial port."""


def _build(settings: LabctlV1Settings, context: BuildContext) -> LabctlV1Surface:
    link = SerialLink(settings, context.name, log=build_byte_log(settings.byte_log, context))
    return LabctlV1Surface(settings, link, context.clock, at=settings)


DRIVER = InstrumentDriver(LabctlV1Settings, _build)
