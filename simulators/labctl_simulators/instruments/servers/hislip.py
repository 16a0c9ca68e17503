"""An instrument behind HiSLIP 1.0 in synchronised mode (IVI-6.1): messages on one connection, control on a second."""

import itertools
import socket
import struct
import threading
from dataclasses import dataclass, field
from enum import IntEnum

from labctl_simulators.instruments.servers.tcp_server import Handler, TcpServer, end_connection, receive_exactly
from labctl_simulators.instruments.servers.wire_faults import Delivery, WireFaultSchedule, delivery

_HEADER = struct.Struct("!2sBBIQ")
_PROLOGUE = b"HS"
_VERSION = 0x0100
_VENDOR = 0x4C43
_MAX_MESSAGE = 1 << 20


class Kind(IntEnum):
    """Message types (IVI-6.1, table 4)."""

    INITIALIZE = 0
    INITIALIZE_RESPONSE = 1
    FATAL_ERROR = 2
    ERROR = 3
    ASYNC_LOCK = 4
    ASYNC_LOCK_RESPONSE = 5
    DATA = 6
    DATA_END = 7
    DEVICE_CLEAR_COMPLETE = 8
    DEVICE_CLEAR_ACKNOWLEDGE = 9
    ASYNC_REMOTE_LOCAL = 10
    ASYNC_REMOTE_LOCAL_RESPONSE = 11
    TRIGGER = 12
    ASYNC_MAX_MESSAGE = 15
    ASYNC_MAX_MESSAGE_RESPONSE = 16
    ASYNC_INITIALIZE = 17
    ASYNC_INITIALIZE_RESPONSE = 18
    ASYNC_DEVICE_CLEAR = 19
    ASYNC_STATUS_QUERY = 21
    ASYNC_STATUS_RESPONSE = 22
    ASYNC_DEVICE_CLEAR_ACKNOWLEDGE = 23
    ASYNC_LOCK_INFO = 24
    ASYNC_LOCK_INFO_RESPONSE = 25


_UNRECOGNISED = 1


@dataclass
class _Session:
    """A client's two connections: what they agreed on, and whether it has just cleared the device."""

    max_message: int = _MAX_MESSAGE
    cleared: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class _Message:
    kind: int
    control: int
    parameter: int
    payload: bytes


