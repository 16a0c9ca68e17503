"""An instrument behind VXI-11 (core channel): remote procedure calls of ONC RPC over TCP, without a port mapper."""

import itertools
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from labctl_simulators.instruments.servers.tcp_server import Handler, TcpServer, end_connection, receive_exactly
from labctl_simulators.instruments.servers.wire_faults import WireFaultSchedule, delivery

_LAST_FRAGMENT = 0x80000000
_MAX_RECEIVE = 1 << 20

_NO_ERROR, _NOT_SUPPORTED, _IO_TIMEOUT = 0, 8, 15
_END_FLAG = 8
_REASON_COUNT, _REASON_END = 1, 4
_MESSAGE_AVAILABLE = 16

CREATE_LINK, DEVICE_WRITE, DEVICE_READ, DEVICE_READSTB, DEVICE_TRIGGER, DEVICE_CLEAR = 10, 11, 12, 13, 14, 15
ACCEPTED_AND_IGNORED = (16, 17, 18, 19, 20, 23, 25, 26)
"""Remote, local, lock, unlock, enable service request, destroy link, create and destroy the interrupt channel."""


@dataclass
class _Output:
    """The part of an answer that has not been read: what is there, and what comes later."""

    ready: bytes = b""
    later: bytes = b""
    later_at_s: float = 0.0

    def wait(self, timeout_s: float, pause: Callable[[float], None]) -> bool:
        """Return whether something is there within the time."""
        if self.ready:
            return True
        if not self.later:
            pause(timeout_s)
            return False
        due_s = self.later_at_s - time.monotonic()
        pause(max(0.0, min(due_s, timeout_s)))
        if due_s > timeout_s:
            return False
        self.ready, self.later = self.later, b""
        return True

    def take(self, n_bytes: int) -> tuple[int, bytes]:
        """Return why a read ends (0: there is more) and what it reads."""
        taken, self.ready = self.ready[:n_bytes], self.ready[n_bytes:]
        if self.ready:
            return _REASON_COUNT, taken
        return 0 if self.later else _REASON_END, taken


class Vxi11Server(TcpServer):
    """Serves whole messages. `garbage` breaks the procedure call's reply, every other fault what it carries."""

    def __init__(
        self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0, faults: WireFaultSchedule | None = None
    ) -> None:
        super().__init__(handler, host=host, port=port, faults=faults)
        self._links = itertools.count(1)

    @property
    def address(self) -> str:
        """Return the VISA address a client opens."""
        return f"TCPIP::{self._host},{self.port}::inst0::INSTR"

    def serve(self, connection: socket.socket) -> None:
        """Carry out one procedure call after the other until the connection ends."""
        client = _Client(self, connection, next(self._links))
        while True:
            call = _receive_record(connection)
            xid, procedure, arguments = _parsed(call)
            client.reply(xid, procedure, client.call(procedure, arguments))


class _Client:
    """One connection's state: the command so far and what of the answer is unread."""

    def __init__(self, server: TcpServer, connection: socket.socket, link: int) -> None:
        self._server = server
        self._connection = connection
        self._link = link
        self._command = bytearray()
        self._output = _Output()
        self._garbled = False
        self._end: Literal["none", "close", "reset"] = "none"

    def call(self, procedure: int, arguments: bytes) -> bytes:
        """Return the results of a procedure, encoded."""
        if procedure == CREATE_LINK:
            return struct.pack(">iIII", _NO_ERROR, self._link, 0, _MAX_RECEIVE)
        if procedure == DEVICE_WRITE:
            return self._write(arguments)
        if procedure == DEVICE_READ:
            return self._read(arguments)
        if procedure == DEVICE_READSTB:
            return struct.pack(">iI", _NO_ERROR, _MESSAGE_AVAILABLE if self._output.ready else 0)
        if procedure == DEVICE_TRIGGER:
            self._server.answered(b"*TRG")
        elif procedure == DEVICE_CLEAR:
            self._command.clear()
            self._output = _Output()
        elif procedure not in ACCEPTED_AND_IGNORED:
            return struct.pack(">i", _NOT_SUPPORTED)
        return struct.pack(">i", _NO_ERROR)

    def reply(self, xid: int, procedure: int, results: bytes) -> None:
        """Send the results; what a planned fault does to the call itself, it does to a read."""
        record = struct.pack(">6I", xid, 1, 0, 0, 0, 0) + results
        if procedure == DEVICE_READ and self._garbled:
            record, self._garbled = results, False
        framed = struct.pack(">I", _LAST_FRAGMENT | len(record)) + record
        if procedure == DEVICE_READ and self._end != "none":
            self._connection.sendall(framed[: len(framed) // 2])
            end_connection(self._connection, self._end)
            raise EOFError
        self._connection.sendall(framed)

    def _write(self, arguments: bytes) -> bytes:
        _link, _io_ms, _lock_ms, flags, length = struct.unpack(">5I", arguments[:20])
        self._command += arguments[20 : 20 + length]
        if flags & _END_FLAG:
            answer = self._server.answered(bytes(self._command))
            self._command.clear()
            # A new command drops what was not read of the last answer (IEEE 488.2, query interrupted).
            self._output = _Output()
            if answer is not None:
                self._prepare(answer)
        return struct.pack(">iI", _NO_ERROR, length)

    def _prepare(self, answer: bytes) -> None:
        strike = self._server.faults.next()
        what = delivery(answer, strike)
        self._output = _Output(what.first, what.rest, time.monotonic() + what.pause_s)
        self._garbled = strike.kind == "garbage"
        self._end = what.end

    def _read(self, arguments: bytes) -> bytes:
        _link, n_bytes, io_ms, _lock_ms, _flags, _termchar = struct.unpack(">6I", arguments[:24])
        if not self._output.wait(io_ms / 1e3, self._server.pause):
            return struct.pack(">iI", _IO_TIMEOUT, 0) + _opaque(b"")
        reason, taken = self._output.take(n_bytes)
        return struct.pack(">iI", _NO_ERROR, reason) + _opaque(taken)


def _receive_record(connection: socket.socket) -> bytes:
    record = b""
    while True:
        (mark,) = struct.unpack(">I", receive_exactly(connection, 4))
        record += receive_exactly(connection, mark & ~_LAST_FRAGMENT)
        if mark & _LAST_FRAGMENT:
            return record


def _parsed(call: bytes) -> tuple[int, int, bytes]:
    """Return a call's transaction id, procedure and arguments; credentials and verifier are skipped."""
    xid, _type, _rpc, _program, _version, procedure = struct.unpack(">6I", call[:24])
    offset = 24
    for _ in range(2):
        _flavour, length = struct.unpack(">2I", call[offset : offset + 8])
        offset += 8 + length + -length % 4
    return xid, procedure, call[offset:]


def _opaque(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)
