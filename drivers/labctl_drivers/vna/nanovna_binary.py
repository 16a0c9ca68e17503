"""NanoVNA V2 (S-A-A-2), V2Plus4, LiteVNA: registers and a FIFO over USB serial, least significant byte first.

Protocol: the V2's user manual (nanorfe.com) and NanoVNA-Saver. What the device sends is raw: it is not corrected here
either, so a rig file has to say `correction: allowed`.
"""

import struct

import numpy as np

from labctl.contract.errors import InstrumentError
from labctl.contract.microwave import Segment, SParameters, Sweep
from labctl_drivers.vna.base import Configured, Real
from labctl_drivers.vna.nanovna import PARAMETERS, NanoVna

RESET = bytes(8)
"""So many idle bytes complete any command that was cut off."""

INDICATE, INDICATED = b"\x0d", b"2"
READ, READ_2, READ_4, READ_FIFO = 0x10, 0x11, 0x12, 0x18
WRITE, WRITE_2, WRITE_8 = 0x20, 0x21, 0x23
START_HZ, STEP_HZ, POINTS, VALUES_PER_FREQUENCY, RAW_SAMPLES, FIFO = 0x00, 0x10, 0x20, 0x22, 0x26, 0x30
VARIANT, PROTOCOL, HARDWARE, FIRMWARE_MAJOR, FIRMWARE_MINOR = 0xF0, 0xF1, 0xF2, 0xF3, 0xF4

KNOWN_VARIANT, KNOWN_PROTOCOL = 2, 1
OLDEST_FIRMWARE = (1, 2)
"""Before it the first point of a sweep is wrong."""

DFU_FIRMWARE = 0xFF

MOST_VALUES = 255
"""In one reading of the FIFO."""

VALUE = np.dtype(
    [("forward", "<i4", 2), ("reflected", "<i4", 2), ("through", "<i4", 2), ("index", "<u2"), ("spare", "V6")]
)

SECONDS_PER_POINT = 0.035
"""101 points take just over 3 seconds (NanoVNA-Saver)."""


class NanoVnaBinary(NanoVna):
    """A NanoVNA of the second kind. It sweeps all the time; values are told apart by the index of their frequency."""

    def _identify(self) -> str:
        if self._link.exchange(RESET + INDICATE, n_bytes=1) != INDICATED:
            raise InstrumentError(self._name, "does not answer as a NanoVNA V2 does", command="INDICATE")
        registers = (VARIANT, PROTOCOL, HARDWARE, FIRMWARE_MAJOR, FIRMWARE_MINOR)
        request = b"".join(bytes([READ, register]) for register in registers)
        variant, protocol, hardware, major, minor = self._link.exchange(request, n_bytes=len(registers))
        if major == DFU_FIRMWARE:
            raise InstrumentError(self._name, "is in DFU mode: switch it off and on again")
        if (variant, protocol) != (KNOWN_VARIANT, KNOWN_PROTOCOL):
            cause = f"is variant {variant} with protocol {protocol}, not {KNOWN_VARIANT} with {KNOWN_PROTOCOL}"
            raise InstrumentError(self._name, cause, command="READ")
        if (major, minor) < OLDEST_FIRMWARE:
            oldest = ".".join(map(str, OLDEST_FIRMWARE))
            raise InstrumentError(self._name, f"has firmware {major}.{minor}: first points are right from {oldest} on")
        return f"NanoVNA V2,{hardware},{major}.{minor}"

    def _set_up(self, sweep: Sweep) -> Real:
        return np.concatenate([self._set_segment(segment) for segment in sweep.segments])

    def _set_segment(self, segment: Segment) -> Real:
        """Write and read back the registers of a sweep and return its frequencies (n_points,), in whole hertz."""
        start_hz = round(segment.start_hz)
        step_hz = round((segment.stop_hz - segment.start_hz) / max(segment.points - 1, 1))
        request = (
            struct.pack("<BBQ", WRITE_8, START_HZ, start_hz)
            + struct.pack("<BBQ", WRITE_8, STEP_HZ, step_hz)
            + struct.pack("<BBH", WRITE_2, POINTS, segment.points)
            + struct.pack("<BBH", WRITE_2, VALUES_PER_FREQUENCY, 1)
            + bytes([WRITE, RAW_SAMPLES, 0])
        )
        self._link.exchange(request, n_bytes=0)
        reads = bytes([READ_4, START_HZ, READ_4, START_HZ + 4, READ_4, STEP_HZ, READ_4, STEP_HZ + 4, READ_2, POINTS])
        written = struct.unpack("<QQH", self._link.exchange(reads, n_bytes=18))
        if written != (start_hz, step_hz, segment.points):
            cause = f"has start, step and points {written} where {(start_hz, step_hz, segment.points)} was set"
            raise InstrumentError(self._name, cause, command="WRITE")
        return start_hz + step_hz * np.arange(segment.points, dtype=np.float64)

    def _read_calibration(self) -> str:
        return ""

    def _how_to_correct(self) -> str:
        return "a NanoVNA V2 sends raw data; if raw ratios serve the purpose, write `correction: allowed`"

    def _stated_sweep_s(self, sweep: Sweep) -> float:
        return sweep.points * SECONDS_PER_POINT

    def _finish(self, configured: Configured) -> tuple[SParameters, bool]:
        total = np.zeros((len(PARAMETERS), configured.sweep.points), dtype=np.complex128)
        for _ in range(configured.sweep.averages):
            total += np.concatenate([self._swept(segment, configured) for segment, _ in configured.segments()], axis=1)
        rows = [PARAMETERS.index(parameter) for parameter in configured.sweep.parameters]
        return total[rows] / configured.sweep.averages, False

    def _swept(self, segment: Segment, configured: Configured) -> SParameters:
        """Return raw S11 and S21 (2, n_points) of one sweep."""
        if len(configured.sweep.segments) > 1:
            self._set_segment(segment)
        self._link.exchange(bytes([WRITE, FIFO, 0]), n_bytes=0)
        with self._explaining(configured, "READFIFO"):
            values = self._fifo(segment.points, configured.deadline_s)
        order = np.argsort(values["index"], kind="stable")
        if not np.array_equal(values["index"][order], np.arange(segment.points)):
            raise InstrumentError(self._name, "does not send every point of the sweep once", command="READFIFO")
        forward, reflected, through = (_complex(values[wave][order]) for wave in ("forward", "reflected", "through"))
        if not forward.all():
            raise InstrumentError(self._name, "has no outgoing wave at some point", command="READFIFO")
        return np.stack([reflected / forward, through / forward])

    def _fifo(self, count: int, timeout_s: float) -> np.ndarray:
        """Return `count` values (of `VALUE`) as they come."""
        payload = bytearray()
        while count > 0:
            portion = min(count, MOST_VALUES)
            request = bytes([READ_FIFO, FIFO, portion])
            payload += self._link.exchange(request, n_bytes=portion * VALUE.itemsize, timeout_s=timeout_s)
            count -= portion
        return np.frombuffer(payload, dtype=VALUE)


def _complex(parts: np.ndarray) -> SParameters:
    """Return numbers (n,) from real and imaginary parts (n, 2)."""
    return parts[:, 0] + 1j * parts[:, 1]