class HislipServer(TcpServer):
    """Serves whole messages. `status_byte` is what a status query answers.

    `garbage` breaks the framing, every other fault what is inside the messages.
    """

    def __init__(
        self, handler: Handler, *, host: str = "127.0.0.1", port: int = 0, faults: WireFaultSchedule | None = None
    ) -> None:
        super().__init__(handler, host=host, port=port, faults=faults)
        self.status_byte = 0
        self._ids = itertools.count(1)
        self._sessions: dict[int, _Session] = {}

    @property
    def address(self) -> str:
        """Return the VISA address a client opens."""
        return f"TCPIP::{self._host}::hislip0,{self.port}::INSTR"

    def serve(self, connection: socket.socket) -> None:
        """Answer messages of the one or the other kind of connection until it ends."""
        opening = _receive(connection)
        if opening.kind == Kind.INITIALIZE:
            number = next(self._ids) & 0xFFFF
            session = self._sessions[number] = _Session()
            _send(connection, Kind.INITIALIZE_RESPONSE, parameter=_VERSION << 16 | number)
            try:
                self._serve_messages(connection, session)
            finally:
                del self._sessions[number]
        elif opening.kind == Kind.ASYNC_INITIALIZE and opening.parameter in self._sessions:
            _send(connection, Kind.ASYNC_INITIALIZE_RESPONSE, parameter=_VENDOR)
            self._serve_control(connection, self._sessions[opening.parameter])
        else:
            _send(connection, Kind.FATAL_ERROR, control=3)

    def _serve_messages(self, connection: socket.socket, session: _Session) -> None:
        command = bytearray()
        while True:
            message = _receive(connection)
            match message.kind:
                case Kind.DATA:
                    command += message.payload
                case Kind.DATA_END:
                    answer = self.answered(bytes(command + message.payload))
                    command.clear()
                    if answer is not None:
                        self._deliver(connection, session, message.parameter, answer)
                case Kind.TRIGGER:
                    self.answered(b"*TRG")
                case Kind.DEVICE_CLEAR_COMPLETE:
                    command.clear()
                    session.cleared.clear()
                    _send(connection, Kind.DEVICE_CLEAR_ACKNOWLEDGE)
                case _:
                    _send(connection, Kind.ERROR, control=_UNRECOGNISED)

    def _serve_control(self, connection: socket.socket, session: _Session) -> None:
        while True:
            message = _receive(connection)
            match message.kind:
                case Kind.ASYNC_MAX_MESSAGE:
                    session.max_message = int.from_bytes(message.payload)
                    _send(connection, Kind.ASYNC_MAX_MESSAGE_RESPONSE, payload=_MAX_MESSAGE.to_bytes(8))
                case Kind.ASYNC_DEVICE_CLEAR:
                    session.cleared.set()
                    _send(connection, Kind.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE)
                case Kind.ASYNC_STATUS_QUERY:
                    _send(connection, Kind.ASYNC_STATUS_RESPONSE, control=self.status_byte)
                case Kind.ASYNC_LOCK:  # always granted
                    _send(connection, Kind.ASYNC_LOCK_RESPONSE, control=1)
                case Kind.ASYNC_LOCK_INFO:
                    _send(connection, Kind.ASYNC_LOCK_INFO_RESPONSE)
                case Kind.ASYNC_REMOTE_LOCAL:
                    _send(connection, Kind.ASYNC_REMOTE_LOCAL_RESPONSE)
                case _:
                    _send(connection, Kind.ERROR, control=_UNRECOGNISED)

    def _deliver(self, connection: socket.socket, session: _Session, message_id: int, answer: bytes) -> None:
        strike = self.faults.next()
        what = delivery(answer, strike)
        if strike.kind == "garbage":
            connection.sendall(what.first)
        elif what.rest or what.end != "none":
            self._deliver_half(connection, session, message_id, answer, what)
        elif strike.kind != "silence":
            _send_data(connection, message_id, what.first, session.max_message)

    def _deliver_half(
        self, connection: socket.socket, session: _Session, message_id: int, answer: bytes, what: Delivery
    ) -> None:
        """Send an answer's header and first half; then the rest unless the client clears, or the connection's end."""
        connection.sendall(_HEADER.pack(_PROLOGUE, Kind.DATA_END, 0, message_id, len(answer)) + what.first)
        if what.end != "none":
            end_connection(connection, what.end)
        elif not session.cleared.wait(what.pause_s):
            connection.sendall(what.rest)


def _receive(connection: socket.socket) -> _Message:
    """Return the next message. Raises `EOFError` at the end and for anything that is no HiSLIP."""
    prologue, kind, control, parameter, length = _HEADER.unpack(receive_exactly(connection, _HEADER.size))
    if prologue != _PROLOGUE:
        _send(connection, Kind.FATAL_ERROR, control=1)
        raise EOFError
    return _Message(kind, control, parameter, receive_exactly(connection, length))


def _send(connection: socket.socket, kind: int, *, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
    connection.sendall(_HEADER.pack(_PROLOGUE, kind, control, parameter, len(payload)) + payload)


def _send_data(connection: socket.socket, message_id: int, payload: bytes, max_message: int) -> None:
    """Send a message in as many parts as its client's limit asks for."""
    step = max(256, max_message - _HEADER.size)
    for begin in range(0, max(1, len(payload)), step):
        last = begin + step >= len(payload)
        part = payload[begin : begin + step]
        _send(connection, Kind.DATA_END if last else Kind.DATA, parameter=message_id, payload=part)
