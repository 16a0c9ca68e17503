"""A virtual NanoVNA V2: registers and a FIFO of raw waves, filled by a sweep that never stops."""

import struct
from collections.abc import Callable

from labctl_simulators.instruments.vna.engine import Engine
from labctl_simulators.physics.enclosure import Complex

FORWARD = complex(2.0**27, 2.0**26)
"""The outgoing wave, in counts."""

FIFO = 0x30
VALUE_BYTES = 32

_START, _STEP, _POINTS = slice(0x00, 0x08), slice(0x10, 0x18), slice(0x20, 0x22)

_LENGTHS = {0x00: 1, 0x0D: 1, 0x10: 2, 0x11: 2, 0x12: 2, 0x18: 3, 0x20: 3, 0x21: 4, 0x22: 6, 0x23: 10}
"""Bytes of a command by its first byte."""


class VirtualNanoVnaBinary:
    """`execute` takes bytes as they come and returns what goes back.

    Clearing the FIFO does not restart the sweep: the next value is that of `next_index`, wherever the sweep is.
    `firmware` is (major, minor).
    """

    def __init__(self, engine: Engine, *, next_index: int = 0, firmware: tuple[int, int] = (1, 3)) -> None:
        engine.rf_on = True
        self.engine = engine
        self.next_index = next_index
        self._pending = b""
        self._registers = bytearray(256)
        self._registers[0xF0:0xF5] = bytes([2, 1, 4, *firmware])
        self._actions: dict[int, Callable[[bytes], bytes]] = {
            0x00: lambda _: b"",
            0x0D: lambda _: b"2",
            0x10: lambda command: self._read(command, 1),
            0x11: lambda command: self._read(command, 2),
            0x12: lambda command: self._read(command, 4),
            0x18: self._read_fifo,
            0x20: self._write,
            0x21: self._write,
            0x22: self._write,
            0x23: self._write,
        }

    def execute(self, received: bytes) -> bytes:
        """Take bytes and return the replies to every command that they complete."""
        self._pending += received
        replies = bytearray()
        while self._pending:
            length = _LENGTHS.get(self._pending[0], 1)
            if len(self._pending) < length:
                break
            command, self._pending = self._pending[:length], self._pending[length:]
            action = self._actions.get(command[0])
            replies += action(command) if action else b""
        return bytes(replies)

    def _read(self, command: bytes, length: int) -> bytes:
        return bytes(self._registers[command[1] : command[1] + length])

    def _write(self, command: bytes) -> bytes:
        if command[1] != FIFO:
            self._registers[command[1] : command[1] + len(command) - 2] = command[2:]
            self.next_index %= self._points
        return b""

    def _read_fifo(self, command: bytes) -> bytes:
        if command[1] != FIFO:
            return b""
        start_hz, step_hz = (struct.unpack("<Q", self._registers[place])[0] for place in (_START, _STEP))
        self.engine.segments = [(hz, hz, 1) for hz in (start_hz + step_hz * n for n in range(self._points))]
        self.engine.sweeps_segments = True
        self.engine.begin()
        self.engine.wait(0.0)
        matrices = self.engine.latest()
        values = bytearray()
        for _ in range(command[2]):
            values += _value(matrices[self.next_index], self.next_index)
            self.next_index = (self.next_index + 1) % self._points
        return bytes(values)

    @property
    def _points(self) -> int:
        return max(struct.unpack("<H", self._registers[_POINTS])[0], 1)


def _value(matrix: Complex, index: int) -> bytes:
    waves = (FORWARD, FORWARD * matrix[0, 0], FORWARD * matrix[1, 0])
    counts = [round(part) for wave in waves for part in (wave.real, wave.imag)]
    return struct.pack("<6iH6x", *counts, index)
