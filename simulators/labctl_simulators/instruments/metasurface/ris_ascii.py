"""A virtual Open Source RIS: lines of text, and silence for whatever is not one of its commands."""

import re

import numpy as np

from labctl_simulators.instruments.metasurface.panel import Panel

BANNER = b"\nOpen Source RIS\nFirmware version: VIRTUAL\nSerial no.: 0\nRow count: 16\nColumn count: 16\n\n#READY!\n"

_PATTERN = re.compile(rb"!0[xX]([0-9A-F]{64})")


class VirtualRis:
    """Takes bytes as they arrive and answers whole lines. `panel` has 256 cells."""

    def __init__(self, panel: Panel, *, serial_number: str = "VIRTUAL-1") -> None:
        self.panel = panel
        self._serial_number = serial_number
        self._unread = b""

    def __call__(self, arrived: bytes) -> bytes:
        """Return the answers to the lines that are now whole."""
        *lines, self._unread = (self._unread + arrived).split(b"\n")
        return b"".join(self._answer(line) for line in lines)

    def _answer(self, line: bytes) -> bytes:
        if match := _PATTERN.fullmatch(line):
            digits = bytes.fromhex(match[1].decode("ascii"))
            self.panel.latch(np.unpackbits(np.frombuffer(digits, dtype=np.uint8)))
            return b"#OK\n"
        match line:
            case b"?Pattern":
                return b"#0X" + np.packbits(self.panel.cells).tobytes().hex().upper().encode("ascii") + b"\n"
            case b"?SerialNo":
                return f"#{self._serial_number}\n".encode("ascii")
            case b"?Vext":
                return b"#09.14 V\n"
            case b"!Reset":
                self.panel.latch(np.zeros(self.panel.n_elements, dtype=np.uint8))
                return BANNER
            case _:
                return b""
