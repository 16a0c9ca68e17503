"""A virtual controller that speaks labctl's own protocol (`docs/reference/metasurface-protocol.md`)."""

import struct
import time
from collections.abc import Callable

import numpy as np

from labctl_simulators.instruments.metasurface.panel import Levels, Panel
from labctl_simulators.instruments.metasurface.trigger_output import TriggerOutput

NAME = b"VIRTUAL labctl-v1"
STORED = 256
LONGEST_PAYLOAD = 1 << 12
DONE, BAD_CHECK, UNKNOWN, BAD_LENGTH, BAD_LEVEL, BAD_INDEX = range(6)


class VirtualLabctlV1:
    """Takes bytes as they arrive and returns those it sends. `panel` is the surface, `trigger` its trigger output.

    A request that stops for longer than `byte_patience_s` real seconds is thrown away.
    """

    def __init__(
        self, panel: Panel, *, trigger: TriggerOutput | None = None, name: bytes = NAME, byte_patience_s: float = 0.5
    ) -> None:
        self.panel = panel
        self.trigger = trigger or TriggerOutput()
        self._byte_patience_s = byte_patience_s
        self._name = name
        self._bits = (panel.levels - 1).bit_length()
        self._n_bytes = (panel.n_elements * self._bits + 7) // 8
        self._unread = b""
        self._heard_s = 0.0
        self._rest: Levels = np.zeros(panel.n_elements, dtype=np.uint8)
        self._stored: dict[int, Levels] = {}
        self._commands: dict[int, tuple[Callable[[bytes], tuple[int, bytes]], int]] = {
            1: (self._identify, 30),
            2: (self._show, 0),
            3: (self._read, self._n_bytes),
            4: (self._go_to_rest, 0),
            5: (self._store, 0),
            6: (self._show_stored, 0),
        }

    def __call__(self, arrived: bytes) -> bytes:
        """Return the replies to the requests that are now whole."""
        now_s = time.monotonic()
        if now_s - self._heard_s > self._byte_patience_s:
            self._unread = b""
        self._heard_s = now_s
        self._unread += arrived
        replies = b""
        while (request := self._next()) is not None:
            replies += self._answer(request)
        return replies

    def _next(self) -> bytes | None:
        """Take the next whole frame out of what has arrived; what cannot begin one is skipped."""
        begin = self._unread.find(b"\xa5\x5a")
        self._unread = self._unread[begin:] if begin >= 0 else self._unread[-1:]
        if begin < 0 or len(self._unread) < 7:
            return None
        length = int.from_bytes(self._unread[5:7], "little")
        if length > LONGEST_PAYLOAD:
            self._unread = self._unread[2:]
            return self._next()
        if len(self._unread) < 9 + length:
            return None
        request, self._unread = self._unread[: 9 + length], self._unread[9 + length :]
        return request

    def _answer(self, request: bytes) -> bytes:
        code, seq, payload = request[3], request[4], request[7:-2]
        action, n_data = self._commands.get(code, (None, 0))
        if check_sum(request[2:-2]) != int.from_bytes(request[-2:], "little"):
            status, data = BAD_CHECK, b""
        elif action is None or request[2] != 1:
            status, data = UNKNOWN, b""
        else:
            status, data = action(payload)
        # A refusal is as long as the reply would have been.
        body = struct.pack("<BBBH", 1, code | 0x80, seq, 1 + n_data) + bytes([status]) + data.ljust(n_data, b"\0")
        return b"\xa5\x5a" + body + check_sum(body).to_bytes(2, "little")

    def _identify(self, _: bytes) -> tuple[int, bytes]:
        return DONE, struct.pack("<HHH24s", self.panel.n_elements, self.panel.levels, STORED, self._name)

    def _show(self, payload: bytes) -> tuple[int, bytes]:
        if len(payload) != self._n_bytes:
            return BAD_LENGTH, b""
        return self._latch(self._levels(payload))

    def _read(self, _: bytes) -> tuple[int, bytes]:
        bits = "".join(f"{level:0{self._bits}b}" for level in self.panel.cells.tolist())
        return DONE, int(bits.ljust(8 * self._n_bytes, "0"), 2).to_bytes(self._n_bytes, "big")

    def _go_to_rest(self, payload: bytes) -> tuple[int, bytes]:
        if payload and len(payload) != self._n_bytes:
            return BAD_LENGTH, b""
        rest = self._levels(payload) if payload else self._rest
        status, data = self._latch(rest)
        if status == DONE:
            self._rest = rest
        return status, data

    def _store(self, payload: bytes) -> tuple[int, bytes]:
        first, patterns = int.from_bytes(payload[:2], "little"), payload[2:]
        count, surplus = divmod(len(patterns), self._n_bytes)
        if surplus or not count:
            return BAD_LENGTH, b""
        if first + count > STORED:
            return BAD_INDEX, b""
        if first == 0:
            self._stored.clear()
        for place in range(count):
            self._stored[first + place] = self._levels(patterns[place * self._n_bytes :][: self._n_bytes])
        return DONE, b""

    def _show_stored(self, payload: bytes) -> tuple[int, bytes]:
        if len(payload) != 2:
            return BAD_LENGTH, b""
        pattern = self._stored.get(int.from_bytes(payload, "little"))
        return (BAD_INDEX, b"") if pattern is None else self._latch(pattern)

    def _latch(self, cells: Levels) -> tuple[int, bytes]:
        if cells.max(initial=0) >= self.panel.levels:
            return BAD_LEVEL, b""
        self.panel.latch(cells)
        self.trigger.latched()
        return DONE, b""

    def _levels(self, data: bytes) -> Levels:
        bits = f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"
        places = range(0, self.panel.n_elements * self._bits, self._bits)
        return np.array([int(bits[place : place + self._bits], 2) for place in places], dtype=np.uint8)


def check_sum(data: bytes) -> int:
    """Return the CRC-16/CCITT-FALSE bit by bit, as firmware without a table does."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc
